'use strict';

// The tools of Egg that start and stop a cluster, unchanged, with the cluster under test.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { randomUUID } = require('crypto');
const { test, ownOnly } = require('./helper/test');
const { fixtures, cleanEnv } = require('./helper/cluster');
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

test('egg-mock starts a cluster, asks it by HTTP and ends it', async t => {
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-mock-')));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const baseDir = path.join(home, 'egg');
  copy(path.join(fixtures, 'apps/egg'), baseDir);
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
  await app.close();
  const gone = await processes.poll(() => processes.marked(processes.MASTER_MARKER, marker).length === 0, 10000);
  assert.ok(gone);
});

function copy(from, to) {
  fs.mkdirSync(to, { recursive: true });
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const [ source, target ] = [ path.join(from, entry.name), path.join(to, entry.name) ];
    if (entry.isDirectory()) copy(source, target);
    else fs.copyFileSync(source, target);
  }
}
