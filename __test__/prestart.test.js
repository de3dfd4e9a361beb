'use strict';

// App workers that are started ahead of time: what they may do before, and what becomes of them.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { ask, status, until } = require('./helper/control');
const { isAlive, isGuardian, poll } = require('./helper/processes');

const REASON = 'has no option prestart';
const production = { env: 'prod' };

/**
 * A module for `options.require`. It says where it is loaded; the agent does not go on before the file `go` is there.
 */
function makeHook(t, { holdAgent = false } = {}) {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-hook-')));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true, maxRetries: 3 }));
  const hook = { file: path.join(dir, 'hook.js'), go: path.join(dir, 'go') };
  hook.write = version => fs.writeFileSync(hook.file, `'use strict';
    const fs = require('fs');
    const role = /agent_worker/.test(process.argv[1]) ? 'agent' : 'app';
    process.env.HOOK_VERSION = ${JSON.stringify(version)};
    fs.writeSync(1, '[hook] ' + role + ' ' + process.pid + ' loads ${version}\\n');
    const pause = new Int32Array(new SharedArrayBuffer(4));
    while (${holdAgent} && role === 'agent' && !fs.existsSync(${JSON.stringify(hook.go)})) Atomics.wait(pause, 0, 0, 20);
  `);
  hook.write('first');
  return hook;
}

/** The process id of the n-th app worker that has loaded the hook since then. */
async function loaded(app, n = 1, since = { out: 0 }) {
  const all = () => [ ...app.out.slice(since.out).matchAll(/\[hook\] app (\d+) loads/g) ].map(([ , pid ]) => Number(pid));
  await app.until(`${n} app workers that have loaded the hook`, () => all().length >= n);
  return all();
}

/** A master whose agent does not get ready, with two app workers that wait. */
async function startWaiting(t, config) {
  const hook = makeHook(t, { holdAgent: true });
  const app = await t.start({
    ...config, options: { ...production, workers: 2, prestart: true, require: [ hook.file ], ...(config && config.options) },
  });
  return { app, hook, pids: await loaded(app, 2) };
}

