'use strict';

const assert = require('assert');
const { test, ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { startLoad } = require('./helper/load');
const { isAlive, poll } = require('./helper/processes');

const production = { env: 'prod' };

// name -> [ how the worker `pid` comes to die, what the master says of it ]
const deaths = {
  'is killed by SIGKILL': [ (app, pid) => process.kill(pid, 'SIGKILL'), 'signal: SIGKILL, suicide: false' ],
  'is killed by SIGTERM': [ (app, pid) => process.kill(pid, 'SIGTERM'), 'signal: null, suicide: false' ],
  'calls process.exit()': [ (app, pid) => app.tell('app', 'exit', { code: 3 }, pid), 'signal: null, suicide: false' ],
  'throws an uncaught exception': [ (app, pid) => app.tell('app', 'throwLater', {}, pid), 'signal: null, suicide: false' ],
  'calls process.disconnect()': [ (app, pid) => app.tell('app', 'disconnect', {}, pid), 'signal: null, suicide: false' ],
  'calls cluster.worker.kill()': [ (app, pid) => app.tell('app', 'workerKill', {}, pid), 'signal: null, suicide: true' ],
};

for (const [ name, [ kill, how ] ] of Object.entries(deaths)) {
  test(`in production a worker that ${name} is replaced while the others serve`, async t => {
    const app = await t.ready({ options: { ...production, workers: 2 } });
    const [ first, second ] = await app.workerPids();
    const load = startLoad(app.port, { timeout: 2000 });
    t.after(() => load.stop());
    const before = app.mark();
    kill(app, first);
    const [ , forked ] = await app.stderr(/\[cfork:master:\d+\] new worker:(\d+) fork/, before);
    await app.message('app-worker-died', before);
    await app.stdout(new RegExp(`app_worker#3:${forked} started at ${app.port}, remain 0 \\(`), before);
    const { served } = await load.stop();
    assert.ok(served[second] > 0);
    await app.stderr(new RegExp(
      `nodejs\\.AppWorkerDiedError: \\[master\\] app_worker#1:${first} died \\(code: [^,]+, ${how}, state: dead\\), current workers: \\[[\\d,]+\\]\n`));
    assert.ok(await poll(() => !isAlive(first), 5000));
    const serving = new Set();
    for (let i = 0; i < 30; i++) serving.add((await get(app.port)).json.pid);
    assert.deepStrictEqual([ ...serving ].sort(), [ second, Number(forked) ].sort());
  });
}

test('the disconnect of a worker is logged, with the numbers of all', async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const [ pid ] = await app.workerPids();
  const before = app.mark();
  app.tell('app', 'disconnect', {}, pid);
  await app.stdout(new RegExp(
    `INFO ${app.pid} \\[master\\] app_worker#1:${pid} disconnect, suicide: false, state: disconnected, current workers: \\["1","2"(,"3")?\\]\n`), before);
});

