'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const { bytes, clean, duration, fit, glyphs, hasColours, painter, sparkline, table, width, wrap } = require('../../lib/cli/text');
const { eventText, logReporter } = require('../../lib/cli/events');
const { statusText, placeText } = require('../../lib/cli/status');
const { History, topLines } = require('../../lib/cli/top');

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

test('only a terminal shows colours, and none where NO_COLOR is set; FORCE_COLOR decides before both', () => {
  assert.strictEqual(hasColours({ isTTY: true }, {}), true);
  assert.strictEqual(hasColours({ isTTY: true }, { NO_COLOR: '1' }), false);
  assert.strictEqual(hasColours({ isTTY: true }, { TERM: 'dumb' }), false);
  assert.strictEqual(hasColours({}, {}), false);
  assert.strictEqual(hasColours({}, { FORCE_COLOR: '1', NO_COLOR: '1' }), true);
  assert.strictEqual(hasColours({ isTTY: true }, { FORCE_COLOR: '0' }), false);
});

test('an event is one line', () => {
  const event = { uptimeMs: 5, type: 'app-exited', id: 2, code: null, signal: 'SIGKILL', pids: [ 1, 2 ] };
  assert.match(eventText(event, plain), /^\d\d:\d\d:\d\d app-exited id=2 signal=SIGKILL pids=\[1,2\]$/);
});

test('a line is cut to the columns that it takes, and its colours end with it', () => {
  assert.strictEqual(fit('1234567', 7), '1234567');
  assert.strictEqual(fit('12345678', 7, '…'), '123456…');
  assert.strictEqual(fit(painter(true)('red', '12345678'), 4, '~'), '\u001b[31m123~\u001b[0m');
  assert.deepStrictEqual([ width('日本'), width('e\u0301'), fit('日本語', 5, '…') ], [ 4, 1, '日本…' ]);
  assert.deepStrictEqual(wrap('one two three', 7), [ 'one two', 'three' ]);
  assert.strictEqual(clean('a\u001b[2Jb\nc'), 'a [2Jb c');
});

test('a table leaves out what is least missed, and is never wider than there is room', () => {
  const [ head, rows ] = [ [ 'SLOT', 'PID', 'STATE' ], [ [ '0', '123456', 'ready' ] ] ];
  assert.strictEqual(table(head, rows, { columns: 19, leastFirst: [ 'PID' ] }), 'SLOT     PID  STATE\n   0  123456  ready');
  assert.strictEqual(table(head, rows, { columns: 18, leastFirst: [ 'PID' ] }), 'SLOT  STATE\n   0  ready');
  assert.ok(table(head, rows, { columns: 8, leastFirst: [ 'PID' ] }).split('\n').every(line => width(line) <= 8));
});

test('bars stand for the last values; a terminal without them has other characters', () => {
  assert.strictEqual(sparkline([ 9, null, 0, 50, 100 ], 4, { bars: '12345678' }), ' 158');
  assert.strictEqual(sparkline([ 5 ], 3, { least: 10, bars: '12345678' }), '  5');
  assert.strictEqual(sparkline([ 5 ], 0), '');
  assert.ok(glyphs({ LANG: 'en_US.UTF-8' }).bars.includes('█') && glyphs({}).bars.includes('█'));
  for (const env of [ { LC_ALL: 'C', LANG: 'en_US.UTF-8' }, { TERM: 'linux' } ]) assert.ok(!glyphs(env).bars.includes('█'));
});

