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
  assert.deepStrictEqual(take({ PATH: '/bin', NOTIFY_SOCKET: '' }), { service: null, inherited: [], warnings: [] });
});

test('the socket and the time between signs of life are taken, and nobody else finds them', () => {
  const env = { PATH: '/bin', NOTIFY_SOCKET: '@notify', WATCHDOG_USEC: '30000000', WATCHDOG_PID: String(PID), LISTEN_FDNAMES: 'a' };
  assert.deepStrictEqual(take(env), { service: { socket: '@notify', watchdogUs: 30000000 }, inherited: [], warnings: [] });
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

test('sockets for this process are taken, with their names', () => {
  const env = { LISTEN_FDS: '2', LISTEN_PID: String(PID), LISTEN_FDNAMES: 'web:' };
  assert.deepStrictEqual(take(env), {
    service: null, inherited: [ { fd: 3, name: 'web' }, { fd: 4, name: null } ], warnings: [],
  });
  assert.deepStrictEqual(env, {});
});

for (const [ env, warning ] of [
  [ { LISTEN_FDS: '1' }, 'LISTEN_FDS is ignored: LISTEN_PID should say for which process the sockets are, but is not set' ],
  [ { LISTEN_FDS: '1', LISTEN_PID: '12' }, 'LISTEN_FDS is ignored: the sockets are for process 12 (LISTEN_PID), and this is 4711' ],
  ...[ '0', '-1', '1025', '4294967295', '1.0', 'two' ].map(text => [
    { LISTEN_FDS: text, LISTEN_PID: '4711' }, `LISTEN_FDS is ignored: it should be a number of sockets between 1 and 1024, but is "${text}"`,
  ]),
]) {
  test(`no socket is taken with ${JSON.stringify(env)}`, () => {
    assert.deepStrictEqual(take({ ...env }), { service: null, inherited: [], warnings: [ `[master] ${warning}` ] });
  });
}

test('names that do not fit the sockets are left', () => {
  const { inherited, warnings } = take({ LISTEN_FDS: '1', LISTEN_PID: '4711', LISTEN_FDNAMES: 'a:b' });
  assert.deepStrictEqual(inherited, [ { fd: 3, name: null } ]);
  assert.deepStrictEqual(warnings, [ '[master] LISTEN_FDNAMES is ignored: it has 2 names for 1 sockets' ]);
});