test('the replacement starts when the worker disconnects, before it has ended', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const [ pid ] = await app.workerPids();
  await app.ask('app', 'exitLater', { ms: 2500 }, pid);
  const before = app.mark();
  // As the package `graceful` does it.
  app.tell('app', 'send', { message: 'graceful:disconnect' }, pid);
  app.tell('app', 'workerDisconnect', {}, pid);
  await app.stdout(new RegExp(`app_worker#1:${pid} disconnect, suicide: true, state: disconnected`), before);
  await app.stdout(/app_worker#2:\d+ started at/, before);
  assert.ok(isAlive(pid), 'the old worker ended too early for this test');
  assert.doesNotMatch(app.err, /app_worker#1:\d+ died/);
  assert.notStrictEqual((await get(app.port)).json.pid, pid);
  await app.stderr(new RegExp(`app_worker#1:${pid} died \\(code: [^,]+, signal: null, suicide: true, state: dead\\)`), before);
  assert.doesNotMatch(app.out, /app_worker#3:/);
});

test('numbers are never used twice, slots are', async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const env = [ 'CFORK_WORKER_INDEX', 'CFORK_WORKER_COUNT' ];
  let [ , victim ] = await app.workerPids();
  for (const id of [ 3, 4, 5 ]) {
    const before = app.mark();
    process.kill(victim, 'SIGKILL');
    const [ , pid ] = await app.stdout(new RegExp(`app_worker#${id}:(\\d+) started at`), before);
    victim = Number(pid);
    const info = await app.ask('app', 'info', { env }, victim);
    assert.deepStrictEqual({ id: info.id, env: info.env }, { id, env: { CFORK_WORKER_INDEX: '1', CFORK_WORKER_COUNT: '2' } });
  }
});

test('egg-ready goes again to all apps, egg-pids to the agent, when a replacement serves', async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const [ first, second ] = await app.workerPids();
  // That of the start, which the agent may report later than the apps.
  const isReadyOfAgent = ({ role, message }) => role === 'agent' && message.action === 'egg-ready';
  await app.got(isReadyOfAgent);
  const before = app.mark();
  process.kill(first, 'SIGKILL');
  const [ , forked ] = await app.stdout(/app_worker#3:(\d+) started at/, before);
  const third = Number(forked);
  for (const pid of [ second, third ]) {
    await app.got(({ pid: by, message }) => by === pid && message.action === 'egg-ready', before);
  }
  const isPids = ids => ({ role, message }) => role === 'agent' && message.action === 'egg-pids' && sameSet(message.data, ids);
  await app.got(isPids([ second ]), before);
  await app.got(isPids([ second, third ]), before);
  assert.deepStrictEqual(app.allGot(isReadyOfAgent, before), []);
  assert.strictEqual(app.found('egg-ready').length, 1, 'the parent is told once');
});

test('all workers at once are replaced', async t => {
  const app = await t.ready({ options: { ...production, workers: 3 } });
  const before = app.mark();
  for (const pid of await app.workerPids()) process.kill(pid, 'SIGKILL');
  for (const id of [ 4, 5, 6 ]) await app.stdout(new RegExp(`app_worker#${id}:\\d+ started at`), before);
  assert.strictEqual((await get(app.port)).status, 200);
});

for (const env of [ 'local', 'unittest' ]) {
  test(`in ${env} a dead worker is not replaced and the others serve`, async t => {
    const app = await t.ready({ options: { env, workers: 2 }, env: { EGG_MASTER_LOGGER_LEVEL: 'DEBUG' } });
    const [ first, second ] = await app.workerPids();
    const before = app.mark();
    process.kill(first, 'SIGKILL');
    await app.stderr(/\[cfork:master:\d+\] don't fork new work/, before);
    await app.message('app-worker-died', before);
    for (let i = 0; i < 10; i++) assert.strictEqual((await get(app.port)).json.pid, second);
    assert.doesNotMatch(app.out, /app_worker#3:/);
    assert.doesNotMatch(app.err, /new worker:\d+ fork/);
  });
}

ownOnly(
  'connections hang until they time out',
  'no request hangs when a worker is killed under load, and only those it had read fail',
  async t => {
    const app = await t.ready({ options: { ...production, workers: 2 } });
    const load = startLoad(app.port, { concurrency: 16, path: '/slow?ms=5', timeout: 8000 });
    t.after(() => load.stop());
    for (const id of [ 3, 4, 5 ]) {
      const [ victim ] = await app.workerPids();
      const before = app.mark();
      process.kill(victim, 'SIGKILL');
      await app.stdout(new RegExp(`app_worker#${id}:\\d+ started at`), before);
    }
    const { ok, errors } = await load.stop();
    assert.ok(ok > 100, `${ok} answers`);
    assert.deepStrictEqual(errors.filter(code => code !== 'ECONNRESET'), []);
    assert.ok(errors.length <= 3 * 16, `${errors.length} failed`);
  });

ownOnly(
  'connections handed to a worker that does not read them are lost with it',
  'connections that a stuck worker has not taken are served by another after its death',
  async t => {
    const app = await t.ready({ options: { ...production, workers: 2 } });
    const [ stuck, other ] = await app.workerPids();
    app.tell('app', 'busy', { ms: 60000 }, stuck);
    // Its channel is in order: what is asked of the other one comes after the order to be busy is out.
    await app.ask('app', 'info', {}, other);
    const requests = Array.from({ length: 20 }, () => get(app.port, '/', { timeout: 15000 }));
    const first = await Promise.race(requests);
    assert.strictEqual(first.json.pid, other);
    process.kill(stuck, 'SIGKILL');
    for (const { json } of await Promise.all(requests)) assert.notStrictEqual(json.pid, stuck);
  });

function sameSet(a, b) {
  return JSON.stringify([ ...a ].sort()) === JSON.stringify([ ...b ].sort());
}

/** Kills the only worker until its slot waits for half a second before it is forked anew. */
async function killUntilDelayed(app) {
  for (const id of [ 1, 2, 3, 4 ]) {
    const before = app.mark();
    process.kill((await app.workerPids())[0], 'SIGKILL');
    if (id < 4) await app.stdout(new RegExp(`app_worker#${id + 1}:\\d+ started at`), before);
    else await app.stderr(/don't fork new work at once, worker:\d+ will be replaced in \d+ms/, before);
  }
}

ownOnly('the port is closed with its last worker', 'connections that come while no worker is there wait for the next one', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  await killUntilDelayed(app);
  const answers = await Promise.all([ get(app.port), get(app.port), get(app.port) ]);
  const [ pid ] = await app.workerPids();
  assert.deepStrictEqual(answers.map(answer => answer.json.pid), [ pid, pid, pid ]);
});

ownOnly('there is no option hold', 'connections wait as long as the option hold says, and are counted', async t => {
  const app = await t.ready({ options: { ...production, workers: 1, hold: { timeout: 1 } } });
  await killUntilDelayed(app);
  const before = app.mark();
  await assert.rejects(get(app.port), { code: 'ECONNRESET' });
  await app.stdout(/WARN \d+ \[master\] 1 connection was closed, no worker has taken it within 1ms\n/, before);
  await app.stdout(/app_worker#5:\d+ started at/, before);
  assert.strictEqual((await get(app.port)).status, 200);
});
