'use strict';

// The ways into the package, as its tarball is installed: under its own name and in the place of egg-cluster.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { randomUUID } = require('crypto');
const { ownOnly } = require('./helper/test');
const { cleanEnv } = require('./helper/cluster');
const { installApp } = require('./helper/installed_app');
const { get, tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const processes = require('./helper/processes');

const check = (name, body) => ownOnly('is what stands in the tarball\'s place', name, body);

// One installation serves all tests: it takes a second or two.
let installed = null;

function install() {
  if (installed === null) {
    installed = installApp();
    process.once('exit', installed.remove);
    fs.symlinkSync('egg-cluster', path.join(installed.modules, 'egg-cluster-rs'));
  }
  return installed;
}

/** Runs a script in the application, and gives what it prints as JSON. */
function evaluate(name, source) {
  const { baseDir } = install();
  const file = path.join(baseDir, name);
  fs.writeFileSync(file, source);
  const { stdout, stderr, status } = spawnSync(process.execPath, [ file ], { encoding: 'utf8', env: cleanEnv(), timeout: 20000 });
  assert.strictEqual(status, 0, stderr);
  assert.strictEqual(stderr, '');
  return JSON.parse(stdout);
}

check('require: the names, and lib/master is the class itself', () => {
  const seen = evaluate('look.js', `
    const cluster = require('egg-cluster-rs');
    console.log(JSON.stringify({
      names: Object.keys(cluster).sort(),
      kinds: [ typeof cluster.startCluster, typeof cluster.Master ],
      master: require('egg-cluster-rs/lib/master') === cluster.Master && require('egg-cluster-rs/lib/master.js') === cluster.Master,
    }));
  `);
  assert.deepStrictEqual(seen, { names: [ 'Master', 'startCluster' ], kinds: [ 'function', 'function' ], master: true });
});

check('import: named and default, deep paths too', () => {
  const seen = evaluate('look.mjs', `
    import { startCluster, Master } from 'egg-cluster-rs';
    import cluster from 'egg-cluster-rs';
    import Deep from 'egg-cluster-rs/lib/master.js';
    import { startCluster as ofEgg } from 'egg';
    const all = await import('egg-cluster-rs');
    console.log(JSON.stringify([
      startCluster === cluster.startCluster, Master === cluster.Master, Deep === Master, ofEgg === startCluster, all.Master === Master,
    ]));
  `);
  assert.deepStrictEqual(seen, [ true, true, true, true, true ]);
});

check('in the place of egg-cluster: what others require of it is there', () => {
  const seen = evaluate('deep.js', `
    const places = [ 'lib/master', 'lib/master.js', 'lib/app_worker', 'lib/app_worker.js', 'lib/agent_worker.js', 'lib/utils/options', 'package.json' ];
    const options = require('egg-cluster/lib/utils/options')({ baseDir: __dirname, workers: 1 });
    console.log(JSON.stringify({
      places: places.map(place => require.resolve('egg-cluster/' + place)),
      same: require('egg').startCluster === require('egg-cluster').startCluster,
      options: [ options.workers, options.framework ],
    }));
  `);
  const { modules } = install();
  assert.ok(seen.places.every(file => file.startsWith(path.join(modules, 'egg-cluster'))), String(seen.places));
  assert.strictEqual(seen.same, true);
  assert.deepStrictEqual(seen.options, [ 1, path.join(modules, 'egg') ]);
});

/** Starts the application with an unmodified egg, by its own `egg-scripts`. */
async function startDaemon(t, flags = []) {
  const { baseDir, modules } = install();
  const port = await freePort();
  const title = `egg-cluster-test-${randomUUID()}`;
  const eggScripts = path.join(modules, 'egg-scripts/bin/egg-scripts.js');
  const run = args => t.start({ command: process.execPath, args: [ eggScripts, ...args ], ipc: false, cwd: baseDir });
  const logs = fs.mkdtempSync(path.join(baseDir, 'logs-'));
  const file = name => path.join(logs, `${name}.log`);
  const tool = await run([
    'start', '--daemon', `--title=${title}`, `--port=${port}`, '--workers=2', `--stdout=${file('out')}`, `--stderr=${file('err')}`, ...flags,
  ]);
  const { code } = await tool.end(30000);
  const read = name => fs.readFileSync(file(name), 'utf8');
  return { tool, code, port, read, stop: async () => (await run([ 'stop', `--title=${title}`, '--timeout=2000' ])).end(30000) };
}

check('an unmodified egg with an override: egg-scripts starts and stops the native master', async t => {
  const { modules } = install();
  const hook = path.join(modules, 'own-hook');
  fs.mkdirSync(hook);
  fs.writeFileSync(path.join(hook, 'index.js'), 'console.log("[own-hook] in %s", process.argv[1]);\n');
  const { tool, code, port, read, stop } = await startDaemon(t, [ '--require=own-hook' ]);
  assert.strictEqual(code, 0, tool.err + read('err'));
  assert.match(tool.out, new RegExp(`egg started on http://127\\.0\\.0\\.1:${port}`));
  const { json } = await get(port);
  assert.match(json.argv[1], /egg-cluster\/lib\/app_worker\.js$/);
  assert.ok(json.argv[1].startsWith(path.join(modules, '@egg-cluster-rs')), json.argv[1]);
  for (const role of [ 'app', 'agent' ]) assert.match(read('out'), new RegExp(`\\[own-hook\\] in .*egg-cluster/lib/${role}_worker\\.js`));
  assert.strictEqual((await stop()).code, 0);
  const gone = await processes.poll(() => processes.marked(processes.MASTER_MARKER, tool.marker).length === 0, 5000);
  assert.ok(gone);
  // Only the native master drains.
  assert.match(read('out'), /\[master\] app_worker#1:\d+ drained in \d+ms/);
  assert.strictEqual(read('err'), '');
  assert.strictEqual(await tryConnect({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
});

check('an unmodified egg with an override: egg-bin dev serves the changed code', async t => {
  const { baseDir, modules } = install();
  const router = path.join(baseDir, 'app/router.js');
  const before = fs.readFileSync(router, 'utf8');
  t.after(() => fs.writeFileSync(router, before));
  const port = await freePort();
  const tool = await t.start({
    command: process.execPath, args: [ path.join(modules, 'egg-bin/dist/bin/cli.js'), 'dev' ], cwd: baseDir, ipc: false,
    env: { TEST_LISTEN: JSON.stringify({ port }) },
  });
  const said = (what, since) => tool.until(String(what), () => what.exec(tool.out.slice(since)), 60000);
  await said(new RegExp(`\\[master\\] egg started on http://127\\.0\\.0\\.1:${port}`), 0);
  const { argv } = (await get(port)).json;
  assert.ok(argv[1].startsWith(path.join(modules, '@egg-cluster-rs')), argv[1]);
  const { out } = tool.mark();
  fs.writeFileSync(router, "'use strict';\n\nmodule.exports = app => app.get('/', ctx => {\n  ctx.body = { code: 'changed' };\n});\n");
  await said(/app_worker#1:\d+ disconnect/, out);
  assert.strictEqual((await get(port)).json.code, 'changed');
  assert.deepStrictEqual(await tool.close(), { code: 0, signal: null });
  await tool.noLeftovers();
  assert.strictEqual(tool.err, '');
});

for (const cluster of [ 'egg-cluster', 'egg-cluster-rs' ]) {
  check(`a subclass of ${cluster}/lib/master with worker scripts of its own, listeners in the constructor and its own close`, async t => {
    const { baseDir, modules } = install();
    const app = await t.ready({
      script: 'subclass-midway.js',
      scriptArgs: { cluster },
      target: path.join(modules, cluster),
      options: { baseDir, framework: path.join(modules, 'egg'), workers: 2, env: 'prod' },
    });
    const { seen, typescript } = await app.report('mine');
    assert.deepStrictEqual(seen.sort(), [ 'agent-start', 'app-start', 'app-start', 'realport', 'realport' ]);
    assert.strictEqual(typescript, true);
    const { argv } = (await get(app.port)).json;
    assert.strictEqual(argv[1], path.join(baseDir, 'own_app_worker.js'));
    app.send({ action: 'mine:close' });
    assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
    assert.match(app.out, /\[mine\] close\n/);
  });
}
