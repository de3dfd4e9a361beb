'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const os = require('os');
const { test, ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { startLoad } = require('./helper/load');
const { isAlive, poll } = require('./helper/processes');

// As egg-development's agent does when a file has changed.
function askForReload(app) {
  return app.ask('agent', 'send', { message: { to: 'master', action: 'reload-worker' } });
}

async function reload(app, old) {
  const before = app.mark();
  await askForReload(app);
  await app.until('new workers', () => listeners(app, before).length >= app.options.workers);
  for (const pid of old) await app.stdout(new RegExp(`app_worker#\\d+:${pid} disconnect,`), before);
  assert.ok(await poll(() => !old.some(isAlive), 10000), 'the old workers end');
  return before;
}

function listeners(app, since) {
  return [ ...new Set(app.out.slice(since.out).match(/app_worker#\d+:\d+ listening on/g) || []) ];
}

test('in local, reload-worker replaces every worker by a new one, and their number stays', async t => {
  const app = await t.ready({ options: { env: 'local', workers: 2 }, env: { EGG_MASTER_LOGGER_LEVEL: 'DEBUG' } });
  const old = await app.workerPids();
  const agent = await app.agentPid();
  const before = await reload(app, old);
  await app.stdout(/\[master\] reload workers\.\.\./);
  const pids = await app.workerPids();
  assert.strictEqual(pids.length, 2);
  assert.ok(pids.every(pid => !old.includes(pid)));
  assert.strictEqual(app.members().length, 1 + 1 + 2, 'master, agent and two workers');
  assert.strictEqual(await app.agentPid(), agent);
  for (let i = 0; i < 10; i++) assert.ok(pids.includes((await get(app.port)).json.pid));
  assert.doesNotMatch(app.err.slice(before.err), /AppWorkerDiedError/);
});

test('in local, reload-worker works again and again', async t => {
  const app = await t.ready({ options: { env: 'local', workers: 1 } });
  for (let round = 0; round < 3; round++) {
    const old = await app.workerPids(1);
    await reload(app, old);
    const [ now ] = await app.workerPids(1);
    assert.ok(!old.includes(now));
    assert.strictEqual((await get(app.port)).json.pid, now);
  }
  assert.strictEqual(app.members().length, 1 + 1 + 1);
});

test('the new workers get egg-ready, the agent the pids of the new ones', async t => {
  const app = await t.ready({ options: { env: 'local', workers: 2 } });
  const old = await app.workerPids();
  const before = await reload(app, old);
  const pids = await app.workerPids();
  for (const pid of pids) {
    await app.got(({ pid: by, message }) => by === pid && message.action === 'egg-ready', before);
  }
  const isNew = ({ role, message }) => role === 'agent' && message.action === 'egg-pids' && same(message.data, pids);
  await app.got(isNew, before);
});

ownOnly(
  'three workers grow to six, nine, twelve',
  'in production the number of workers stays, reload after reload',
  async t => {
    const app = await t.ready({ options: { env: 'prod', workers: 3 } });
    for (let round = 0; round < 3; round++) {
      const old = await app.workerPids(3);
      await reload(app, old);
      const pids = await app.workerPids(3);
      assert.ok(pids.every(pid => !old.includes(pid)));
      assert.strictEqual(app.members().length, 1 + 1 + 3);
    }
    assert.doesNotMatch(app.err, /AppWorkerDiedError/);
    assert.deepStrictEqual(app.found('app-worker-died'), []);
  });

ownOnly(
  'loses requests, for the old workers are killed at once',
  'no request is lost during a reload',
  async t => {
    const app = await t.ready({ options: { env: 'prod', workers: 2 } });
    const load = startLoad(app.port, { concurrency: 8, path: '/slow?ms=20' });
    t.after(() => load.stop());
    for (let round = 0; round < 3; round++) await reload(app, await app.workerPids(2));
    const { ok, errors } = await load.stop();
    assert.deepStrictEqual(errors, []);
    assert.ok(ok > 50, `${ok} answers`);
  });

ownOnly(
  'kills the old workers before it knows whether the new ones start',
  'a reload whose new workers fail leaves the old ones serving',
  async t => {
    const flag = path.join(os.tmpdir(), `egg-cluster-test-flag-${process.pid}`);
    t.after(() => fs.rmSync(flag, { force: true }));
    const app = await t.ready({
      options: { env: 'prod', workers: 2 },
      mini: { app: { onlyIfFile: flag, throwInConstructor: 'broken by the last edit' } },
    });
    const old = await app.workerPids();
    fs.writeFileSync(flag, '');
    await askForReload(app);
    await app.stderr(/broken by the last edit/);
    await app.until('the reload is given up', () => /reload[^\n]*fail/i.test(app.out + app.err));
    for (let i = 0; i < 10; i++) assert.ok(old.includes((await get(app.port)).json.pid));
    fs.unlinkSync(flag);
    await reload(app, old);
    assert.ok(!old.includes((await get(app.port)).json.pid));
  });

ownOnly(
  'never reloads the agent',
  'a reload whose new agent fails leaves the app workers serving, and the agent comes back by itself',
  async t => {
    const flag = path.join(os.tmpdir(), `egg-cluster-test-agent-flag-${process.pid}`);
    t.after(() => fs.rmSync(flag, { force: true }));
    const app = await t.ready({
      options: { env: 'prod', workers: 2 },
      mini: { agent: { onlyIfFile: flag, failReady: 'broken by the last edit' } },
    });
    const old = await app.workerPids();
    const before = app.mark();
    fs.writeFileSync(flag, '');
    app.tell('agent', 'send', { message: { to: 'master', action: 'reload-worker', data: { agent: true } } });
    await app.stderr(/reload failed, the old workers go on serving: the new agent agent_worker#2 failed/, before);
    fs.unlinkSync(flag);
    await app.stdout(/agent_worker#[3-9]\d*:\d+ started \(/, before);
    for (let i = 0; i < 10; i++) assert.ok(old.includes((await get(app.port)).json.pid));
    assert.doesNotMatch(app.out.slice(before.out), /app_worker#[3-9]:\d+ start/);
  });

function same(a, b) {
  return JSON.stringify([ ...a ].sort()) === JSON.stringify([ ...b ].sort());
}
