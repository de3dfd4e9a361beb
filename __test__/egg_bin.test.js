'use strict';

// egg-bin dev and debug, unchanged, with the cluster under test.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { test, ownOnly } = require('./helper/test');
const { fixtures, copyApp } = require('./helper/cluster');
const { get } = require('./helper/http');
const { freePort, freePortRun } = require('./helper/ports');

const eggBin = require.resolve('egg-bin/dist/bin/cli.js');
const framework = path.join(fixtures, 'framework-egg');
/** Egg is loaded several times until the first worker serves. */
const LIMIT = 60000;

function said(tool, stream, regexp, since = { out: 0, err: 0 }) {
  return tool.until(`${regexp} in ${stream}`, () => regexp.exec(tool[stream].slice(since[stream])), LIMIT);
}

// `egg-bin debug` takes no option: what it needs stands in package.json and in the configuration.
async function start(t, args, env) {
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-bin-')));
  t.after(() => fs.rmSync(home, { recursive: true, force: true, maxRetries: 3 }));
  const baseDir = copyApp('egg', home);
  fs.writeFileSync(path.join(baseDir, 'package.json'), JSON.stringify({ name: 'egg-app', egg: { framework: 'framework-egg' } }));
  fs.mkdirSync(path.join(baseDir, 'node_modules'));
  fs.symlinkSync(framework, path.join(baseDir, 'node_modules/framework-egg'));
  const port = await freePort();
  const tool = await t.start({
    command: process.execPath, args: [ eggBin, ...args ], cwd: baseDir, ipc: false,
    env: { TEST_LISTEN: JSON.stringify({ port }), ...env },
  });
  await said(tool, 'out', new RegExp(`\\[master\\] framework-egg started on http://127\\.0\\.0\\.1:${port}`));
  return { tool, port, baseDir };
}

/** egg-bin ends at once, and tells its master to. */
async function stop(tool) {
  assert.deepStrictEqual(await tool.close(), { code: 0, signal: null });
  await tool.noLeftovers();
}

test('egg-bin dev serves, and serves the changed code after a file was written', async t => {
  const { tool, port, baseDir } = await start(t, [ 'dev' ]);
  const { pid } = (await get(port)).json;
  for (const [ id, code ] of [ [ 2, 'first' ], [ 3, 'second' ] ]) {
    const before = tool.mark();
    fs.writeFileSync(path.join(baseDir, 'app/router.js'), `'use strict';\n\nmodule.exports = app => app.get('/', ctx => {\n  ctx.body = { pid: process.pid, code: '${code}' };\n});\n`);
    await said(tool, 'out', new RegExp(`app_worker#${id}:\\d+ listening on`), before);
    await said(tool, 'out', new RegExp(`app_worker#${id - 1}:\\d+ disconnect`), before);
    const { json } = await get(port);
    assert.strictEqual(json.code, code);
    assert.notStrictEqual(json.pid, pid);
  }
  await stop(tool);
});

test('egg-bin dev goes on when code that did not load is corrected', async t => {
  const { tool, port, baseDir } = await start(t, [ 'dev' ]);
  const router = path.join(baseDir, 'app/router.js');
  const right = fs.readFileSync(router, 'utf8');
  const before = tool.mark();
  fs.writeFileSync(router, 'module.exports = app => {');
  await said(tool, 'err', /SyntaxError/, before);
  const broken = tool.mark();
  fs.writeFileSync(router, right);
  await said(tool, 'out', /app_worker#\d+:\d+ listening on/, broken);
  assert.strictEqual((await get(port)).status, 200);
  await stop(tool);
});

ownOnly('ends the old worker, too', 'egg-bin dev: the old worker serves while new code does not load', async t => {
  const { tool, port, baseDir } = await start(t, [ 'dev' ]);
  const { pid } = (await get(port)).json;
  fs.writeFileSync(path.join(baseDir, 'app/router.js'), 'module.exports = app => {');
  await said(tool, 'err', /\[master\] reload failed, the old workers go on serving/);
  assert.strictEqual((await get(port)).json.pid, pid);
  await stop(tool);
});

const inspected = async port => {
  const [ { title } ] = (await get(port, '/json/list')).json;
  return title;
};

async function startDebug(t, args) {
  const inspect = await freePortRun(4);
  const agentPort = await freePort();
  const { tool } = await start(t, args, { NODE_OPTIONS: `--debug-port=${inspect}`, EGG_AGENT_DEBUG_PORT: String(agentPort) });
  return { tool, inspect, agentPort };
}

test('egg-bin debug opens an inspector in the master and in the app worker, on the port after it', async t => {
  const { tool, inspect } = await startDebug(t, [ 'debug' ]);
  assert.match(await inspected(inspect), /start-cluster\.js/);
  assert.match(await inspected(inspect + 1), /app_worker\.js/);
  await stop(tool);
});

test('egg-bin dev --inspect gives each of several app workers a port', async t => {
  const { tool, inspect } = await startDebug(t, [ 'dev', '--inspect', '--workers=2' ]);
  for (const port of [ inspect + 1, inspect + 2 ]) assert.match(await inspected(port), /app_worker\.js/);
  await stop(tool);
});

ownOnly('the agent tries the port of the master, and has no inspector', 'egg-bin debug: the agent has the port that is meant for it', async t => {
  const { tool, agentPort } = await startDebug(t, [ 'debug' ]);
  assert.match(await inspected(agentPort), /agent_worker\.js/);
  assert.doesNotMatch(tool.err, /Starting inspector on .* failed/);
  await stop(tool);
});
