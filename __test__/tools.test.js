'use strict';

// The tools of Egg that start and stop a cluster, unchanged, with the cluster under test.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { randomUUID } = require('crypto');
const { test, ownOnly } = require('./helper/test');
const { fixtures, copyApp, cleanEnv } = require('./helper/cluster');
const { get, tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const processes = require('./helper/processes');

const eggScripts = require.resolve('egg-scripts/bin/egg-scripts.js');
const framework = path.join(fixtures, 'framework-startable');

function scripts(t, args, env) {
  return t.start({ command: process.execPath, args: [ eggScripts, ...args ], ipc: false, env });
}

async function startDaemon(t, { env, app = 'mini' } = {}) {
  const port = await freePort();
  const title = `egg-cluster-test-${randomUUID()}`;
  const logs = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-logs-'));
  t.after(() => fs.rmSync(logs, { recursive: true, force: true }));
  const [ stdout, stderr ] = [ path.join(logs, 'out.log'), path.join(logs, 'err.log') ];
  const tool = await scripts(t, [
    'start', '--daemon', `--title=${title}`, `--framework=${framework}`, `--port=${port}`, '--workers=2',
    `--stdout=${stdout}`, `--stderr=${stderr}`, path.join(fixtures, 'apps', app),
  ], env);
  const end = await tool.end(30000);
  return { tool, end, port, stdout: fs.readFileSync(stdout, 'utf8'), stderr, stop: () => stopDaemon(t, title, tool.marker) };
}

async function stopDaemon(t, title, marker) {
  const tool = await scripts(t, [ 'stop', `--title=${title}`, '--timeout=2000' ]);
  const { code } = await tool.end();
  const left = () => processes.marked(processes.MASTER_MARKER, marker);
  const gone = await processes.poll(() => left().length === 0, 5000);
  return { code, out: tool.out, left: gone ? [] : left() };
}

async function assertDaemon(t, env) {
  const { tool, end, port, stdout, stderr, stop } = await startDaemon(t, { env });
  assert.strictEqual(end.code, 0, tool.err);
  assert.match(tool.out, new RegExp(`framework-startable started on http://127\\.0\\.0\\.1:${port}`));
  assert.match(stdout, /\[master\] framework-startable started on/);
  assert.strictEqual((await get(port)).status, 200);
  const { code, out, left } = await stop();
  assert.strictEqual(code, 0);
  assert.match(out, /got master pid \["\d+"\]/);
  assert.doesNotMatch(out, /not killed by master/);
  assert.deepStrictEqual(left, []);
  assert.strictEqual(fs.readFileSync(stderr, 'utf8'), '');
  assert.strictEqual(await tryConnect({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
}

test('egg-scripts start --daemon sees the start, nothing on stderr, and stop ends all of it', async t => {
  await assertDaemon(t, { MINI_QUIET: 'yes' });
});

ownOnly(
  'write EPIPE, as an uncaught error',
  'egg-scripts start --daemon: workers that speak to the parent while it leaves cause no error',
  async t => {
    await assertDaemon(t, {});
  });

test('egg-scripts start --daemon fails when the application fails', async t => {
  const { tool, end, stderr } = await startDaemon(t, { env: { MINI_THROW_AT_LOAD: 'app' } });
  assert.strictEqual(end.code, 1);
  assert.match(tool.err + tool.out, /Start got error/);
  assert.match(fs.readFileSync(stderr, 'utf8'), /thrown while app loads/);
  const gone = await processes.poll(() => processes.marked(processes.MASTER_MARKER, tool.marker).length === 0, 10000);
  assert.ok(gone);
});

test('egg-scripts stop finds the workers of a master that was killed', async t => {
  const { port, stop } = await startDaemon(t, { env: { MINI_QUIET: 'yes' } });
  const { json } = await get(port, '/do', { body: JSON.stringify({ name: 'info' }) });
  const { pid, ppid } = json.result;
  // A stopped process does not see that its channel is closed.
  process.kill(pid, 'SIGSTOP');
  process.kill(ppid, 'SIGKILL');
  const { code, out, left } = await stop();
  assert.strictEqual(code, 0);
  assert.match(out, new RegExp(`got worker/agent pids \\[.*"${pid}".*\\] that is not killed by master`));
  assert.deepStrictEqual(left, []);
});

ownOnly(
  'the master waits for its own time to be over, though nothing is left to wait for',
  'egg-scripts stop kills what does not end in its time, and the master ends with it',
  async t => {
    const { port, stop, tool } = await startDaemon(t, {
      // The master waits for a minute, so that the tool comes first.
      app: 'stubborn', env: { MINI_QUIET: 'yes', EGG_MASTER_CLOSE_TIMEOUT: '60000', EGG_CLUSTER_RS_DRAIN_TIMEOUT: '500' },
    });
    const { pid, ppid } = (await get(port, '/do', { body: JSON.stringify({ name: 'info' }) })).json.result;
    const { code, out, left } = await stop();
    assert.strictEqual(code, 0);
    assert.match(out, new RegExp(`got master pid \\["${ppid}"\\]`));
    assert.match(out, new RegExp(`got worker/agent pids \\[.*"${pid}".*\\] that is not killed by master`));
    assert.deepStrictEqual(left, [], tool.transcript());
  });

test('egg-scripts stop --title ends that application only', async t => {
  const first = await startDaemon(t, { env: { MINI_QUIET: 'yes' } });
  const second = await startDaemon(t, { env: { MINI_QUIET: 'yes' } });
  const { pid } = (await get(second.port)).json;
  assert.deepStrictEqual((await first.stop()).left, []);
  assert.strictEqual(await tryConnect({ port: first.port, host: '127.0.0.1' }), 'ECONNREFUSED');
  const { body } = await get(second.port, '/do', { body: JSON.stringify({ name: 'info' }) });
  assert.strictEqual(typeof JSON.parse(body).result.pid, 'number');
  assert.ok(processes.isAlive(pid));
  assert.deepStrictEqual((await second.stop()).left, []);
});

test('egg-scripts start in the foreground passes SIGTERM on and ends with its master', async t => {
  const port = await freePort();
  const title = `egg-cluster-test-${randomUUID()}`;
  const tool = await scripts(t, [
    'start', `--title=${title}`, `--framework=${framework}`, `--port=${port}`, '--workers=1', path.join(fixtures, 'apps/mini'),
  ]);
  await tool.stdout(/\[master\] framework-startable started on/);
  assert.strictEqual((await get(port)).status, 200);
  assert.deepStrictEqual(await tool.close(), { code: 0, signal: null });
});

test('egg-mock starts a cluster, asks it by HTTP, mocks something in its worker and ends it', async t => {
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-mock-')));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const baseDir = copyApp('egg', home);
  const marker = randomUUID();
  const env = { ...cleanEnv(), HOME: home, EGG_HOME: home, MOCK_HOME_DIR: home, [processes.MASTER_MARKER]: marker };
  const mock = require('egg-mock');
  const app = mock.cluster({
    baseDir, framework: path.join(fixtures, 'framework-egg'), port: await freePort(), workers: 1, coverage: false, cache: false, opt: { env },
  });
  app.debug(false);
  t.after(async () => {
    await app.close();
    await mock.restore();
  });
  await app.ready();
  await app.httpRequest().get('/').expect(200);
  // mm.cluster() passes every mockXXX on to the worker, by a request that its plugin answers.
  await app.httpRequest().get('/header').expect({ value: '' });
  app.mockHeaders({ 'x-test': 'mocked' });
  await app.httpRequest().get('/header').expect({ value: 'mocked' });
  app.mockRestore();
  await app.httpRequest().get('/header').expect({ value: '' });
  await app.close();
  const gone = await processes.poll(() => processes.marked(processes.MASTER_MARKER, marker).length === 0, 10000);
  assert.ok(gone);
});
