'use strict';

// What the package does on platforms without a native master, and on those that should have one and do not.

const assert = require('assert');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { fixtures } = require('./helper/cluster');
const { installApp } = require('./helper/installed_app');
const { get } = require('./helper/http');
const { startEgg, sendNews } = require('./helper/egg_app');
const { egg } = require('./helper/eggs');

const check = (name, body) => ownOnly('is JavaScript on every platform', name, body);
const { version } = require('@egg-cluster-rs/egg-cluster/package.json');

let installed = null;

/** An installation that has no binary at all. */
function install() {
  if (installed === null) {
    installed = installApp({ binary: false });
    process.once('exit', installed.remove);
  }
  return installed;
}

/** `config` for a master that takes this machine for another one. */
function on(platform, { options, ...config } = {}) {
  const { modules } = install();
  return {
    target: path.join(modules, 'egg-cluster'),
    execArgv: [ '--require', path.join(fixtures, 'platform.js') ],
    env: { EGG_CLUSTER_TEST_PLATFORM: JSON.stringify(platform), NODE_ENV: 'production' },
    ...config,
    options: { ...options, framework: path.join(modules, 'egg') },
  };
}

for (const name of [ 'win32-x64', 'linux-ia32', 'freebsd-x64' ]) {
  const [ , platform, arch ] = /(.+)-(.+)/.exec(name);
  check(`${name} has no native master: the JavaScript one starts the application, after one line on stdout`, async t => {
    const { options, ...config } = on({ platform, arch });
    const { app, pids, agent } = await startEgg(t, options.framework, config);
    const line = ` [master] there is no native master for ${name}, the JavaScript egg-cluster ${version} is used instead`;
    // Lines end as those of Windows where that is what Node sees.
    assert.strictEqual(app.out.split(/\r?\n/).filter(each => each.endsWith(line)).length, 1, app.out);
    assert.ok(pids.includes((await get(app.port)).json.pid));
    assert.deepStrictEqual((await sendNews(app, 'how=sendToAgent', 1)).receivers, [ agent ]);
    assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
    assert.strictEqual(app.err, '');
  });
}

check('the JavaScript master names the options that have no effect with it', async t => {
  const options = { workers: 1, watchdog: { timeout: 5000 }, hold: { timeout: 5000 }, limits: {}, drain: false, sticky: { by: 'cookie', name: 'sid' } };
  const app = await t.ready(on({ arch: 'ia32' }, { options }));
  await app.stdout(/is used instead; without effect: options\.hold, options\.limits, options\.watchdog, options\.sticky\.by\n/);
});

check('a subclass of lib/master works on the JavaScript master, too', async t => {
  const { baseDir } = install();
  const app = await t.ready(on({ arch: 'ia32' }, {
    script: 'subclass-midway.js',
    scriptArgs: { cluster: 'egg-cluster' },
    options: { workers: 1, env: 'prod', baseDir },
  }));
  const { argv } = (await get(app.port)).json;
  assert.strictEqual(argv[1], path.join(baseDir, 'own_app_worker.js'));
});

check('the JavaScript master refuses to be a guest in another program', async t => {
  const app = await t.start(on({ arch: 'ia32' }, { options: { exitProcess: false } }));
  const { error } = await app.report('thrown');
  assert.strictEqual(error.name, 'TypeError');
  assert.match(error.message, /^options\.exitProcess false is not possible on \w+-ia32: there is no native master/);
  assert.strictEqual((await app.end()).code, 99);
});

const egg4 = egg('egg4');

ownOnly('is JavaScript on every platform', 'the JavaScript master refuses Egg 4, which it cannot start', { skip: egg4.skip }, async t => {
  const { options, ...config } = on({ arch: 'ia32' });
  const app = await t.start({ ...config, options: { ...options, framework: egg4.framework } });
  const { error } = await app.report('thrown');
  assert.match(error.message, /no native master for \w+-ia32, and the JavaScript egg-cluster 2\.5\.0 cannot start the Egg 4 of /);
  assert.strictEqual((await app.end()).code, 99);
});

const MISSING = [
  [{ platform: 'linux', arch: 'x64', libc: 'gnu' }, 'linux-x64-gnu' ],
  [{ platform: 'linux', arch: 'x64', libc: 'musl' }, 'linux-x64-musl' ],
  [{ platform: 'linux', arch: 'arm64', libc: 'gnu' }, 'linux-arm64-gnu' ],
  [{ platform: 'linux', arch: 'arm64', libc: 'musl' }, 'linux-arm64-musl' ],
  [{ platform: 'darwin', arch: 'x64' }, 'darwin-x64' ],
  [{ platform: 'darwin', arch: 'arm64' }, 'darwin-arm64' ],
];

for (const [ platform, target ] of MISSING) {
  check(`${target} without its binary: the error names the package and what to do`, async t => {
    const app = await t.start(on(platform));
    const { error } = await app.report('thrown');
    assert.strictEqual(error.code, 'ERR_EGG_CLUSTER_RS_BINDING');
    assert.ok(error.message.startsWith(
      `egg-cluster-rs cannot load its native binding for ${target}: install the optional dependency @egg-cluster-rs/binding-${target} `,
    ), error.message);
    assert.strictEqual((await app.end()).code, 99);
  });
}
