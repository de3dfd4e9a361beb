'use strict';

// Options that come by egg-scripts: as flags, and from an application's package.json. What reaches
// the native master is told by what it does.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { test, ownOnly } = require('./helper/test');
const { fixtures } = require('./helper/cluster');
const { get } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { processors } = require('../lib/processors');

const eggScripts = require.resolve('egg-scripts/bin/egg-scripts.js');
const framework = path.join(fixtures, 'framework-startable');
const FOR_EVER = { ms: 600000 };

/** `egg-scripts start` in the foreground, for an application with this package.json. */
async function start(t, { flags = [], pkg = {}, env }) {
  const baseDir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-flags-')));
  t.after(() => fs.rmSync(baseDir, { recursive: true, force: true }));
  fs.writeFileSync(path.join(baseDir, 'package.json'), JSON.stringify({ name: 'mini-app', version: '1.0.0', ...pkg }));
  const port = await freePort();
  const tool = await t.start({
    command: process.execPath,
    // The directory comes first: a flag without a value would take it for its own.
    args: [ eggScripts, 'start', baseDir, `--framework=${framework}`, `--port=${port}`, `--node=${process.execPath}`, ...flags ],
    ipc: false,
    env: { MINI_QUIET: 'yes', ...env },
  });
  return { tool, port, baseDir };
}

const started = tool => tool.stdout(/\[master\] framework-startable started on .*/);

async function serving(port, uid) {
  return (await get(port, '/', { headers: { cookie: `uid=${uid}` } })).json.pid;
}

/** What the worker that serves `uid` says of itself. */
async function info(port, uid = 'x') {
  const { json } = await get(port, '/do', { body: JSON.stringify({ name: 'info' }), headers: { cookie: `uid=${uid}` } });
  return json.result;
}

/** Cookies tell clients apart, who all have one address. */
async function provesSticky({ port }) {
  const uids = Array.from({ length: 12 }, (_, i) => `client-${i}`);
  const pids = [];
  for (const uid of uids) pids.push(await serving(port, uid));
  assert.strictEqual(new Set(pids).size, 2);
  for (const [ i, uid ] of uids.entries()) assert.strictEqual(await serving(port, uid), pids[i]);
}

