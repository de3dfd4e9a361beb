'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const util = require('util');

const Reporter = require('../../lib/reporter');
const { withEnv } = require('./helpers/app');

const CFORK = /^\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}\] \[cfork:master:(\d+)\] /;

/**
 * The lines for some events. Each begins with where it goes: `out`, `err` (cfork's), or
 * the level of the logger; `log` for lines that are DEBUG in development.
 */
function linesFor(events, options = {}) {
  const lines = [];
  const take = prefix => (...args) => {
    const isError = args[0] instanceof Error;
    const text = isError ? `${args[0].name}: ${args[0].message}` : util.format(...args);
    const match = CFORK.exec(text);
    if (match) assert.strictEqual(match[1], String(process.pid));
    lines.push(`${prefix} ${text.replace(CFORK, '[cfork] ')}`);
  };
  const reporter = new Reporter({
    logger: { info: take('INFO'), warn: take('WARN'), error: take('ERROR') },
    log: take('log'),
    console: { info: take('out'), error: take('err') },
    options,
    frameworkName: 'egg',
  });
  for (const event of events) reporter.report(event);
  return lines;
}

const address = { addressType: 4, address: null, port: 17001 };
const disconnected = { type: 'app-disconnected', id: 1, pid: 2811, exitedAfterDisconnect: false, state: 'disconnected', workers: [ 1, 2 ] };
const exited = {
  type: 'app-exited', id: 1, pid: 2811, code: null, signal: 'SIGKILL', exitedAfterDisconnect: false, state: 'dead',
  expected: false, reloaded: false, reforked: true, pids: [ 2811, 2812, 2842 ], whileStarting: false, byDebugger: false,
};

test('a start, as egg-cluster 2.5.0 prints it', () => {
  const options = { workers: 2, clusterPort: 33161 };
  assert.deepStrictEqual(linesFor([
    { type: 'agent-forked', id: 1, pid: 2800, inspectPort: null },
    { type: 'agent-started', id: 1, pid: 2800, elapsedMs: 232 },
    { type: 'apps-forking' },
    { type: 'app-forked', id: 1, pid: 2811, slot: 0, reason: 'start', inspectPort: null, workers: [ 1, 2 ] },
    { type: 'app-listening', id: 1, pid: 2811, address, reusePort: false },
    { type: 'app-started', id: 1, pid: 2811, address, remain: 0, elapsedMs: 316 },
    { type: 'realport', port: 17001, protocol: 'http' },
    { type: 'ready', port: 17001, protocol: 'http', address: 'http://127.0.0.1:17001', elapsedMs: 554 },
    { type: 'to-parent', message: { action: 'egg-ready' } },
    { type: 'message', message: { action: 'agent-start' } },
  ], options), [
    'log [master] agent_worker#1:2800 start with clusterPort:33161',
    'INFO [master] agent_worker#1:2800 started (232ms)',
    'log [master] start appWorker with args ["{\\"workers\\":2,\\"clusterPort\\":33161}"] (process)',
    'log [master] app_worker#1:2811 start, state: none, current workers: ["1","2"]',
    'INFO [master] app_worker#1:2811 listening on {"addressType":4,"address":null,"port":17001}',
    'log [master] app_worker#1:2811 started at 17001, remain 0 (316ms)',
    'INFO [master] egg started on http://127.0.0.1:17001 (554ms)',
  ]);
});

test('an app worker that dies in production', () => {
  assert.deepStrictEqual(linesFor([
    { ...disconnected, refork: 'refork' },
    { type: 'app-forked', id: 3, pid: 2842, slot: 0, reason: 'refork', inspectPort: null, workers: [ 1, 2, 3 ] },
    exited,
  ]), [
    'err [cfork] worker:2811 disconnect (exitedAfterDisconnect: false, state: disconnected, isDead: false, worker.disableRefork: false)',
    'INFO [master] app_worker#1:2811 disconnect, suicide: false, state: disconnected, current workers: ["1","2"]',
    'err [cfork] new worker:2842 fork (state: none)',
    'log [master] app_worker#3:2842 start, state: none, current workers: ["1","2","3"]',
    'err [cfork] worker:2811 exit (code: null, exitedAfterDisconnect: false, state: dead, isDead: true, isExpected: true, worker.disableRefork: false)',
    'ERROR AppWorkerDiedError: [master] app_worker#1:2811 died (code: null, signal: SIGKILL, suicide: false, state: dead), current workers: [2811,2812,2842]',
  ]);
});

