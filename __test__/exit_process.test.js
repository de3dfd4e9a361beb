'use strict';

// A cluster as a guest in another program's process: `exitProcess: false`.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');

const REASON = 'process.exit ends the process of the program';

// What is read of /proc.
const skip = fs.existsSync('/proc/self/task') ? false : 'needs /proc';

async function run(t, program, { options, args = [], ...config } = {}) {
  return t.start({
    script: 'embedded.js', scriptArgs: [ program, ...args ],
    env: { EGG_APP_CLOSE_TIMEOUT: '3000', EGG_AGENT_CLOSE_TIMEOUT: '3000', ...config.env },
    options: { exitProcess: false, ...options }, ...config,
  });
}

async function assertEnd(app, end = { code: 0, signal: null }) {
  assert.deepStrictEqual(await app.end(60000), end);
  await app.noLeftovers();
  assert.strictEqual(await tryConnect({ port: app.port, host: '127.0.0.1' }), 'ECONNREFUSED');
}

function temporary(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-embedded-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

ownOnly(REASON, 'started and closed again and again, it leaves the process as it was', { skip }, async t => {
  const pidFile = path.join(temporary(t), 'master.pid');
  const app = await run(t, 'cycles', { options: { pidFile }, env: { NODE_ENV: 'production' } });
  const { seen: [ before, ...cycles ] } = await app.report('seen');
  assert.strictEqual(cycles.length, 4);
  for (const { fds, env, listeners, ppid, events, threadsGone, pidFile: left, left: workers } of cycles) {
    assert.strictEqual(ppid, app.pid);
    assert.deepStrictEqual(events, [ { code: 0, error: null } ]);
    assert.deepStrictEqual(listeners, before.listeners);
    assert.deepStrictEqual(env, before.env);
    assert.strictEqual(fds, cycles[0].fds);
    assert.deepStrictEqual([ threadsGone, left, workers ], [ true, false, [] ]);
  }
  await assertEnd(app);
  assert.deepStrictEqual(app.messages.filter(m => m.action !== 'test:report'), [], 'the parent is not Egg\'s');
});

ownOnly(REASON, 'threads end with their master, and the process goes on', async t => {
  const app = await run(t, 'threadCycles');
  const { seen } = await app.report('threadCycles');
  const cycle = { pid: app.pid, listeners: Array(7).fill(0), left: [] };
  assert.deepStrictEqual(seen, [ cycle, cycle, cycle ]);
  await assertEnd(app);
});

ownOnly(REASON, 'two masters live in one process, and one outlives the other', async t => {
  const app = await run(t, 'two', { args: [ await freePort() ] });
  const { pids, after, listeners } = await app.report('two');
  assert.notStrictEqual(pids[0], pids[1]);
  assert.strictEqual(after, pids[1]);
  assert.deepStrictEqual(listeners, Array(7).fill(0));
  await assertEnd(app);
});

ownOnly(REASON, 'two registries of modules have a copy each', async t => {
  const app = await run(t, 'registries', { args: [ await freePort() ] });
  assert.strictEqual((await app.report('registries')).distinct, true);
  await assertEnd(app);
});

ownOnly(REASON, 'a master in a worker thread beside one in the main thread; a thread that is ended leaves nothing', { skip }, async t => {
  const app = await run(t, 'threads', { args: [ await freePort() ] });
  const { pids, reaped } = await app.report('threads');
  assert.strictEqual(new Set(pids).size, 3);
  assert.strictEqual(reaped, true);
  await assertEnd(app);
});

ownOnly(REASON, 'a start that fails rejects, and the next one may succeed', { skip }, async t => {
  const app = await run(t, 'fails');
  const { code, exitCode, message, called, before, after, notReady } = await app.report('failed');
  assert.deepStrictEqual([ code, exitCode ], [ 'ERR_EGG_CLUSTER_RS_FAILED', 1 ]);
  assert.match(message, /^the cluster has not started: app_worker#1:\d+ died while it was starting \(code: 0, signal: null\), its output says why$/);
  assert.match(called, /^the cluster has not started: app_worker#1:/);
  assert.strictEqual(notReady, 'the cluster was closed before it was ready');
  assert.deepStrictEqual([ after.listeners, after.env ], [ before.listeners, before.env ]);
  await assertEnd(app);
});

ownOnly(REASON, 'a port that is taken is a failed start, and the worker says so', async t => {
  const app = await run(t, 'portTaken');
  const { message } = await app.report('portTaken');
  assert.match(message, /^the cluster has not started: app_worker#1:\d+ died while it was starting/);
  await app.stderr(/server got error: bind EADDRINUSE/);
  await assertEnd(app);
});

ownOnly(REASON, 'a start that fails before anything is forked rejects, too', async t => {
  const app = await run(t, 'badScript');
  const { message, code, listeners } = await app.report('badScript');
  assert.match(message, /^the cluster has not started: getAppWorkerFile\(\) must return the path of an existing file/);
  assert.strictEqual(code, 1);
  assert.deepStrictEqual(listeners, Array(7).fill(0));
  await assertEnd(app);
});

ownOnly(REASON, 'a cluster that gives up says so by `close`, and the process goes on', async t => {
  const broken = path.join(temporary(t), 'broken');
  const app = await run(t, 'fatal', {
    args: [ broken ], mini: { app: { onlyIfFile: broken, exitAtBoot: 1 } },
    options: { env: 'prod', restart: { stableTime: 0, maxDelay: 50, giveUp: 1000 } },
  });
  const { code, error, listeners } = await app.report('fatal');
  assert.strictEqual(code, 69);
  assert.deepStrictEqual([ error.code, error.exitCode ], [ 'ERR_EGG_CLUSTER_RS_FAILED', 69 ]);
  assert.match(error.message, /^the cluster has ended: no app worker has been ready for \d+ms and restarts do not help$/);
  assert.deepStrictEqual(listeners, Array(7).fill(0));
  await assertEnd(app);
});

ownOnly(REASON, 'SIGTERM closes the cluster, then ends a program that does not listen to it', async t => {
  const app = await run(t, 'serve');
  await app.report('serving');
  app.child.kill('SIGTERM');
  await assertEnd(app, { code: null, signal: 'SIGTERM' });
  await app.stdout(/\[master\] close done/);
});

for (const when of [ 'before', 'after' ]) {
  ownOnly(REASON, `SIGTERM closes the cluster of a program that has listened to it ${when} the start, and leaves the rest to it`, async t => {
    const app = await run(t, 'serve', { args: [ when ] });
    await app.report('serving');
    app.child.kill('SIGTERM');
    await app.report('foreign');
    await app.report('closed');
    await assertEnd(app);
  });
}

ownOnly(REASON, 'a second signal does not wait for the closing', async t => {
  const app = await run(t, 'serve', { mini: { app: { neverClose: true } }, env: { EGG_APP_CLOSE_TIMEOUT: '60000' } });
  await app.report('serving');
  app.child.kill('SIGINT');
  await app.stdout(/\[mini\] app \d+ closing/);
  app.child.kill('SIGTERM');
  assert.deepStrictEqual(await app.end(), { code: null, signal: 'SIGINT' });
});

ownOnly(REASON, 'a signal waits for the last of two masters', async t => {
  const app = await run(t, 'twoAtSignal', { args: [ await freePort() ] });
  await app.report('serving');
  app.child.kill('SIGTERM');
  await assertEnd(app, { code: null, signal: 'SIGTERM' });
  assert.strictEqual(app.out.match(/\[master\] close done/g).length, 2);
});

ownOnly(REASON, 'SIGUSR2 reloads', async t => {
  const app = await run(t, 'reload');
  assert.strictEqual((await app.report('reloaded')).changed, true);
  await assertEnd(app);
});
