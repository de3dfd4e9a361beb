'use strict';

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const test = require('./helpers/test');

const { install, FakeNativeMaster, FakePortReservation } = require('./helpers/fake_native');
const { app, withEnv } = require('./helpers/app');

install();
const Master = require('../../lib/native_master');
const { startCluster } = require('../..');

const SIGNALS = [ 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR2', 'exit', 'uncaughtException' ];
const tick = () => new Promise(resolve => setImmediate(resolve));

/** Keep process.exit from ending the test, output off the screen, and listeners off the process. */
function sandbox(t) {
  const exits = [];
  t.mock.method(process, 'exit', code => exits.push(code));
  const out = capture(t, process.stdout);
  const err = capture(t, process.stderr);
  withEnv(t, { NODE_ENV: undefined, EGG_SERVER_ENV: undefined, EGG_MASTER_LOGGER_LEVEL: undefined });
  const before = SIGNALS.map(name => process.listeners(name));
  t.after(() => SIGNALS.forEach((name, i) => {
    for (const listener of process.listeners(name)) {
      if (!before[i].includes(listener)) process.removeListener(name, listener);
    }
  }));
  return { exits, out, err };
}

/** Keep the lines of the logger and of cfork; all else is the test runner's own. */
function capture(t, stream) {
  let text = '';
  const write = stream.write;
  t.mock.method(stream, 'write', function(chunk, ...rest) {
    if (!/^\[?\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[,.]\d{3}(?: [A-Z]+ \d+|\] \[cfork:)/.test(chunk)) return write.call(this, chunk, ...rest);
    text += chunk;
    return true;
  });
  return () => text;
}

async function create(t, options = {}, MasterClass = Master) {
  const box = sandbox(t);
  const master = new MasterClass({ baseDir: app(t), workers: 2, port: 17001, ...options });
  await tick();
  return { master, native: FakeNativeMaster.last, ...box };
}

const READY = { type: 'ready', port: 17001, protocol: 'http', address: 'http://127.0.0.1:17001', elapsedMs: 1 };

test('prints egg-cluster\'s first lines, then reserves the port for the agent, then starts', async t => {
  const { master, native, out, err } = await create(t, { env: 'prod' });
  const dir = master.options.baseDir;
  const lines = out().replace(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO \d+ /gm, '');
  assert.strictEqual(lines, [
    '[master] =================== egg start =====================',
    `[master] node version ${process.version}`,
    '[master] egg version 3.0.0',
    '[master] start with options:',
    '{',
    `  "framework": "${dir}/node_modules/egg",`,
    `  "baseDir": "${dir}",`,
    '  "port": 17001,',
    '  "reusePort": false,',
    '  "workers": 2,',
    '  "plugins": null,',
    '  "https": false,',
    '  "startMode": "process",',
    '  "ports": [],',
    '  "env": "prod"',
    '}',
    '[master] start with env: isProduction: true, EGG_SERVER_ENV: prod, NODE_ENV: undefined',
    '',
  ].join('\n'));
  assert.strictEqual(err(), '');
  assert.deepStrictEqual(native.calls, [ [ 'start' ] ]);
  assert.strictEqual(master.options.clusterPort, FakePortReservation.all.at(-1).port);
  assert.strictEqual(native.config.optionsJson, JSON.stringify(master.options));
  assert.strictEqual(Object.keys(master.options).pop(), 'clusterPort');
  assert.strictEqual(native.config.agentWorkerFile, path.join(dir, 'node_modules/egg-cluster/lib/agent_worker.js'));
});

test('is quiet in development, where log() means DEBUG', async t => {
  const { master, out } = await create(t, { env: 'local' });
  assert.strictEqual(master.logMethod, 'debug');
  assert.deepStrictEqual(out().match(/\[master\] .*/g), [ `[master] node version ${process.version}`, '[master] egg version 3.0.0' ]);
});

test('reserves a second port in sticky mode', async t => {
  const { master, native } = await create(t, { sticky: true });
  assert.notStrictEqual(master.options.stickyWorkerPort, master.options.clusterPort);
  assert.strictEqual(native.config.stickyPort, master.options.stickyWorkerPort);
});

test('ready: callback without argument, promise, and at once afterwards; Master is no thenable', async t => {
  const { master, native } = await create(t);
  assert.strictEqual(master.then, undefined);
  const calls = [];
  master.ready((...args) => calls.push(args));
  assert.strictEqual(master.isStarted, false);
  native.emit(READY);
  await master.ready();
  await tick();
  assert.strictEqual(master.isStarted, true);
  master.ready((...args) => calls.push(args));
  assert.deepStrictEqual(calls, [ [], [] ]);
});

test('startCluster: callback, promise with the master', async t => {
  sandbox(t);
  let args;
  const promise = startCluster({ baseDir: app(t) }, (...got) => {
    args = got;
  });
  await tick();
  FakeNativeMaster.last.emit(READY);
  const master = await promise;
  assert(master instanceof Master);
  assert.deepStrictEqual(args, []);
});

test('startCluster: wrong arguments throw at once', t => {
  sandbox(t);
  assert.throws(() => startCluster({ baseDir: 1 }), TypeError);
  assert.throws(() => startCluster({}, 'x'), /^TypeError: callback of startCluster must be a function, but got string$/);
});

test('an error that the callback gets is not rejected a second time', async t => {
  sandbox(t);
  const rejections = [];
  const onRejection = err => rejections.push(err);
  process.on('unhandledRejection', onRejection);
  t.after(() => process.removeListener('unhandledRejection', onRejection));
  let master;
  t.mock.method(Master.prototype, 'getAppWorkerFile', function() {
    master = this;
    return __filename;
  });
  const failure = new Error('set by a subclass');
  const got = new Promise(resolve => startCluster({ baseDir: app(t) }, resolve));
  await tick();
  master.ready(failure);
  assert.strictEqual(await got, failure);
  await tick();
  assert.deepStrictEqual(rejections, []);
});

test('worker_threads: the native master decides, orders go to the thread driver, cfork has no part', async t => {
  const { master, native, out } = await create(t, { startMode: 'worker_threads', ports: [ 17001, 17002 ], workers: 3, drain: {} });
  assert.deepStrictEqual([ native.config.threads, native.config.workers ], [ true, 2 ]);
  assert.deepStrictEqual([ master.options.ports, master.options.workers ], [ [ 17001, 17002 ], 2 ]);
  assert.match(out(), /WARN \d+ \[master\] startMode worker_threads: options\.drain has no effect/);
  const before = process.listenerCount('uncaughtException');
  native.emit({ type: 'apps-forking' }, { type: 'thread-post', key: 7, message: {} }, { type: 'thread-terminate', key: 7 });
  native.emit({ type: 'app-forked', id: 2, pid: 5, slot: 1, reason: 'start', inspectPort: null, workers: [] });
  await tick();
  assert.strictEqual(process.listenerCount('uncaughtException'), before);
  assert.match(out(), /\[master\] app_worker#2 \(tid:5\) start\n/);
  assert.strictEqual(out().includes('start appWorker with args'), false);
});

test('worker scripts: overrides of a subclass, and of the look-alikes of the workers', async t => {
  class Custom extends Master {
    constructor(options) {
      super(options);
      this.file = __filename;
      this.appWorker.getAppWorkerFile = () => path.join(__dirname, 'helpers/app.js');
    }
    getAgentWorkerFile() {
      assert(super.getAgentWorkerFile().endsWith('/egg-cluster/lib/agent_worker.js'));
      return this.file;
    }
  }
  const { native } = await create(t, {}, Custom);
  assert.strictEqual(native.config.agentWorkerFile, __filename);
  assert.strictEqual(native.config.appWorkerFile, path.join(__dirname, 'helpers/app.js'));
});

test('a worker script that is not there ends the start with code 1', async t => {
  class Custom extends Master {
    getAppWorkerFile() {
      return '/nowhere.js';
    }
  }
  const { exits, err } = await create(t, {}, Custom);
  assert.deepStrictEqual(exits, [ 1 ]);
  assert.match(err(), /getAppWorkerFile\(\) must return the path of an existing file, but returned "\/nowhere\.js"/);
});

test('the pid file: written with its directory, removed at exit, a missing one tolerated', async t => {
  const dir = app(t);
  const pidFile = path.join(dir, 'deep/er/master.pid');
  const { master, err } = await create(t, { pidFile });
  assert.strictEqual(fs.readFileSync(pidFile, 'utf8'), String(process.pid));
  master.onExit(0);
  assert(!fs.existsSync(pidFile));
  master.onExit(0);
  assert.strictEqual(err(), '');
});

test('a pid file that cannot be written: the error names it, and nothing is left behind', t => {
  sandbox(t);
  const before = process.listenerCount('SIGTERM');
  const baseDir = app(t);
  const pidFile = path.join(baseDir, 'package.json/master.pid');
  assert.throws(() => new Master({ baseDir, pidFile }), err => err.message.startsWith(`options.pidFile: cannot write ${pidFile}: `));
  assert.strictEqual(process.listenerCount('SIGTERM'), before);
});

test('a signal closes, once; the process ends with the code that closing gives', async t => {
  const { master, native, exits, out } = await create(t);
  process.emit('SIGTERM', 'SIGTERM');
  assert.strictEqual(master.closed, true);
  master.onSignal('SIGINT');
  assert.deepStrictEqual(native.calls, [ [ 'start' ], [ 'close' ] ]);
  const closed = master.close();
  native.emit({ type: 'closing-apps', timeoutMs: 5000 }, { type: 'closing-agent', timeoutMs: 5000, alive: false });
  assert.deepStrictEqual(exits, []);
  native.emit({ type: 'closed', code: 0 });
  await closed;
  assert.deepStrictEqual(exits, [ 0 ]);
  assert(FakePortReservation.all.at(-1).released);
  assert.match(out(), /\[master\] master is killed by signal SIGTERM, closing\n.*\[master\] system memory: total \d+, free \d+\n.*\[master\] process info: heap_limit \d+, heap_used \d+\n.*send kill SIGTERM to app workers/);
  assert.match(out(), /close done, exiting with code:0\n$/);
});

test('close right after the constructor: nothing is started', async t => {
  const box = sandbox(t);
  const master = new Master({ baseDir: app(t) });
  master.close();
  await tick();
  assert.deepStrictEqual(FakeNativeMaster.last.calls, [ [ 'close' ] ]);
  FakeNativeMaster.last.emit({ type: 'closed', code: 0 });
  assert.deepStrictEqual(box.exits, [ 0 ]);
});

test('a pid file for which there is no room does not stay behind; one that is not ours to write does', t => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-pid-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const pidFile = path.join(dir, 'master.pid');
  sandbox(t);
  const options = { baseDir: app(t), workers: 1, port: 17001, pidFile };
  for (const [ code, left ] of [ [ 'ENOSPC', false ], [ 'EACCES', true ] ]) {
    const write = t.mock.method(fs, 'writeFileSync', file => {
      fs.closeSync(fs.openSync(file, 'w'));
      throw Object.assign(new Error(`${code}: no`), { code });
    });
    assert.throws(() => new Master(options), { code, message: `options.pidFile: cannot write ${pidFile}: ${code}: no` });
    write.mock.restore();
    assert.strictEqual(fs.existsSync(pidFile), left);
  }
});

test('a failed start ends the process with code 1, and a defect with the code that the native side says', async t => {
  const { native, exits, err } = await create(t);
  native.emit({ type: 'closed', code: 1 });
  native.emit({ type: 'fatal', reason: 'boom at src/x.rs:1:2', code: 70, backtrace: '0: somewhere' });
  assert.deepStrictEqual(exits, [ 1, 70 ]);
  assert.match(err(), /ERROR \d+ \[master\] internal error of egg-cluster-rs, exiting with code:70: boom at src\/x\.rs:1:2\n0: somewhere\n/);
});

test('events: agent-exit, app-start, app-exit and messages to the master', async t => {
  const { master, native } = await create(t);
  const got = [];
  for (const name of [ 'agent-exit', 'app-start', 'app-exit', 'agent-start', 'realport', 'custom' ]) {
    master.on(name, (...args) => got.push([ name, ...args ]));
  }
  const address = { addressType: 4, address: null, port: 17001 };
  native.emit(
    { type: 'message', message: { action: 'agent-start', to: 'master', from: 'agent' } },
    { type: 'message', message: { action: 'realport', data: { port: 1, protocol: 'http' } } },
    { type: 'app-listening', id: 1, pid: 7, address, reusePort: false },
    { type: 'app-exited', id: 1, pid: 7, code: 0, signal: null, exitedAfterDisconnect: false, state: 'dead', expected: true, pids: [ 7 ] },
    { type: 'agent-exited', id: 1, pid: 6, code: null, signal: 'SIGKILL', restartInMs: 1000 },
    { type: 'message', message: { action: 'custom', data: [ 1 ] } });
  assert.deepStrictEqual(got, [
    [ 'agent-start', undefined ],
    [ 'realport', { port: 1, protocol: 'http' } ],
    [ 'app-start', { workerId: 7, address } ],
    [ 'app-exit', { workerId: 7, code: 0, signal: null } ],
    [ 'agent-exit', { code: null, signal: 'SIGKILL' } ],
    [ 'custom', [ 1 ] ],
  ]);
});

test('an error message without listeners throws nothing', async t => {
  const { master, native, out } = await create(t);
  native.emit({ type: 'message', message: { action: 'error', data: 'x' } });
  assert.match(out(), /WARN \d+ \[master\] message with action "error" is ignored/);
  const got = new Promise(resolve => master.once('error', resolve));
  native.emit({ type: 'message', message: { action: 'error', data: 'y' } });
  assert.strictEqual(await got, 'y');
});

test('what a listener throws is an uncaughtException; cfork\'s handler logs it where no other exists', async t => {
  const { master, native, err } = await create(t);
  // The test runner has a handler of its own.
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  t.after(() => others.forEach(listener => process.on('uncaughtException', listener)));
  native.emit({ type: 'apps-forking' });
  await tick();
  assert.strictEqual(process.listenerCount('uncaughtException'), 1);
  const logged = t.mock.method(console, 'error', () => {});
  const failure = new Error('boom');
  master.on('boom', () => {
    throw failure;
  });
  const next = [];
  master.on('next', data => next.push(data));
  native.emit({ type: 'message', message: { action: 'boom' } }, { type: 'message', message: { action: 'next', data: 1 } });
  assert.deepStrictEqual(next, [ 1 ]);
  await tick();
  const calls = logged.mock.calls.map(call => call.arguments);
  assert.strictEqual(calls.length, 3);
  assert.strictEqual(calls[0][0], '[%s] [cfork:master:%s] master uncaughtException: %s');
  assert.strictEqual(calls[0][3], failure.stack);
  assert.strictEqual(calls[1][0], failure);
  assert.strictEqual(err(), '');
});

test('an application\'s own uncaughtException handler stays the only one', async t => {
  const { native } = await create(t);
  const handler = () => {};
  process.on('uncaughtException', handler);
  const before = process.listenerCount('uncaughtException');
  native.emit({ type: 'apps-forking' });
  await tick();
  assert.strictEqual(process.listenerCount('uncaughtException'), before);
});

test('reload-worker from user code reloads; announced by the native side it does not a second time', async t => {
  const { master, native } = await create(t);
  master.emit('reload-worker');
  assert.deepStrictEqual(native.calls, [ [ 'start' ] ], 'not before it is ready');
  native.emit({ type: 'ready', address: 'http://127.0.0.1:7001', elapsedMs: 1 });
  native.emit({ type: 'message', message: { action: 'reload-worker', from: 'agent' } });
  assert.deepStrictEqual(native.calls, [ [ 'start' ] ]);
  master.emit('reload-worker');
  assert.deepStrictEqual(native.calls, [ [ 'start' ], [ 'reload', false ] ]);
  master.once('custom', () => master.emit('reload-worker'));
  native.emit({ type: 'message', message: { action: 'custom' } });
  assert.strictEqual(native.calls.length, 3);
  master.reload();
  assert.strictEqual(native.calls.length, 4);
  for (const options of [ null, 'agent', { agent: 'yes' } ]) master.onReload(options);
  assert.ok(native.calls.slice(1).every(([ , agent ]) => agent === false));
  master.reload({ agent: true });
  assert.deepStrictEqual(native.calls[7], [ 'reload', true ]);
  master.emit('reload-worker', { agent: true });
  assert.deepStrictEqual(native.calls[8], [ 'reload', true ]);
});

test('a reload is a promise, which nobody has to look at', async t => {
  const { master, native } = await create(t);
  await assert.rejects(master.reload(), { message: 'reload failed: the master has not started yet' });
  native.emit({ type: 'ready', address: 'http://127.0.0.1:7001', elapsedMs: 1 });
  const first = master.reload();
  native.emit({ type: 'reload-started', workers: 1 });
  const [ second, third ] = [ master.reload(), master.reload() ];
  native.emit({ type: 'reload-done', elapsedMs: 1 });
  await first;
  native.emit({ type: 'reload-started', workers: 1 });
  const failures = [];
  master.on('reload-failed', data => failures.push(data));
  native.emit({ type: 'reload-failed', reason: 'it fell over' });
  for (const reload of [ second, third ]) await assert.rejects(reload, { message: 'reload failed: it fell over' });
  assert.deepStrictEqual(failures, [ { reason: 'it fell over' } ]);
  const last = master.reload();
  native.emit({ type: 'closing-apps', timeoutMs: 1 });
  await assert.rejects(last, { message: 'reload failed: the master is closing' });
  await assert.rejects(master.reload(), { message: 'reload failed: the master is closing' });
});

test('the restart of one slot by an operator is no reload of those who asked for one', async t => {
  const { master, native } = await create(t);
  native.emit({ type: 'ready', address: 'http://127.0.0.1:7001', elapsedMs: 1 });
  const events = [];
  for (const name of [ 'reload-done', 'reload-failed' ]) master.on(name, () => events.push(name));
  const reload = master.reload();
  native.emit({ type: 'reload-started', workers: 1, number: 1, slot: 0 });
  native.emit({ type: 'reload-failed', reason: 'it fell over', number: 1, slot: 0 });
  assert.deepStrictEqual(events, []);
  native.emit({ type: 'reload-started', workers: 2, number: 2, slot: null });
  native.emit({ type: 'reload-done', elapsedMs: 1, number: 2, slot: null });
  await reload;
  assert.deepStrictEqual(events, [ 'reload-done' ]);
});

test('messages: senders, receivers, and those sent before the native side exists', async t => {
  const box = sandbox(t);
  const master = new Master({ baseDir: app(t) });
  const first = { action: 'early', to: 'app' };
  master.messenger.send(first);
  assert.deepStrictEqual(first, { action: 'early', to: 'app' });
  await tick();
  const native = FakeNativeMaster.last;
  const sent = message => {
    master.messenger.send(message);
    return native.calls.pop();
  };
  assert.deepStrictEqual(native.calls, [ [ 'start' ], [ 'send', { action: 'early', to: 'app', from: 'master' }, false ] ]);
  assert.deepStrictEqual(sent({ action: 'a', from: 'agent' }), [ 'send', { action: 'a', from: 'agent' }, false ]);
  assert.deepStrictEqual(sent({ action: 'a', from: 'app' }), [ 'send', { action: 'a', from: 'app' }, false ]);
  assert.deepStrictEqual(sent({ action: 'a', from: 'parent' }), [ 'send', { action: 'a', from: 'parent' }, true ]);
  assert.deepStrictEqual(sent({ action: 'a', to: 'agent', receiverPid: '5', extra: 1 }),
    [ 'send', { action: 'a', to: 'agent', receiverPid: '5', extra: 1, from: 'master' }, false ]);
  native.calls = [];
  for (const wrong of [ null, undefined, 'text', 1, [], { data: 1n } ]) master.messenger.send(wrong);
  assert.deepStrictEqual(native.calls, []);
  assert.strictEqual(box.out().match(/WARN \d+ \[master\] message .* ignored/g).length, 6);
});

test('the views read the native side at each look', async t => {
  const { master, native } = await create(t);
  assert.deepStrictEqual(master.workerManager.count(), { agent: 0, worker: 0 });
  assert.strictEqual(master.agentWorker.instance, null);
  native.state = {
    phase: 'running',
    agent: { id: 2, pid: 60, slot: null, state: 'online', ready: true, responsive: true },
    workers: [
      { id: 1, pid: 71, slot: 0, state: 'listening', ready: true, responsive: true },
      { id: 3, pid: 73, slot: 1, state: 'none', ready: false, responsive: true },
    ],
  };
  const { workerManager, agentWorker, appWorker } = master;
  assert.deepStrictEqual(workerManager.getWorkers(), [ 71, 73 ]);
  assert.deepStrictEqual(workerManager.listWorkerIds(), [ 71, 73 ]);
  assert.deepStrictEqual(workerManager.getListeningWorkerIds(), [ 71 ]);
  assert.deepStrictEqual(workerManager.count(), { agent: 1, worker: 2 });
  assert.deepStrictEqual(workerManager.getWorker(73), { id: 3, pid: 73, workerId: 73, slot: 1, state: 'none', ready: false, responsive: true, status: 'starting' });
  assert.strictEqual(workerManager.getWorker(99), undefined);
  assert.deepStrictEqual([ agentWorker.instance.id, agentWorker.instance.workerId, agentWorker.instance.status ], [ 2, 60, 'started' ]);
  assert.strictEqual(workerManager.getAgent().pid, 60);
  assert.deepStrictEqual([ appWorker.startSuccessCount, appWorker.isAllWorkerStarted ], [ 1, false ]);
  native.emit(READY);
  assert.strictEqual(appWorker.isAllWorkerStarted, true);
});

test('lib/master is the class itself, and the package has named exports for import', async () => {
  assert.strictEqual(require('../..').Master, Master);
  const { startCluster: imported, Master: ImportedMaster } = await import('../../index.js');
  assert.strictEqual(imported, startCluster);
  assert.strictEqual(ImportedMaster, Master);
});
