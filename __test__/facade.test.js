'use strict';

const assert = require('assert');
const path = require('path');
const { test, ownOnly } = require('./helper/test');
const { get } = require('./helper/http');

async function start(t, config = {}) {
  return t.ready({ script: 'facade.js', ...config });
}

function events(app, name, since) {
  return app.found(m => m.action === 'test:report' && m.data.type === 'event' && m.data.name === name, since).map(m => m.data.args);
}

async function look(app) {
  const since = app.mark();
  app.send({ action: 'facade:look' });
  return (await app.report('look', since)).seen;
}

test('a Master emits agent-start, realport and app-start on the way to ready', async t => {
  const app = await start(t, { options: { workers: 2 } });
  const pids = await app.workerPids();
  const names = app.found('test:report').map(m => m.data.name || m.data.type);
  assert.strictEqual(names[0], 'agent-start');
  assert.strictEqual(names.filter(name => name === 'app-start').length, 2);
  assert.strictEqual(names[names.length - 1], 'ready');
  assert.deepStrictEqual(events(app, 'realport'), Array(2).fill([ { port: app.port, protocol: 'http' } ]));
  const started = events(app, 'app-start').map(([ data ]) => data);
  assert.deepStrictEqual(started.map(data => data.workerId).sort(), pids.sort());
  for (const { address } of started) {
    assert.strictEqual(address.port, app.port);
    assert.strictEqual(address.addressType, 4);
  }
});

test('app-exit and agent-exit tell who ended, and how', async t => {
  const app = await start(t, { options: { workers: 2 } });
  const [ first, second ] = await app.workerPids();
  app.tell('app', 'exit', { code: 3 }, first);
  await app.until('app-exit', () => events(app, 'app-exit').length === 1);
  process.kill(second, 'SIGKILL');
  await app.until('app-exit', () => events(app, 'app-exit').length === 2);
  assert.deepStrictEqual(events(app, 'app-exit'), [
    [ { workerId: first, code: 3, signal: null } ],
    [ { workerId: second, code: null, signal: 'SIGKILL' } ],
  ]);
  process.kill(await app.agentPid(), 'SIGKILL');
  await app.until('agent-exit', () => events(app, 'agent-exit').length === 1);
  assert.deepStrictEqual(events(app, 'agent-exit'), [ [ { code: null, signal: 'SIGKILL' } ] ]);
  await app.until('the next agent', () => events(app, 'agent-start').length === 2);
});

test('ready calls back when all serve, also when asked late', async t => {
  const app = await start(t);
  assert.strictEqual((await app.report('ready')).argument, false);
  const since = app.mark();
  app.send({ action: 'facade:ready-again' });
  await app.report('ready-again', since);
});

test('messenger.send speaks as the master', async t => {
  const app = await start(t, { options: { workers: 2 } });
  for (const to of [ 'app', 'agent', 'parent' ]) {
    app.send({ action: 'facade:send', data: { action: 'spoken', to, data: { for: to } } });
  }
  const expected = to => ({ action: 'spoken', to, data: { for: to }, from: 'master' });
  assert.deepStrictEqual(await app.message('spoken'), expected('parent'));
  await app.until('three receivers', () => app.allGot(({ message }) => message.action === 'spoken').length === 3);
  for (const { role, message } of app.allGot(({ message: m }) => m.action === 'spoken')) {
    assert.deepStrictEqual(message, expected(role));
  }
});

test('workerManager knows the agent and the workers', async t => {
  const app = await start(t, { options: { workers: 2 } });
  const pids = await app.workerPids();
  const agent = await app.agentPid();
  const seen = await look(app);
  assert.deepStrictEqual(seen.getWorkers.sort(), pids.sort());
  assert.deepStrictEqual(seen.listWorkerIds.sort(), pids.sort());
  assert.deepStrictEqual(seen.getListeningWorkerIds.sort(), pids.sort());
  assert.deepStrictEqual(seen.count, { agent: 1, worker: 2 });
  assert.deepStrictEqual(seen.agent, { id: 1, workerId: agent, status: 'started' });
  assert.deepStrictEqual(seen.workers.sort((a, b) => a.id - b.id), [
    { id: 1, workerId: seen.workers[0].workerId, state: 'listening' },
    { id: 2, workerId: seen.workers[1].workerId, state: 'listening' },
  ]);
});

ownOnly('counts nothing of the kind', 'workerManager counts how often messages have had to wait', async t => {
  const app = await start(t, { options: { workers: 1 } });
  assert.deepStrictEqual((await look(app)).waits, { fullOutboxes: 0, pausedSenders: 0 });
});

