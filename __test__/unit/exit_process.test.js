'use strict';

// `exitProcess: false`, with a native side that says what a test tells it to.

const assert = require('assert');
const test = require('./helpers/test');
const vm = require('vm');

const { install, FakeNativeMaster, FakePortReservation } = require('./helpers/fake_native');
const { app, withEnv } = require('./helpers/app');

install();
const Master = require('../../lib/native_master');
const Ready = require('../../lib/ready');

const tick = () => new Promise(resolve => setImmediate(resolve));
const NAMES = [ 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR2', 'exit', 'message', 'uncaughtException' ];
const listeners = () => NAMES.map(name => process.listenerCount(name));

async function create(t, options) {
  // The log is of no interest here, and must not get into the output of the test runner.
  withEnv(t, { EGG_MASTER_LOGGER_LEVEL: 'NONE' });
  t.mock.method(process, 'exit', () => assert.fail('the process was to end'));
  const before = listeners();
  const master = new Master({ baseDir: app(t), port: 17001, exitProcess: false, ...options });
  const ends = [];
  master.on('close', end => ends.push(end));
  const ready = master.ready().catch(err => err);
  await tick();
  return { master, ready, ends, before, native: FakeNativeMaster.last };
}

test('close resolves when the native side has ended and is released, also when asked twice or late', async t => {
  const { master, ends, before, native } = await create(t);
  native.emit({ type: 'ready' });
  const closing = master.close();
  assert.strictEqual(master.close(), closing);
  assert.deepStrictEqual(native.calls, [ [ 'start' ], [ 'close' ] ]);
  native.emit({ type: 'closed', code: 0 });
  await closing;
  await master.close();
  assert.deepStrictEqual(native.calls, [ [ 'start' ], [ 'close' ], [ 'release' ] ]);
  assert.deepStrictEqual(ends, [ { code: 0, error: null } ]);
  assert.deepStrictEqual(listeners(), before);
  assert.ok(FakePortReservation.all.at(-1).released);
});

test('an end by itself is told once, and close resolves after it', async t => {
  const { master, ends, native } = await create(t);
  native.emit({ type: 'ready' }, { type: 'fatal', reason: 'broken', code: 70, backtrace: null }, { type: 'closed', code: 1 });
  assert.deepStrictEqual(ends.map(({ code, error }) => [ code, error.message ]), [ [ 70, 'the cluster has ended: internal error: broken' ] ]);
  await master.close();
  assert.deepStrictEqual(native.calls, [ [ 'start' ], [ 'release' ] ]);
});

test('a start that fails rejects; a close before ready, too', async t => {
  const failed = await create(t);
  failed.native.emit({ type: 'closed', code: 1 });
  assert.strictEqual((await failed.ready).code, 'ERR_EGG_CLUSTER_RS_FAILED');
  const closed = await create(t);
  closed.master.close();
  closed.native.emit({ type: 'closed', code: 0 });
  assert.strictEqual((await closed.ready).message, 'the cluster was closed before it was ready');
});

test('exceptions and messages of the process are not the master\'s', async t => {
  const { master, before, native } = await create(t);
  native.emit({ type: 'apps-forking' });
  await tick();
  const now = listeners();
  assert.deepStrictEqual(now.slice(5), before.slice(5));
  master.close();
  native.emit({ type: 'closed', code: 0 });
});

test('an Error of another realm is a failure', async () => {
  const ready = new Ready();
  ready.set(vm.runInNewContext('new Error("elsewhere")'));
  await assert.rejects(ready.promise(), { message: 'elsewhere' });
});