ownOnly(REASON, 'workers load the framework beside the agent, and become workers when it has started', async t => {
  const { app, hook, pids } = await startWaiting(t);
  assert.doesNotMatch(app.out, /app_worker#|start appWorker/);
  assert.deepStrictEqual(app.found('egg-ready'), []);
  fs.writeFileSync(hook.go, '');
  await app.ready();
  const infos = (await app.askAll(2, 'app', 'info', { env: [ 'CFORK_WORKER_INDEX', 'EGG_CLUSTER_RS_GATE', 'EGG_CLUSTER_RS_WORKER' ] }))
    .sort((a, b) => a.id - b.id);
  assert.deepStrictEqual(infos.map(info => info.id), [ 1, 2 ]);
  assert.deepStrictEqual(infos.map(info => info.env), [ { CFORK_WORKER_INDEX: '0' }, { CFORK_WORKER_INDEX: '1' } ]);
  assert.deepStrictEqual(infos.map(info => info.pid).sort(), pids.sort());
  assert.ok(infos.every(info => info.execArgv.length === 0 && info.ppid === app.pid));
  // Each has loaded it once, and nobody else has been started.
  assert.strictEqual((await loaded(app, 2)).length, 2);
  assert.match(app.out, /agent_worker#1:\d+ started[^]*start appWorker[^]*app_worker#1:\d+ start, state: none[^]*app_worker#2:/);
  assert.strictEqual(app.members().length, 1 + 1 + 2);
});

ownOnly(REASON, 'an agent that fails takes the waiting workers along, and nobody hears of them', async t => {
  const app = await t.start({
    options: { ...production, workers: 2, prestart: true }, mini: { agent: { failReady: 'no agent today', readyDelay: 500 } },
  });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  await app.noLeftovers(2000);
  assert.doesNotMatch(app.out + app.err, /app_worker#/);
});

ownOnly(REASON, 'a close while workers wait ends them in time', async t => {
  const { app } = await startWaiting(t, { env: { EGG_AGENT_CLOSE_TIMEOUT: '200' } });
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.doesNotMatch(app.out, /app_worker.*did not exit in time/);
  await app.noLeftovers();
});

ownOnly(REASON, 'a close ends also a waiting worker that listens to SIGTERM', async t => {
  const hook = makeHook(t, { holdAgent: true });
  fs.appendFileSync(hook.file, 'process.on(\'SIGTERM\', () => {});\n');
  const app = await t.start({
    options: { ...production, workers: 1, prestart: true, require: [ hook.file ] }, env: { EGG_AGENT_CLOSE_TIMEOUT: '200' },
  });
  const [ pid ] = await loaded(app);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.strictEqual(isAlive(pid), false);
  assert.doesNotMatch(app.out, /app_worker.*did not exit in time/);
});

ownOnly(REASON, 'waiting workers are gone when their master is killed', async t => {
  const { app, hook, pids } = await startWaiting(t);
  process.kill(app.pid, 'SIGKILL');
  assert.ok(await poll(() => !pids.some(isAlive), 10000), 'they leave by themselves');
  fs.writeFileSync(hook.go, '');
  await app.end();
  await app.noLeftovers();
});

ownOnly(REASON, 'a worker that dies while it waits is replaced, and the application starts', async t => {
  const { app, hook, pids } = await startWaiting(t);
  process.kill(pids[0], 'SIGKILL');
  assert.ok(await poll(() => !isAlive(pids[0]), 10000));
  fs.writeFileSync(hook.go, '');
  await app.ready();
  const now = await app.workerPids();
  assert.ok(now.includes(pids[1]) && !now.includes(pids[0]), `${now} of ${pids}`);
  assert.doesNotMatch(app.err, /AppWorkerDiedError/);
});

ownOnly(REASON, 'a framework that does not load in a waiting worker fails the start as ever', async t => {
  const app = await t.start({ options: { ...production, prestart: true }, env: { MINI_THROW_AT_LOAD: 'app' } });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  await app.stderr(/Error: thrown while app loads/);
  await app.stderr(/app_worker#1:\d+ start fail, exiting with code:1/);
});

ownOnly(REASON, 'under the inspector workers are not started ahead of time, and the log says so', async t => {
  const app = await t.ready({ options: { ...production, prestart: true }, execArgv: [ '--inspect=0' ], env: { EGG_AGENT_DEBUG_PORT: '0' } });
  await app.stdout(/options\.prestart has no effect: the workers run under the inspector/);
});

/** The spare of a master: a child that is neither the agent nor a worker. */
async function spareOf(app, others) {
  const find = () => app.members().filter(pid => pid !== app.pid && !others.includes(pid) && !isGuardian(pid));
  assert.ok(await poll(() => find().length === 1, 20000), 'one spare');
  return find()[0];
}

async function readyWithSpare(t, config) {
  const hook = makeHook(t);
  const app = await t.ready({ ...config, options: { workers: 1, prestart: { spares: 1 }, require: [ hook.file ], ...config.options } });
  const [ pid ] = await app.workerPids(1);
  const since = app.mark();
  const known = [ pid, await app.agentPid() ];
  const spare = await spareOf(app, known);
  // It has loaded what it can, unless it has done so before the mark.
  await app.until('the spare', () => app.out.includes(`[hook] app ${spare} loads`));
  return { app, hook, pid, spare, known, since };
}

ownOnly(REASON, 'a spare takes the place of a worker that dies, and another one follows', async t => {
  const { app, pid, spare, known } = await readyWithSpare(t, { options: production });
  const before = app.mark();
  process.kill(pid, 'SIGKILL');
  await app.stderr(new RegExp(`new worker:${spare} fork`), before);
  await app.stdout(new RegExp(`app_worker#2:${spare} started at ${app.port}`), before);
  assert.strictEqual((await get(app.port)).json.pid, spare);
  const { env } = await app.ask('app', 'info', { env: [ 'CFORK_WORKER_INDEX' ] }, spare);
  assert.deepStrictEqual(env, { CFORK_WORKER_INDEX: '0' });
  assert.notStrictEqual(await spareOf(app, [ ...known, spare ]), pid);
});

ownOnly(REASON, 'a slot that an operator adds gets the spare, which is told how many workers there are; nobody sees it as a worker before', async t => {
  const { app, pid, spare } = await readyWithSpare(t, { options: production });
  const { slots, others } = await status(app.socket);
  assert.deepStrictEqual([ slots.map(({ process }) => process.pid), others ], [[ pid ], []]);
  assert.strictEqual((await ask(app.socket, 'POST', '/scale', { workers: 2 })).status, 202);
  await until(app.socket, report => report.slots.every(({ process }) => process && process.state === 'ready'));
  const { env } = await app.ask('app', 'info', { env: [ 'CFORK_WORKER_INDEX', 'CFORK_WORKER_COUNT' ] }, spare);
  assert.deepStrictEqual(env, { CFORK_WORKER_INDEX: '1', CFORK_WORKER_COUNT: '2' });
});

ownOnly(REASON, 'a spare whose modules have changed since loads them anew', async t => {
  const { app, hook, pid, spare } = await readyWithSpare(t, { options: production });
  hook.write('second, which is longer');
  const before = app.mark();
  process.kill(pid, 'SIGKILL');
  await app.stdout(new RegExp(`app_worker#2:${spare} started at`), before);
  const { env } = await app.ask('app', 'info', { env: [ 'HOOK_VERSION' ] }, spare);
  assert.strictEqual(env.HOOK_VERSION, 'second, which is longer');
});

ownOnly(REASON, 'in production the workers of a reload are no spares', async t => {
  const { app, spare } = await readyWithSpare(t, { options: production });
  const before = app.mark();
  app.send({ action: 'reload-worker', to: 'master' });
  const [ , fresh ] = await app.stdout(/app_worker#3:(\d+) started at/, before);
  assert.notStrictEqual(Number(fresh), spare);
  assert.ok(await poll(() => !isAlive(spare), 10000), 'the spare is of the old version');
});

ownOnly(REASON, 'in local the spare is the worker of the next reload', async t => {
  const { app, spare, pid } = await readyWithSpare(t, { options: { env: 'local' } });
  const before = app.mark();
  app.send({ action: 'reload-worker', to: 'master' });
  await app.stdout(new RegExp(`app_worker#2:${spare} listening on`), before);
  assert.ok(await poll(() => !isAlive(pid), 10000), 'the old worker ends');
  assert.strictEqual((await get(app.port)).json.pid, spare);
});