test('workerManager forgets those that are dead', async t => {
  const app = await start(t, { options: { workers: 2 } });
  const [ first, second ] = await app.workerPids();
  const before = app.mark();
  process.kill(first, 'SIGKILL');
  await app.message('app-worker-died', before);
  const seen = await look(app);
  assert.deepStrictEqual(seen.getWorkers, [ second ]);
  assert.deepStrictEqual(seen.count, { agent: 1, worker: 1 });
  assert.strictEqual(seen.unknown, true);
});

test('options, isProduction, isStarted and closed can be read', async t => {
  const app = await start(t, { options: { workers: '2', env: 'prod' } });
  const { options, isProduction, isStarted, closed } = await look(app);
  assert.deepStrictEqual({ isProduction, isStarted, closed }, { isProduction: true, isStarted: true, closed: false });
  assert.strictEqual(options.workers, 2);
  assert.strictEqual(options.baseDir, app.options.baseDir);
  assert.ok(options.clusterPort > 0);
});

test('close() ends the process with 0, in order', async t => {
  const app = await start(t, { options: { workers: 2 } });
  app.send({ action: 'facade:close' });
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  await app.stdout(/\[master\] close done, exiting with code:0\n/);
  assert.ok(app.out.lastIndexOf('[mini] app') < app.out.search(/\[mini\] agent \d+ closing/));
});

test('process.exit() in the master takes the children along', async t => {
  const app = await start(t, { options: { workers: 2 } });
  app.send({ action: 'facade:exit', data: 7 });
  assert.deepStrictEqual(await app.end(), { code: 7, signal: null });
  await app.noLeftovers();
});

test('an uncaught error in the master leaves no child behind', async t => {
  const app = await start(t, { options: { workers: 2, env: 'prod' } });
  app.send({ action: 'facade:throw' });
  await app.stderr(/thrown in the master/);
  if (!app.ended) await app.close();
  await app.noLeftovers();
});

test('a subclass is a Master too', async t => {
  const app = await t.ready({ script: 'subclass.js' });
  const { data } = await app.message(m => m.action === 'test:report' && m.data.type === 'subclass');
  assert.deepStrictEqual(data, { type: 'subclass', seen: [ 'onAgentStart', 'onAppStart' ] });
  assert.strictEqual((await get(app.port)).status, 200);
});

ownOnly(
  'has these methods on its parts; 1.x had them on the Master',
  'a subclass chooses the scripts of the workers',
  async t => {
    const app = await t.ready({ script: 'subclass-files.js' });
    for (const to of [ 'app', 'agent' ]) {
      const { argv, env } = await app.ask(to, 'info', { env: [ 'OWN_SCRIPT' ] });
      assert.ok(argv[1].endsWith(path.join('egg-cluster', 'lib', `own_${to}_worker.js`)), argv[1]);
      assert.deepStrictEqual(env, { OWN_SCRIPT: to });
    }
  });

ownOnly(
  'returns nothing',
  'startCluster returns a promise of ready, and calls back too',
  async t => {
    const app = await t.ready({ script: 'promise.js' });
    const { order } = await app.report('promise');
    assert.deepStrictEqual(order, [ 'callback', 'promise' ]);
  });

ownOnly(
  'exports startCluster alone',
  'the package exports Master',
  async t => {
    const app = await t.start({ script: 'exports.js' });
    assert.strictEqual((await app.report('exports')).same, true);
    assert.strictEqual((await app.end()).code, 0);
  });

ownOnly(
  'has no such method',
  'reload() replaces the workers and resolves when all are there',
  async t => {
    const app = await start(t, { options: { workers: 2, env: 'prod' } });
    const old = await app.workerPids();
    app.send({ action: 'facade:reload' });
    await app.report('reloaded');
    const pids = await app.workerPids();
    assert.ok(pids.every(pid => !old.includes(pid)));
  });

ownOnly(
  'is ended by it',
  'SIGUSR2 reloads',
  async t => {
    const app = await start(t, { options: { workers: 2, env: 'prod' } });
    const old = await app.workerPids();
    process.kill(app.pid, 'SIGUSR2');
    await app.stdout(/\[master\] reload done \(\d+ms\)/);
    assert.ok((await app.workerPids()).every(pid => !old.includes(pid)));
  });

ownOnly(
  'has no such method',
  'reload({ agent: true }) replaces the agent, then the workers',
  async t => {
    const app = await start(t, { options: { workers: 2, env: 'prod' } });
    const [ old, agent ] = [ await app.workerPids(), await app.agentPid() ];
    app.send({ action: 'facade:reload', data: { agent: true } });
    await app.report('reloaded');
    assert.notStrictEqual(await app.agentPid(), agent);
    assert.ok((await app.workerPids()).every(pid => !old.includes(pid)));
    assert.strictEqual(app.members().length, 1 + 1 + 2, 'master, agent and two workers');
    await app.stdout(/\[master\] reload agent_worker\.\.\./);
    assert.doesNotMatch(app.err, /WorkerDiedError/);
    assert.deepStrictEqual(app.found('agent-worker-died'), []);
  });