test('an app worker that dies outside production, or too often', () => {
  assert.deepStrictEqual(linesFor([ { ...disconnected, refork: 'off' } ])[1], 'err [cfork] don\'t fork new work (refork: false)');
  assert.strictEqual(linesFor([ { ...disconnected, refork: 'later', reforkInMs: 512 } ])[1],
    'err [cfork] don\'t fork new work at once, worker:2811 will be replaced in 512ms');
  assert.deepStrictEqual(linesFor([ { ...disconnected, refork: 'refork' }, { type: 'restart-limit', limit: 60, periodMs: 60000 } ]).slice(2),
    [ 'err [cfork] worker died too fast (total 1 disconnect, 0 unexpected exit)' ]);
  assert.deepStrictEqual(linesFor([ { type: 'gave-up', noneReadyMs: 61000, code: 69 } ]),
    [ 'ERROR [master] no app worker has been ready for 61000ms and restarts do not help, giving up, exiting with code:69' ]);
});

test('what the watchdog sees', () => {
  const app = { role: 'app', id: 1, pid: 2811 };
  const agent = { role: 'agent', id: 1, pid: 2810 };
  assert.deepStrictEqual(linesFor([
    { type: 'stuck', ...app, silentMs: 1000 },
    { type: 'recovered', ...app, silentMs: 2500 },
    { type: 'stuck', ...agent, silentMs: 1000 },
    { type: 'hung', ...agent, silentMs: 60000, booting: false, killed: false },
    { type: 'hung', ...app, silentMs: 30000, booting: true, killed: true },
  ]), [
    'WARN [master] app_worker#1:2811 has not answered for 1000ms, new connections go to others',
    'WARN [master] app_worker#1:2811 answers again after 2500ms',
    'WARN [master] agent_worker#1:2810 has not answered for 1000ms',
    'ERROR [master] agent_worker#1:2810 has not answered for 60000ms',
    'ERROR [master] app_worker#1:2811 is not ready after 30000ms and will be killed',
  ]);
});

test('connections that no worker has taken', () => {
  const gone = { type: 'handed-on', id: 1, pid: 2811 };
  assert.deepStrictEqual(linesFor([
    { ...gone, connections: 1 },
    { ...gone, connections: 2 },
    { type: 'held-too-long', connections: 1, timeoutMs: 10000 },
    { type: 'held-too-long', connections: 3, timeoutMs: 10000 },
  ]), [
    'log [master] app_worker#1:2811 had not taken 1 connection, others get it',
    'log [master] app_worker#1:2811 had not taken 2 connections, others get them',
    'WARN [master] 1 connection was closed, no worker has taken it within 10000ms',
    'WARN [master] 3 connections were closed, no worker has taken them within 10000ms',
  ]);
});

test('where a hung worker hangs', () => {
  const hangs = { type: 'worker-hangs', role: 'app', id: 1, pid: 2811 };
  const frames = [
    { function: 'spin', url: 'file:///app.js', line: 12, column: 5 },
    { function: '', url: '', line: 1, column: 1 },
  ];
  assert.deepStrictEqual(linesFor([
    { ...hangs, frames, reason: null },
    { ...hangs, frames: frames.slice(0, 1), reason: null },
    { ...hangs, frames: [], reason: 'no answer within 2000ms' },
  ]), [
    'ERROR [master] app_worker#1:2811 hangs in spin (file:///app.js:12:5)\n    at (anonymous) ((no file):1:1)',
    'ERROR [master] app_worker#1:2811 hangs in spin (file:///app.js:12:5)',
    'ERROR [master] app_worker#1:2811 no stack: no answer within 2000ms',
  ]);
});

test('an app worker that dies during start', () => {
  assert.deepStrictEqual(linesFor([
    { ...disconnected, refork: 'disabled' },
    { ...exited, code: 0, signal: null, reforked: false, pids: [ 2811 ], whileStarting: true },
  ]), [
    'out [cfork] worker:2811 disconnect (exitedAfterDisconnect: false, state: disconnected, isDead: false, worker.disableRefork: true)',
    'out [cfork] don\'t fork, because worker:2811 will be kill soon',
    'INFO [master] app_worker#1:2811 disconnect, suicide: false, state: disconnected, current workers: ["1","2"]',
    'out [cfork] worker:2811 exit (code: 0, exitedAfterDisconnect: false, state: dead, isDead: true, isExpected: false, worker.disableRefork: true)',
    'ERROR AppWorkerDiedError: [master] app_worker#1:2811 died (code: 0, signal: null, suicide: false, state: dead), current workers: [2811]',
    'ERROR [master] app_worker#1:2811 start fail, exiting with code:1',
  ]);
});

