'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const Failure = require('../../lib/failure');

const READY = { type: 'ready' };
const DEATH = { type: 'app-exited', id: 2, pid: 77, code: null, signal: 'SIGKILL', whileStarting: true };

function messageAfter(...events) {
  const failure = new Failure();
  events.forEach(event => failure.note(event));
  return failure.toError(1).message;
}

test('the first thing that went wrong at the start is the reason', () => {
  assert.strictEqual(messageAfter({ type: 'listen-failed', port: 80, errno: 13 }, DEATH), 'the cluster has not started: cannot listen on port 80: EACCES');
  assert.strictEqual(messageAfter(DEATH, { type: 'spawn-failed', reason: 'x' }),
    'the cluster has not started: app_worker#2:77 died while it was starting (code: null, signal: SIGKILL), its output says why');
  assert.strictEqual(messageAfter({ type: 'agent-exited', id: 1, pid: 7, code: 3, signal: null, restartInMs: null }),
    'the cluster has not started: agent_worker#1:7 died while it was starting (code: 3, signal: null), its output says why');
});

test('what the cluster lives on after is no reason', () => {
  const lived = [ { ...DEATH, whileStarting: false }, { type: 'agent-exited', restartInMs: 1000 } ];
  assert.strictEqual(messageAfter(...lived), 'the cluster has not started: exit code 1');
  assert.strictEqual(messageAfter(DEATH, READY), 'the cluster has ended: exit code 1');
});

test('an end at run time has the last reason', () => {
  const gaveUp = { type: 'gave-up', noneReadyMs: 500 };
  assert.strictEqual(messageAfter(READY, { type: 'spawn-failed', reason: 'x' }, gaveUp),
    'the cluster has ended: no app worker has been ready for 500ms and restarts do not help');
  assert.strictEqual(messageAfter(READY, { type: 'check-failed', agent: 3, worker: 0 }), 'the cluster has ended: 3 agent and 0 worker(s) were alive');
  assert.strictEqual(messageAfter(READY, gaveUp, { type: 'fatal', reason: 'oh' }), 'the cluster has ended: internal error: oh');
});

test('the error has a code, the exit code and its cause', () => {
  const cause = new Error('no file');
  const error = new Failure().toError(69, cause);
  assert.strictEqual(error.message, 'the cluster has not started: no file');
  assert.deepStrictEqual([ error.code, error.exitCode, error.cause ], [ 'ERR_EGG_CLUSTER_RS_FAILED', 69, cause ]);
});

test('an exit has the reason for which the closing began, and a failing one what failed', () => {
  const reasonOf = (code, isOurs, ...notes) => {
    const failure = new Failure();
    for (const note of notes) note(failure);
    return failure.reasonOf(code, isOurs);
  };
  const closes = reason => failure => failure.closes(reason);
  const event = it => failure => failure.note(it);
  assert.strictEqual(reasonOf(0, true, closes('a'), closes('b')), 'a');
  const stop = { type: 'asked', request: 'stop', pid: 7, command: 'curl x' };
  assert.strictEqual(reasonOf(0, true, event(stop), closes('b')), 'stop through the control socket, asked for by process 7 (curl x)');
  assert.strictEqual(reasonOf(0, true, event({ ...stop, request: 'reload' }), closes('b')), 'b');
  assert.strictEqual(reasonOf(0, true, event({ ...DEATH, byDebugger: true })), 'a debugger has ended app_worker#2:77');
  assert.match(reasonOf(1, true, event(DEATH), closes('b')), /^app_worker#2:77 died while it was starting/);
  assert.strictEqual(reasonOf(70, true, event({ type: 'fatal', reason: 'oh' })), 'internal error: oh');
  assert.strictEqual(reasonOf(1, true, failure => failure.failed(new Error('no file\nat all'))), 'no file');
  assert.strictEqual(reasonOf(1, true), 'not known');
  // What has been lived on after does not count.
  assert.strictEqual(reasonOf(3, false, event({ type: 'spawn-failed', reason: 'x' })), 'the program of the master has called process.exit()');
  assert.strictEqual(reasonOf(1, false, failure => failure.uncaught(new Error('oh'))),
    'an error in the program of the master, which nobody has caught: oh');
  assert.match(reasonOf(3, false, closes('a')), /process\.exit\(\) before everything was closed, which had begun by a$/);
});
