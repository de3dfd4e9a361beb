'use strict';

const assert = require('assert');
const { test, ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { isAlive } = require('./helper/processes');

for (const env of [ 'prod', 'local' ]) {
  test(`a dead agent is restarted after about a second in ${env}; the apps stay and learn of it`, async t => {
    const app = await t.ready({ options: { env, workers: 2 }, env: { EGG_MASTER_LOGGER_LEVEL: 'DEBUG' } });
    const pids = await app.workerPids();
    const agent = await app.agentPid();
    const before = app.mark();
    const killed = Date.now();
    process.kill(agent, 'SIGKILL');
    await app.message('agent-worker-died', before);
    await app.stdout(/\[master\] try to start a new agent_worker after 1s \.\.\./, before);
    await app.stdout(/\[master\] new agent_worker starting\.\.\./, before);
    const waited = Date.now() - killed;
    assert.ok(waited >= 900 && waited < 3000, `${waited} ms`);
    const [ , forked ] = await app.stdout(/\[master\] agent_worker#2:(\d+) start with clusterPort:\d+/, before);
    await app.stdout(new RegExp(`\\[master\\] agent_worker#2:${forked} started \\(\\d+ms\\)`), before);
    await app.stderr(new RegExp(
      `nodejs\\.AgentWorkerDiedError: \\[master\\] agent_worker#1:${agent} died \\(code: null, signal: SIGKILL\\)\n`));
    await assertAppsHeard(app, pids, Number(forked), before);
    await assertAgentHeard(app, pids, Number(forked), before);
    assert.ok(pids.every(isAlive));
    assert.ok(pids.includes((await get(app.port)).json.pid));
  });
}

async function assertAppsHeard(app, pids, agent, since) {
  for (const pid of pids) {
    await app.got(({ pid: by, message }) => by === pid && message.action === 'agent-start', since);
    const heard = app.allGot(({ pid: by }) => by === pid, since).map(({ message }) => message);
    assert.deepStrictEqual(heard.map(({ action, data }) => [ action, data ]), [
      [ 'egg-pids', [] ],
      [ 'egg-pids', [ agent ] ],
      [ 'agent-start', undefined ],
    ]);
  }
}

async function assertAgentHeard(app, pids, agent, since) {
  const hearsEggPids = ({ pid, message }) => pid === agent && message.action === 'egg-pids';
  const { message } = await app.got(hearsEggPids, since);
  assert.deepStrictEqual([ ...message.data ].sort(), [ ...pids ].sort());
  const hearsReady = ({ pid, message: m }) => pid === agent && m.action === 'egg-ready';
  const ready = await app.got(hearsReady, since);
  // Whatever else the master had for the agent has come before this.
  await app.ask('agent', 'info');
  assert.strictEqual(app.allGot(hearsReady, since).length, 1);
  assert.strictEqual(ready.message.data.baseDir, app.options.baseDir);
}

test('the agent can die more than once, each way', async t => {
  const app = await t.ready({ options: { env: 'prod' } });
  const ways = [ [ 'exit', { code: 4 } ], [ 'throwLater', {} ], [ 'disconnect', {} ] ];
  for (let i = 0; i < ways.length; i++) {
    const before = app.mark();
    app.tell('agent', ...ways[i]);
    await app.message('agent-worker-died', before);
    await app.stdout(new RegExp(`agent_worker#${i + 2}:\\d+ started`), before);
  }
  await app.stderr(/agent_worker#1:\d+ died \(code: 4, signal: null\)/);
  await app.stderr(/agent_worker#2:\d+ died \(code: 1, signal: null\)/);
  await app.stderr(/agent_worker#3:\d+ died \(code: 110, signal: null\)/);
  assert.strictEqual((await get(app.port)).status, 200);
});

async function closeWhileAwaited(t) {
  const app = await t.ready({ options: { env: 'prod' } });
  const before = app.mark();
  process.kill(await app.agentPid(), 'SIGKILL');
  await app.stdout(/try to start a new agent_worker after 1s/, before);
  const start = Date.now();
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  return { app, elapsed: Date.now() - start };
}

test('a close while a new agent is awaited ends everything with 0', async t => {
  const { app } = await closeWhileAwaited(t);
  await app.noLeftovers();
});

ownOnly(
  'starts another agent and waits for the dead one until the timeout',
  'a close while a new agent is awaited starts none and is prompt',
  async t => {
    const { app, elapsed } = await closeWhileAwaited(t);
    assert.doesNotMatch(app.out, /agent_worker#2:/);
    assert.ok(elapsed < 3000, `${elapsed} ms`);
  });
