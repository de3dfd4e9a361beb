'use strict';

const assert = require('assert');
const util = require('util');
const test = require('./helpers/test');

const { takeServiceManager } = require('../../lib/service_manager');

const PID = 4711;

function take(env) {
  const warnings = [];
  const taken = takeServiceManager({ env, pid: PID, warn: (...args) => warnings.push(util.format(...args)) });
  return { ...taken, warnings };
}

test('without a service manager there is nothing to take', () => {
  assert.deepStrictEqual(take({ PATH: '/bin', NOTIFY_SOCKET: '' }), { service: null, warnings: [] });
});

test('the socket and the time between signs of life are taken, and nobody else finds them', () => {
  const env = { PATH: '/bin', NOTIFY_SOCKET: '@notify', WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(PID), LISTEN_FDNAMES: 'a' };
  assert.deepStrictEqual(take(env), { service: { socket: '@notify', watchdogUs: 30000000 }, warnings: [] });
  assert.deepStrictEqual(env, { PATH: '/bin' });
});

test('who is not named gives signs of life as well', () => {
  const { service } = take({ NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '5' });
  assert.deepStrictEqual(service, { socket: '/run/notify', watchdogUs: 5 });
});

test('signs of life that are another\'s to give are left, and a line says so', () => {
  const { service, warnings } = take({ NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: '5', WATCHDOG_PID: '12' });
  assert.deepStrictEqual(service, { socket: '/run/notify', watchdogUs: null });
  assert.deepStrictEqual(warnings, [
    '[master] WATCHDOG_USEC is ignored: signs of life are expected of process 12 (WATCHDOG_PID), and this is 4711',
  ]);
});

for (const text of [ '0', '-1', '1.5', '1e3', 'soon', '99999999999999999999' ]) {
  test(`${text} is no time between signs of life`, () => {
    const { service, warnings } = take({ NOTIFY_SOCKET: '/run/notify', WATCHDOG_USEC: text });
    assert.strictEqual(service.watchdogUs, null);
    assert.deepStrictEqual(warnings, [ `[master] WATCHDOG_USEC is ignored: it should be a time in µs, but is "${text}"` ]);
  });
}