test('workers that are ended on purpose are no errors', () => {
  for (const reason of [ { expected: true }, { expected: true, reloaded: true }, { reloaded: true } ]) {
    const lines = linesFor([ { ...disconnected, refork: 'disabled' }, { ...exited, ...reason } ]);
    assert.deepStrictEqual(lines.filter(line => /^(ERROR|WARN|err)/.test(line)), []);
    assert.strictEqual(lines.length, 4);
  }
});

test('a worker ended by a debugger', () => {
  assert.deepStrictEqual(linesFor([ { ...exited, byDebugger: true } ]).slice(1), [
    'ERROR [master] app_worker#1:2811 died (code: null, signal: SIGKILL, suicide: false, state: dead), current workers: [2811,2812,2842]',
    'ERROR [master] worker kill by debugger, exiting...',
  ]);
});

test('an agent that dies', () => {
  const died = { type: 'agent-exited', id: 1, pid: 19249, code: null, signal: 'SIGKILL', restartInMs: 1000 };
  assert.deepStrictEqual(linesFor([ died, { type: 'agent-restarting' } ]), [
    'ERROR AgentWorkerDiedError: [master] agent_worker#1:19249 died (code: null, signal: SIGKILL)',
    'log [master] try to start a new agent_worker after 1s ...',
    'INFO [master] new agent_worker starting...',
  ]);
  assert.strictEqual(linesFor([ { ...died, restartInMs: 2500 } ])[1], 'log [master] try to start a new agent_worker after 2.5s ...');
  assert.strictEqual(linesFor([ { ...died, code: 1, signal: null, restartInMs: null } ])[1],
    'ERROR [master] agent_worker#1:19249 start fail, exiting with code:1');
});

test('ready in sticky mode and with a debug port', t => {
  const ready = { type: 'ready', port: 7001, protocol: 'http', address: 'http://127.0.0.1:7001', elapsedMs: 5 };
  const second = () => linesFor([ ready ], { sticky: true, debugPort: 7002 })[1];
  withEnv(t, { HOST: undefined });
  assert.strictEqual(linesFor([ ready ], { sticky: true })[0], 'INFO [master] egg started on http://127.0.0.1:7001 (5ms) with STICKY MODE!');
  assert.strictEqual(second(), 'INFO [master] egg started on http://127.0.0.1:7002');
  process.env.HOST = '0.0.0.0';
  assert.strictEqual(second(), 'INFO [master] egg started on http://127.0.0.1:7002');
  process.env.HOST = '10.0.0.1';
  assert.strictEqual(second(), 'INFO [master] egg started on http://10.0.0.1:7002');
});

test('closing', () => {
  assert.deepStrictEqual(linesFor([
    { type: 'closing-apps', timeoutMs: 5000 },
    { type: 'closing-agent', timeoutMs: 1000, alive: true },
    { type: 'closed', code: 0 },
  ]), [
    'INFO [master] send kill SIGTERM to app workers, will exit with code:0 after 5000ms',
    'INFO [master] wait 5000ms',
    'INFO [master] send kill SIGTERM to agent worker, will exit with code:0 after 1000ms',
    'INFO [master] wait 1000ms',
    'log [master] kill agent worker with signal SIGTERM',
    'log [master] close done, exiting with code:0',
  ]);
  assert.strictEqual(linesFor([ { type: 'closing-agent', timeoutMs: 1000, alive: false } ]).length, 2);
  assert.deepStrictEqual(linesFor([ { type: 'closed', code: 1 } ]), []);
});

test('the check of who is alive', () => {
  assert.deepStrictEqual(linesFor([ { type: 'check-failed', agent: 0, worker: 2 } ]), [
    'ERROR ClusterWorkerExceptionError: [master] 0 agent and 2 worker(s) alive, exit to avoid unknown state',
  ]);
});

