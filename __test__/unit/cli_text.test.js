'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const { bytes, duration, hasColours, painter, table } = require('../../lib/cli/text');
const { eventText } = require('../../lib/cli/events');
const { statusText } = require('../../lib/cli/status');

const plain = painter(false);

test('times and sizes are as short as they can be read', () => {
  const times = { 0: '0.0s', 940: '0.9s', 12000: '12s', 60000: '1m', 61000: '1m 1s', 3600000: '1h', 90061000: '1d 1h', 86401000: '1d' };
  for (const [ ms, text ] of Object.entries(times)) assert.strictEqual(duration(Number(ms)), text);
  assert.deepStrictEqual([ duration(null), bytes(null), bytes(999), bytes(15300), bytes(55070720) ], [ '-', '-', '999 B', '15 kB', '55 MB' ]);
});

test('columns of numbers stand on the right, also in colours', () => {
  const red = painter(true)('red', 'stuck');
  assert.strictEqual(table([ 'SLOT', 'STATE', 'CPU' ], [ [ 0, 'ready', '5%' ], [ 10, red, '100%' ] ]),
    `SLOT  STATE   CPU\n   0  ready    5%\n  10  ${red}  100%`);
});

test('only a terminal shows colours, and none where NO_COLOR is set', () => {
  assert.strictEqual(hasColours({ isTTY: true }, {}), true);
  assert.strictEqual(hasColours({ isTTY: true }, { NO_COLOR: '1' }), false);
  assert.strictEqual(hasColours({ isTTY: true }, { TERM: 'dumb' }), false);
  assert.strictEqual(hasColours({}, {}), false);
});

test('an event is one line', () => {
  const event = { uptimeMs: 5, type: 'app-exited', id: 2, code: null, signal: 'SIGKILL', pids: [ 1, 2 ] };
  assert.match(eventText(event, plain), /^\d\d:\d\d:\d\d app-exited id=2 signal=SIGKILL pids=\[1,2\]$/);
});

test('the status says what is not as it should be', () => {
  const counters = { taken: 7 };
  const process = {
    role: 'app', id: 3, slot: 0, pid: 42, state: 'stuck', stateForMs: 1500, uptimeMs: 61000, requests: null, connections: null,
    pingMs: null, rssBytes: 50e6, cpuMs: 1000,
  };
  const empty = { restarts: 4, waiting: true, restartInMs: 2500, counters, process: null, lastExit: { code: 1, signal: null, pid: 41 }, lastError: null };
  const report = {
    version: '9.9.9', pid: 1, baseDir: '/app', phase: 'running', ready: false, notReady: 'paused', paused: true, uptimeMs: 5000, address: null,
    master: null, listeners: [ { kind: 'round-robin', address: '[::]:7001', accepting: false, workers: 1, waiting: 2 } ],
    connections: { accepted: 9, waiting: 2, peeking: 0, timedOut: 1, unwanted: 0 }, restartLimitExceeded: true,
    reload: { number: 2, slot: null, forMs: 100, todo: [ 1 ], incoming: [ 0 ], outgoing: 0, replacingAgent: false },
    waits: { fullOutboxes: 2, pausedSenders: 1 },
    lastReload: { number: 1, slot: null, result: 'failed', reason: 'it exited', tookMs: 5, agoMs: 60000 },
    agent: { ...empty, waiting: false }, slots: [ { slot: 0, restarts: 0, counters, process, lastExit: null, lastError: null }, { slot: 1, ...empty } ],
    others: [ { ...process, id: 4, pid: 43, state: 'draining' } ],
  };
  const text = statusText(report, plain);
  assert.match(text, /^messages have had to wait 3 times for processes/m);
  for (const part of [
    'running, not ready: paused', 'listens on [::]:7001 (round-robin), 2 waiting, not accepting', '1 closed unserved', 'too many workers die',
    'reload under way', 'failed 1m ago, it exited', 'stuck', 'waiting 2.5s', 'code 1 (pid 41)', '(0)',
  ]) assert.ok(text.includes(part), `${part} in\n${text}`);
  const later = { ...report, slots: [ { ...report.slots[0], process: { ...process, cpuMs: 1500, uptimeMs: 62000 } } ] };
  assert.match(statusText(later, plain, report), /^0 .* 50% /m);
});