test('logs are the lines of the master, in which nothing can give orders to the terminal', () => {
  const lines = [];
  const reporter = logReporter(42, line => lines.push(line), plain);
  reporter.report({ type: 'stuck', role: 'app', id: 1, pid: 7, silentMs: 1200 });
  reporter.report({ type: 'reload-failed', reason: 'bad\u001b[2J', slot: null });
  reporter.report({ type: 'skipped', events: 3 });
  reporter.report({ type: 'unknown to this version' });
  assert.match(lines[0], /^\d{4}-\d\d-\d\d [\d:.]+ WARN 42 \[master\] app_worker#1:7 has not answered for 1200ms, new connections go to others$/);
  assert.ok(lines[1].endsWith('ERROR 42 [master] reload failed, the old workers go on serving: bad [2J'), lines[1]);
  assert.match(lines[2], /3 events are left out/);
  assert.strictEqual(lines.length, 3);
});

const counters = { handedOver: 9, taken: 7, refused: 1, redistributed: 1, messagesFrom: 3, bytesFrom: 2000, messagesTo: 4, bytesTo: 3000 };
const stuck = {
  role: 'app', id: 3, slot: 0, pid: 42, state: 'stuck', stateForMs: 1500, uptimeMs: 61000, requests: 2, connections: 5, countedAgoMs: 10,
  pingMs: null, pingAgoMs: null, heardAgoMs: 1500, silentMs: 1400, unanswered: 1, waiting: 2, outboxBytes: 5000, outboxMessages: 6, rssBytes: 50e6, cpuMs: 1000,
};

/** A report of a cluster in which much is wrong. */
function badReport() {
  const empty = {
    restarts: 4, strikes: 3, waiting: true, restartInMs: 2500, counters, process: null,
    lastExit: { code: 1, signal: null, pid: 41 }, lastExitAgoMs: 4000, lastError: null,
  };
  return {
    version: '9.9.9', pid: 1, baseDir: '/app', phase: 'running', ready: false, notReady: 'paused', paused: true, uptimeMs: 5000, address: null,
    master: null, listeners: [ { kind: 'round-robin', address: '[::]:7001', accepting: false, workers: 1, waiting: 2 } ],
    connections: { accepted: 9, waiting: 2, peeking: 0, timedOut: 1, unwanted: 0 }, hold: { limit: 1024, timeoutMs: 10000 },
    restartLimitExceeded: true, restarts: { recent: 61, limit: 60, periodMs: 60000, noneReadyMs: 20000, givesUpInMs: 40000 },
    reload: { number: 2, slot: null, forMs: 100, todo: [ 1 ], incoming: [ 0 ], outgoing: 0, replacingAgent: false },
    waits: { fullOutboxes: 2, pausedSenders: 1 },
    lastReload: { number: 1, slot: null, result: 'failed', reason: 'it exited', tookMs: 5, agoMs: 60000 },
    agent: { ...empty, waiting: false },
    slots: [ { slot: 0, restarts: 0, strikes: 0, counters, process: stuck, lastExit: null, lastExitAgoMs: null, lastError: null }, { slot: 1, ...empty } ],
    others: [ { ...stuck, id: 4, pid: 43, state: 'draining' } ],
  };
}

/** The next look: half of a second of processor time later. */
function nextReport(report) {
  return { ...report, uptimeMs: 6000, slots: [ { ...report.slots[0], process: { ...stuck, cpuMs: 1500, uptimeMs: 62000 } } ] };
}

test('the status says what is not as it should be', () => {
  const report = badReport();
  const text = statusText(report, plain);
  assert.match(text, /^messages have had to wait 3 times for processes/m);
  for (const part of [
    'running, not ready: paused', 'listens on [::]:7001 (round-robin), 2 waiting, not accepting', '2 waiting (of 1024 for each port, 10s at most)', '1 closed unserved',
    'too many workers die (more than 60 within 1m)', 'no worker has been ready for 20s', 'gives up in 40s', 'reload under way', 'failed 1m ago, it exited', 'stuck',
    'waiting 2.5s', 'code 1 (pid 41)', '(0)',
  ]) assert.ok(text.includes(part), `${part} in\n${text}`);
  assert.match(statusText(nextReport(report), plain, { before: report }), /^0 .* 50% /m);
});

test('one slot is shown in full', () => {
  const text = placeText(badReport(), '0', plain, Infinity);
  for (const part of [
    'slot 0', 'app worker 3, pid 42', 'stuck for 1.5s', 'owes an answer for 1.4s', '2 in flight, 5 connections open', '9 handed over, 7 taken, 1 refused, 1 redistributed',
    '1 not taken yet, 2 waiting', '3 (2 kB)', '4 (3 kB)', '6 messages, 5 kB',
  ]) assert.ok(text.includes(part), `${part} in\n${text}`);
  const waiting = placeText(badReport(), '1', plain, Infinity);
  for (const part of [ 'waiting 2.5s', '4, 3 deaths in a row', 'code 1 (pid 41), 4.0s ago' ]) assert.ok(waiting.includes(part), `${part} in\n${waiting}`);
  assert.match(placeText(badReport(), 'agent', plain, Infinity), /^agent\n/);
  assert.throws(() => placeText(badReport(), '7', plain, Infinity), /there is no slot 7: the slots are 0 to 1/);
});

test('status and top fit into any terminal', () => {
  const [ report, colours ] = [ badReport(), painter(true) ];
  const history = new History();
  [ report, nextReport(report), nextReport(report) ].forEach(look => history.add(look));
  for (let columns = 1; columns <= 200; columns++) {
    const { fixed, moving } = topLines(history, colours, columns);
    const lines = [ ...statusText(report, colours, { columns }).split('\n'), ...placeText(report, '0', colours, columns).split('\n'), ...fixed, ...moving ];
    for (const line of lines) assert.ok(width(line) <= columns, `${columns}: ${line}`);
  }
  assert.match(topLines(history, plain, 80).moving.join('\n'), /^0 +42 +stuck +0% +[▁▂▃▄▅▆▇█]+ +50 MB +[▁▂▃▄▅▆▇█]{3} +5 +███/m);
  assert.match(topLines(history, plain, 40).moving.join('\n'), /^0 +stuck .*50 MB$/m);
});