test('events that egg-cluster has not', () => {
  const app = { role: 'app', id: 1, pid: 5 };
  const agent = { role: 'agent', id: 2, pid: 6 };
  assert.deepStrictEqual(linesFor([
    { type: 'reload-started', workers: 2 },
    { type: 'reloading-agent' },
    { type: 'agent-replaced', id: 1, pid: 7, code: 0, signal: null },
    { type: 'reload-done', elapsedMs: 9 },
    { type: 'reload-failed', reason: 'app_worker#3 exited' },
    { type: 'reload-started', workers: 1, number: 2, slot: 0 },
    { type: 'reload-done', elapsedMs: 9, number: 2, slot: 0 },
    { type: 'reload-failed', reason: 'app_worker#3 exited', number: 3, slot: 1 },
    { type: 'scaled', from: 2, to: 4 },
    { type: 'paused' },
    { type: 'resumed' },
    { type: 'control-ready', path: '/run/x.sock', tcp: null },
    { type: 'control-ready', path: null, tcp: '127.0.0.1:9100' },
    { type: 'control-failed', reason: 'cannot listen' },
    { type: 'socket-taken', socket: '[::]:7001 (web)' },
    { type: 'socket-ignored', fd: 3, name: 'web', reason: 'it is no socket' },
    { type: 'socket-ignored', fd: 4, name: null, reason: 'it is not open' },
    { type: 'sockets-unused', sockets: [ '[::]:7001 (web)', '/run/x.sock' ] },
    { type: 'notify-failed', socket: '/run/notify', reason: 'gone' },
    { type: 'bad-message', reason: 'no object', ...app },
    { type: 'unresponsive', ...agent },
    { type: 'parent-deaf' },
    { type: 'parent-reads', dropped: 7 },
    { type: 'killed', exited: false, ...app },
    { type: 'killed', exited: true, ...app },
    { type: 'spawn-failed', role: 'agent', id: 1, reason: 'out of memory' },
    { type: 'listen-failed', port: 80, errno: 13 },
    { type: 'accept-failed', errno: 24 },
    { type: 'fatal', reason: 'index out of bounds', code: 70, backtrace: null },
    { type: 'app-listening', id: 1, pid: 5, address, reusePort: true },
    { type: 'unknown-to-this-release' },
  ]), [
    'log [master] reload workers...',
    'log [master] reload agent_worker...',
    'log [master] agent_worker#1:7 ended for the reload (code: 0, signal: null)',
    'log [master] reload done (9ms)',
    'ERROR [master] reload failed, the old workers go on serving: app_worker#3 exited',
    'log [master] restart the worker of slot 0...',
    'log [master] restart of slot 0 done (9ms)',
    'ERROR [master] restart of slot 1 failed, the old workers go on serving: app_worker#3 exited',
    'INFO [master] scale app workers from 2 to 4',
    'WARN [master] paused: new connections wait in the queue of the kernel',
    'WARN [master] resumed: new connections are accepted again',
    'INFO [master] probes and metrics on http://127.0.0.1:9100',
    'WARN [master] control socket: cannot listen',
    'INFO [master] listens by the socket that it was started with: [::]:7001 (web)',
    'WARN [master] descriptor 3 (web) of LISTEN_FDS is ignored: it is no socket',
    'WARN [master] descriptor 4 of LISTEN_FDS is ignored: it is not open',
    'WARN [master] nobody listens on what the master was started with (LISTEN_FDS): [::]:7001 (web), /run/x.sock',
    'WARN [master] the service manager cannot be told anything at /run/notify (NOTIFY_SOCKET): gone',
    'WARN [master] app_worker#1:5 sent a message that is ignored: no object',
    'ERROR [master] agent_worker#2:6 does not read its messages any more and will be killed',
    'WARN [master] the parent does not read its messages any more, those of workers are dropped until it does',
    'WARN [master] the parent reads again, 7 messages to it were dropped',
    'WARN [master] app_worker#1:5 did not exit in time and was killed, with its descendants',
    'WARN [master] descendants of app_worker#1:5 did not exit in time and were killed',
    'ERROR [master] cannot start the process of agent_worker#1: out of memory',
    'ERROR [master] cannot listen on port 80: EACCES',
    'WARN [master] cannot accept new connections for the moment: EMFILE',
    'ERROR [master] internal error of egg-cluster-rs, exiting with code:70: index out of bounds',
    'INFO [master] app_worker#1:5 reuse-port listening on {"addressType":4,"address":null,"port":17001}',
  ]);
});

test('drained workers, and those that had no more time', () => {
  assert.deepStrictEqual(linesFor([
    { type: 'app-drained', id: 1, pid: 2811, elapsedMs: 12 },
    { type: 'drain-timed-out', id: 2, pid: 2812, elapsedMs: 5000, requests: 2, connections: 3 },
    { type: 'drain-timed-out', id: 3, pid: 2813, elapsedMs: 5000, requests: null, connections: null },
  ]), [
    'log [master] app_worker#1:2811 drained in 12ms',
    'log [master] app_worker#2:2812 drain timed out after 5000ms, 2 requests and 3 connections were cut',
    'log [master] app_worker#3:2813 drain timed out after 5000ms, it has not told what was cut',
  ]);
});