/** By default the first delay is 500 ms. */
async function provesRestart({ tool, port }, maxDelay) {
  const since = tool.mark();
  const delays = () => [ ...tool.err.slice(since.err).matchAll(/will be replaced in (\d+)ms/g) ];
  while (delays().length === 0) {
    const round = tool.mark();
    process.kill(await serving(port, 'somebody'), 'SIGKILL');
    await tool.stdout(/app_worker#\d+:\d+ started at/, round);
  }
  assert.ok(delays().every(([ , ms ]) => Number(ms) <= maxDelay), `${delays()}`);
}

/** By default it takes a minute, which is more than the test waits. */
async function provesWatchdog({ tool, port }) {
  const since = tool.mark();
  const body = JSON.stringify({ name: 'busy', args: FOR_EVER });
  get(port, '/do', { body, headers: { cookie: 'uid=somebody' }, timeout: 60000 }).catch(() => {});
  await tool.stderr(/app_worker#\d+:\d+ has not answered for \d+ms and will be killed/, since);
  await tool.stdout(/app_worker#\d+:\d+ started at/, since);
}

/** By default it is 5000 ms in production. */
async function provesDrain({ tool, port }, timeout) {
  get(port, '/slow?ms=600000', { headers: { cookie: 'uid=somebody' }, timeout: 60000 }).catch(() => {});
  // A later answer of the same worker: it has the slow request, too.
  await serving(port, 'somebody');
  await tool.close();
  const [ , elapsed ] = /drain timed out after (\d+)ms, 1 requests/.exec(tool.out) || assert.fail(tool.out);
  assert.ok(Number(elapsed) >= timeout && Number(elapsed) < 5000, elapsed);
}

const WAYS = {
  'as flags with dots': {
    flags: [
      '--sticky.by=cookie', '--sticky.name=uid', '--restart.maxDelay=123',
      '--watchdog.timeout=2000', '--watchdog.interval=200', '--drain.timeout=300',
    ],
  },
  'as flags with hyphens, given twice, and as JSON': {
    flags: [
      '--sticky', '--sticky.by', 'cookie', '--sticky.name', 'uid', '--restart.max-delay', '123',
      '--watchdog', '{"timeout":2000,"interval":"200"}', '--drain={"timeout":300}',
    ],
  },
  'from eggScriptsConfig of package.json': {
    pkg: {
      eggScriptsConfig: {
        sticky: { by: 'cookie', name: 'uid' },
        restart: { maxDelay: '123' },
        watchdog: '{"timeout":2000,"interval":200}',
        drain: { timeout: 300 },
      },
    },
  },
};

for (const [ name, way ] of Object.entries(WAYS)) {
  ownOnly('has no such options', `sticky, restart, watchdog and drain reach the master ${name}`, async t => {
    const app = await start(t, { ...way, flags: [ '--workers=2', ...(way.flags || []) ] });
    const [ line ] = await started(app.tool);
    assert.match(line, / with STICKY MODE!$/);
    await provesSticky(app);
    await provesRestart(app, 123);
    await provesWatchdog(app);
    await provesDrain(app, 300);
  });
}

for (const [ how, way ] of Object.entries({ 'by flag': { flags: [ '--workers=auto' ] }, 'in eggScriptsConfig': { pkg: { eggScriptsConfig: { workers: 'auto' } } } })) {
  ownOnly('makes NaN workers of it', `workers can be auto ${how}`, async t => {
    const { tool, port } = await start(t, way);
    await started(tool);
    assert.strictEqual(JSON.parse((await info(port)).argv[2]).workers, processors());
  });
}

ownOnly('has no such options', 'a flag goes before the same option of eggScriptsConfig, as a whole', async t => {
  const { tool, port } = await start(t, {
    flags: [ '--workers=1', '--no-watchdog', '--drain.timeout=7' ],
    pkg: { eggScriptsConfig: { watchdog: { timeout: 2000 }, drain: { timeout: 8, websocketTimeout: 9 }, workers: 3 } },
  });
  await started(tool);
  const { watchdog, drain, workers } = JSON.parse((await info(port)).argv[2]);
  assert.deepStrictEqual({ watchdog, drain, workers }, { watchdog: false, drain: { timeout: 7 }, workers: 1 });
});

test('the options of egg-cluster come through as flags', async t => {
  const debugPort = await freePort();
  const tls = name => path.join(fixtures, 'tls', name);
  const pidFile = path.join(os.tmpdir(), `egg-cluster-test-flags-${process.pid}.pid`);
  const { tool, port, baseDir } = await start(t, {
    flags: [
      '--workers=1', `--debugPort=${debugPort}`, `--https.key=${tls('key.pem')}`, `--https.cert=${tls('cert.pem')}`, '--env=sit',
      `--pidFile=${pidFile}`, '--no-sticky', '--startMode=process', '--ports=7001', '--ports=7002', '--title=of-the-test',
      '--mine=1', '--another-of-mine.deep=text', '--plugins={"schedule":false}',
    ],
  });
  await started(tool);
  assert.ok(fs.existsSync(pidFile));
  const { json } = await get(debugPort, '/do', { body: JSON.stringify({ name: 'info' }) });
  const { clusterPort, ...options } = JSON.parse(json.result.argv[2]);
  assert.ok(clusterPort > 0);
  assert.deepStrictEqual(options, {
    framework, baseDir, port, debugPort, workers: 1, plugins: '{"schedule":false}', startMode: 'process', ports: [ 7001, 7002 ],
    reusePort: false, https: { key: tls('key.pem'), cert: tls('cert.pem') }, env: 'sit', sticky: false, pidFile, title: 'of-the-test',
    mine: 1, 'another-of-mine': { deep: 'text' },
  });
  await tool.close();
  assert.ok(!fs.existsSync(pidFile));
});

ownOnly(
  'takes the text false for true, and leaves names with hyphens to the workers',
  'flags that yargs hands on as text or with hyphens mean what they say',
  async t => {
    const { tool, port } = await start(t, { flags: [ '--workers=1', '--sticky=false', '--reuse-port=false', '--start-mode=process', '--watchdog=false' ] });
    const [ line ] = await started(tool);
    assert.doesNotMatch(line, /STICKY/);
    const { sticky, reusePort, startMode, watchdog } = JSON.parse((await info(port)).argv[2]);
    assert.deepStrictEqual({ sticky, reusePort, startMode, watchdog }, { sticky: false, reusePort: false, startMode: 'process', watchdog: false });
  });

test('of the section egg of package.json egg-scripts hands on nothing', async t => {
  const { tool, port } = await start(t, {
    flags: [ '--workers=1' ],
    pkg: { egg: { sticky: true, drain: { timeout: 1 }, restart: { maxDelay: 1 }, watchdog: false, workers: 3, title: 'x' } },
  });
  const [ line ] = await started(tool);
  assert.doesNotMatch(line, /STICKY/);
  const options = JSON.parse((await info(port)).argv[2]);
  for (const name of [ 'sticky', 'drain', 'restart', 'watchdog' ]) assert.ok(!(name in options), name);
  assert.deepStrictEqual([ options.workers, options.title ], [ 1, 'egg-server-mini-app' ]);
});

test('--require becomes an argument of node, and --env a variable, neither an option', async t => {
  const preloaded = path.join(fixtures, 'scripts/preloaded.js');
  const { tool, port } = await start(t, { flags: [ '--workers=1', `--require=${preloaded}`, '--env=unittest' ] });
  await started(tool);
  const { argv, execArgv } = await info(port);
  assert.ok(!('require' in JSON.parse(argv[2])));
  assert.strictEqual(execArgv[execArgv.indexOf('--require') + 1], preloaded);
  await tool.stdout(/isProduction: false, EGG_SERVER_ENV: unittest, NODE_ENV: production/);
});

const REFUSED = {
  'a flag that is no number of ms': [ [ '--drain.timeout=5s' ], /TypeError: options\.drain\.timeout must be a number of ms, but got '5s' \(string\)/ ],
  'a flag out of range': [ [ '--watchdog.timeout=5' ], /RangeError: options\.watchdog\.timeout must be a whole number of ms between 1000 and \d+, but got 5 / ],
  'a wrong limit of holding': [ [ '--hold.connections=0' ], /RangeError: options\.hold\.connections must be a whole number between 1 and \d+, but got 0 / ],
  'a wrong limit for workers': [ [ '--limits.line-bytes=0' ], /RangeError: options\.limits\.lineBytes must be [^\n]+, but got 0 / ],
  'broken JSON': [ [ '--restart', '{"maxDelay":' ], /SyntaxError: options\.restart is not valid JSON/ ],
  'a key that is not known': [ [ '--sticky.via=cookie' ], /TypeError: options\.sticky\.via is unknown/ ],
  'a bare flag that needs a value': [ [ '--drain' ], /TypeError: options\.drain must be false or an object such as \{ timeout: 5000 \}, but got true/ ],
};

for (const [ name, [ flags, expected ] ] of Object.entries(REFUSED)) {
  ownOnly('passes them on to the workers', `egg-scripts start fails and leaves nothing: ${name}`, async t => {
    const { tool } = await start(t, { flags });
    // egg-scripts has the code of the master that it started.
    assert.deepStrictEqual(await tool.end(), { code: 1, signal: null });
    assert.match(tool.err, expected);
    assert.doesNotMatch(tool.out, /agent_worker#1/);
    await tool.noLeftovers();
    tool.close = async () => ({ code: 0 });
  });
}
