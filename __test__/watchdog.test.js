'use strict';

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { test } = require('./helper/test');
const { get } = require('./helper/http');
const { startLoad } = require('./helper/load');
const { freePort, freePortRun } = require('./helper/ports');
const { isAlive, poll } = require('./helper/processes');

const FOR_EVER = { ms: 600000 };
const production = { env: 'prod' };

test('a worker in an endless loop is detected and replaced, and the others serve everything meanwhile', async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { timeout: 4000, interval: 200 } } });
  const [ stuck, other ] = await app.workerPids();
  const before = app.mark();
  app.tell('app', 'busy', FOR_EVER, stuck);
  await app.stdout(new RegExp(`app_worker#1:${stuck} has not answered for \\d+ms, new connections go to others\n`), before);

  const load = startLoad(app.port, { timeout: 3000 });
  t.after(() => load.stop());
  await app.stderr(new RegExp(`\\[master\\] app_worker#1:${stuck} has not answered for \\d+ms and will be killed\n`), before);
  const { served, ok, errors } = await load.stop();
  assert.deepStrictEqual(errors, []);
  assert.deepStrictEqual(Object.keys(served), [ String(other) ]);
  assert.ok(ok > 50, `${ok} answers`);

  await app.stderr(new RegExp(`app_worker#1:${stuck} died \\(code: null, signal: SIGKILL`), before);
  const [ , replacement ] = await app.stdout(/app_worker#3:(\d+) started at/, before);
  assert.ok(await poll(() => !isAlive(stuck), 5000));
  const serving = new Set();
  for (let i = 0; i < 10; i++) serving.add((await get(app.port)).json.pid);
  assert.deepStrictEqual([ ...serving ].sort(), [ other, Number(replacement) ].sort());
});

test('connections that were on their way to a hung worker are served by others when it is killed', async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { timeout: 2000, interval: 60000 } } });
  const [ stuck, other ] = await app.workerPids();
  app.tell('app', 'busy', FOR_EVER, stuck);
  await app.ask('app', 'info', {}, other);
  const answers = await Promise.all(Array.from({ length: 20 }, () => get(app.port, '/', { timeout: 15000 })));
  assert.ok(answers.every(({ json }) => json.pid !== stuck));
  await app.stderr(new RegExp(`app_worker#1:${stuck} has not answered for \\d+ms and will be killed\n`));
});

test('a worker that blocks for two seconds again and again is left alone by default, and has its share in between', async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { interval: 200 } } });
  const [ busy, other ] = await app.workerPids();
  const before = app.mark();
  const load = startLoad(app.port, { timeout: 8000 });
  t.after(() => load.stop());
  for (let i = 0; i < 3; i++) {
    const round = app.mark();
    app.tell('app', 'busy', { ms: 2000 }, busy);
    await app.stdout(new RegExp(`app_worker#1:${busy} has not answered`), round);
    await app.stdout(new RegExp(`app_worker#1:${busy} answers again after \\d+ms\n`), round);
    assert.strictEqual((await app.ask('app', 'info', {}, busy)).pid, busy);
    const { served } = load.result;
    const had = served[busy] || 0;
    assert.ok(await poll(() => (served[busy] || 0) > had, 5000), 'it gets no connections any more');
  }
  const { errors, served } = await load.stop();
  assert.deepStrictEqual(errors, []);
  assert.ok(served[other] > served[busy]);
  assert.deepStrictEqual(await app.workerPids(), [ busy, other ]);
  assert.doesNotMatch(app.err.slice(before.err), /will be killed/);
});

test('a hung agent is replaced', async t => {
  const app = await t.ready({ options: { ...production, watchdog: { timeout: 1500, interval: 200 } } });
  const agent = await app.agentPid();
  const before = app.mark();
  app.tell('agent', 'busy', FOR_EVER);
  await app.stderr(new RegExp(`\\[master\\] agent_worker#1:${agent} has not answered for \\d+ms and will be killed\n`), before);
  await app.stdout(/agent_worker#2:\d+ started \(/, before);
  assert.strictEqual((await app.ask('agent', 'info')).role, 'agent');
});

for (const [ what, options ] of Object.entries({
  'with action report': { ...production, watchdog: { timeout: 1000, interval: 200, action: 'report' } },
  'outside production': { env: 'local', watchdog: { timeout: 1000, interval: 200 } },
})) {
  test(`${what} a hung worker is reported and lives`, async t => {
    const app = await t.ready({ options: { ...options, workers: 2 } });
    const [ stuck ] = await app.workerPids();
    const before = app.mark();
    app.tell('app', 'busy', { ms: 4000 }, stuck);
    await app.stderr(new RegExp(`\\[master\\] app_worker#1:${stuck} has not answered for \\d+ms\n`), before);
    await app.stdout(new RegExp(`app_worker#1:${stuck} answers again after`), before);
    assert.strictEqual((await app.ask('app', 'info', {}, stuck)).pid, stuck);
  });
}

test('switched off, nobody is asked and nobody is killed', async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: false } });
  const [ busy ] = await app.workerPids();
  const before = app.mark();
  app.tell('app', 'busy', { ms: 4000 }, busy);
  assert.strictEqual((await app.ask('app', 'info', {}, busy)).pid, busy);
  assert.doesNotMatch(app.out.slice(before.out), /has not answered/);
});

test('a master that was stopped does not blame its workers', async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { timeout: 2000, interval: 200 } } });
  const pids = await app.workerPids();
  const before = app.mark();
  process.kill(app.pid, 'SIGSTOP');
  // The time passes that is tested: there is no event to wait for in a process that stands still.
  await new Promise(resolve => setTimeout(resolve, 5000));
  process.kill(app.pid, 'SIGCONT');
  assert.deepStrictEqual(await app.workerPids(), pids);
  assert.doesNotMatch(app.err.slice(before.err), /has not answered/);
});

test('a worker that does not become ready is killed where booting has a limit', async t => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-boot-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const flag = path.join(dir, 'never-ready');
  const app = await t.ready({
    options: { ...production, watchdog: { bootTimeout: 1500 }, restart: { maxDelay: 200 } },
    mini: { app: { onlyIfFile: flag, neverReady: true } },
  });
  fs.writeFileSync(flag, '');
  const [ pid ] = await app.workerPids();
  const before = app.mark();
  process.kill(pid, 'SIGKILL');
  await app.stderr(/app_worker#2:\d+ is not ready after \d+ms and will be killed\n/, before);
  fs.rmSync(flag);
  await app.stdout(/app_worker#3:\d+ started at/, before);
});

test('under the inspector nobody is watched', async t => {
  const app = await t.ready({
    options: { ...production, watchdog: { timeout: 1000, interval: 100 } },
    execArgv: [ `--inspect-port=${await freePortRun(2)}` ],
    env: { EGG_AGENT_DEBUG_PORT: String(await freePort()) },
  });
  const [ pid ] = await app.workerPids();
  const before = app.mark();
  app.tell('app', 'busy', { ms: 3000 }, pid);
  assert.strictEqual((await app.ask('app', 'info', {}, pid)).pid, pid);
  assert.doesNotMatch(app.out.slice(before.out), /has not answered/);
});
