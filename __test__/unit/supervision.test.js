'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { checkSupervision, supervisionConfig } = require('../../lib/supervision');

const MS = /^options\.restart\.stableTime must be a whole number of ms between 0 and 2147483647, but got -1 \(number\)$/;
const KNOWN = /^options\.restart\.stable is not known; options\.restart may have stableTime, maxDelay, intensity, giveUp$/;
const LIMIT = /options\.restart\.intensity\.limit must be a whole number between 1 and 100000/;
const ACTION = /options\.watchdog\.action must be 'report' or 'restart', but got 'kill'/;

const WRONG = [
  [ { restart: 5 }, TypeError, /^options\.restart must be an object, but got 5 \(number\)$/ ],
  [ { restart: false }, TypeError, /options\.restart must be an object, but got false/ ],
  [ { restart: { stable: 5 } }, TypeError, KNOWN ],
  [ { restart: { stableTime: -1 } }, RangeError, MS ],
  [ { restart: { maxDelay: 0 } }, RangeError, /options\.restart\.maxDelay .* between 1 and/ ],
  [ { restart: { maxDelay: '30s' } }, RangeError, /options\.restart\.maxDelay .*'30s' \(string\)/ ],
  [ { restart: { giveUp: true } }, RangeError, /options\.restart\.giveUp .*, or false, but got true/ ],
  [ { restart: { intensity: 60 } }, TypeError, /options\.restart\.intensity must be an object/ ],
  [ { restart: { intensity: { limit: 0 } } }, RangeError, LIMIT ],
  [ { restart: { intensity: { period: 1.5 } } }, RangeError, /options\.restart\.intensity\.period .*1\.5/ ],
  [ { watchdog: 'off' }, TypeError, /^options\.watchdog must be an object or false, but got 'off' \(string\)$/ ],
  [ { watchdog: [] }, TypeError, /options\.watchdog must be an object or false, but got \[\] \(array\)/ ],
  [ { watchdog: { timeout: 999 } }, RangeError, /options\.watchdog\.timeout .* between 1000 and/ ],
  [ { watchdog: { interval: 10 } }, RangeError, /options\.watchdog\.interval .* between 100 and/ ],
  [ { watchdog: { bootTimeout: 0 } }, RangeError, /options\.watchdog\.bootTimeout .*, or false/ ],
  [ { watchdog: { action: 'kill' } }, RangeError, ACTION ],
  [ { watchdog: { stack: 'yes' } }, RangeError, /^options\.watchdog\.stack must be true or false, but got 'yes' \(string\)$/ ],
  [ { hold: 5 }, TypeError, /^options\.hold must be an object, but got 5 \(number\)$/ ],
  [ { hold: { timeout: 0 } }, RangeError, /^options\.hold\.timeout must be a whole number of ms between 1 and/ ],
  [ { hold: { connections: '9' } }, RangeError, /^options\.hold\.connections .*, but got '9' \(string\)$/ ],
  [ { hold: { limit: 9 } }, TypeError, /options\.hold\.limit is not known; options\.hold may have timeout, connections/ ],
  [ { limits: [] }, TypeError, /^options\.limits must be an object, but got \[\] \(array\)$/ ],
  [ { limits: { lineBytes: 65535 } }, RangeError, /^options\.limits\.lineBytes must be a whole number of bytes between 65536 and 536870912, but got 65535/ ],
  [ { limits: { outboxBytes: '16M' } }, RangeError, /options\.limits\.outboxBytes .*, but got '16M' \(string\)$/ ],
  [ { limits: { stallTimeout: 999 } }, RangeError, /options\.limits\.stallTimeout .* between 1000 and/ ],
  [ { limits: { listeners: 0 } }, RangeError, /options\.limits\.listeners must be a whole number between 1 and 100000/ ],
  [ { limits: { memory: 1 } }, TypeError, /options\.limits\.memory is not known; options\.limits may have lineBytes, outboxBytes, stallTimeout, listeners/ ],
  [ { watchdog: { stacks: true } }, TypeError, /options\.watchdog\.stacks is not known/ ],
];

for (const [ options, type, message ] of WRONG) {
  test(`refuses ${JSON.stringify(options)}`, () => {
    assert.throws(() => checkSupervision(options), err => err instanceof type && message.test(err.message));
  });
}

test('what is not given has its default', () => {
  const defaults = {
    restart: { stableTimeMs: 10000, maxDelayMs: 30000, intensityLimit: 60, intensityPeriodMs: 60000, giveUpMs: 60000 },
    watchdog: { timeoutMs: 60000, bootTimeoutMs: null, intervalMs: 5000, kills: true, stack: false },
    hold: { timeoutMs: 10000, connections: 1024 },
    limits: { lineBytes: 268435456, outboxBytes: 16777216, stallTimeoutMs: 30000, listeners: 256 },
  };
  const emptyOnes = [
    {},
    { restart: null, watchdog: null, hold: null, limits: null },
    { restart: { giveUp: null, intensity: null }, watchdog: { timeout: undefined } },
  ];
  for (const options of emptyOnes) {
    checkSupervision(options);
    assert.deepStrictEqual(supervisionConfig(options, true), defaults);
  }
});

test('what is given is passed on', () => {
  const options = {
    restart: { stableTime: 0, maxDelay: 1, intensity: { limit: 3, period: 5 }, giveUp: false },
    watchdog: { timeout: 2000, bootTimeout: 30000, interval: 100, action: 'report', stack: true },
    hold: { timeout: 500, connections: 1 },
    limits: { lineBytes: 65536, outboxBytes: 536870912, stallTimeout: 1000, listeners: 1 },
  };
  checkSupervision(options);
  assert.deepStrictEqual(supervisionConfig(options, true), {
    restart: { stableTimeMs: 0, maxDelayMs: 1, intensityLimit: 3, intensityPeriodMs: 5, giveUpMs: null },
    watchdog: { timeoutMs: 2000, bootTimeoutMs: 30000, intervalMs: 100, kills: false, stack: true },
    hold: { timeoutMs: 500, connections: 1 },
    limits: { lineBytes: 65536, outboxBytes: 536870912, stallTimeoutMs: 1000, listeners: 1 },
  });
  assert.strictEqual(supervisionConfig({ watchdog: false }, true).watchdog, null);
  assert.strictEqual(supervisionConfig({ watchdog: { action: 'restart' } }, false).watchdog.kills, false);
});
