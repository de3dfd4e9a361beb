'use strict';

const assert = require('assert');
const { test } = require('./helper/test');
const { freePort, freePortRun } = require('./helper/ports');

async function startDebug(t, options) {
  const inspect = await freePortRun(4);
  const agentPort = await freePort();
  const app = await t.ready({
    options: { workers: 2, ...options },
    execArgv: [ `--inspect=127.0.0.1:${inspect}` ],
    env: { EGG_AGENT_DEBUG_PORT: String(agentPort) },
  });
  return { app, inspect, agentPort };
}

test('each child has an inspector port of its own and the parent is told of it', async t => {
  const { app, inspect, agentPort } = await startDebug(t);
  const pids = await app.workerPids();
  const agent = await app.agentPid();
  const told = app.found('debug').map(({ to, from, data }) => ({ to, from, pid: data.pid, port: Number(data.debugPort) }));
  const byPort = (a, b) => a.port - b.port;
  assert.deepStrictEqual(told.filter(m => m.from === 'agent'), [ { to: 'parent', from: 'agent', pid: agent, port: agentPort } ]);
  assert.deepStrictEqual(told.filter(m => m.from === 'app').sort(byPort), [
    { to: 'parent', from: 'app', pid: pids[0], port: inspect + 1 },
    { to: 'parent', from: 'app', pid: pids[1], port: inspect + 2 },
  ]);
  const infos = [ ...await app.askAll(2, 'app', 'info'), await app.ask('agent', 'info') ];
  for (const { pid, inspector, execArgv } of infos) {
    const { port } = told.find(m => m.pid === pid);
    assert.strictEqual(new URL(inspector).port, String(port));
    assert.deepStrictEqual(execArgv, [ `--inspect=127.0.0.1:${inspect}`, `--inspect-port=${port}` ]);
  }
});

test('isDebug is among the options of the workers only under the inspector', async t => {
  const { app } = await startDebug(t, { workers: 1 });
  assert.strictEqual(JSON.parse((await app.ask('app', 'info')).argv[2]).isDebug, true);
  await app.close();
  const plain = await t.ready();
  assert.strictEqual('isDebug' in JSON.parse((await plain.ask('app', 'info')).argv[2]), false);
  assert.deepStrictEqual(plain.found('debug'), []);
});

test('a worker killed by SIGKILL under the inspector ends the master with 0', async t => {
  const { app } = await startDebug(t);
  const [ first ] = await app.workerPids();
  process.kill(first, 'SIGKILL');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  await app.stderr(new RegExp(`ERROR ${app.pid} \\[master\\] app_worker#1:${first} died \\(code: [^,]+, signal: SIGKILL`));
  await app.stderr(/\[master\] worker kill by debugger, exiting\.\.\./);
  assert.doesNotMatch(app.err, /AppWorkerDiedError/);
});

test('another death under the inspector is an ordinary one', async t => {
  const { app } = await startDebug(t);
  const [ first ] = await app.workerPids();
  const before = app.mark();
  app.tell('app', 'exit', { code: 1 }, first);
  await app.message('app-worker-died', before);
  await app.stderr(/AppWorkerDiedError/);
  assert.doesNotMatch(app.err, /worker kill by debugger/);
});

test('NODE_OPTIONS=--inspect gives app workers ports of their own', async t => {
  const inspect = await freePortRun(3);
  const app = await t.start({
    env: { NODE_OPTIONS: `--inspect-port=${inspect}` },
  });
  await app.ready();
  const { execArgv } = await app.ask('app', 'info');
  assert.deepStrictEqual(execArgv, [ `--inspect-port=${inspect + 1}` ]);
});
