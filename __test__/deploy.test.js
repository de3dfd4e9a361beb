'use strict';

// deploy/start.js with a real Egg application, as images and units start it.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { copyApp, root } = require('./helper/cluster');
const { get } = require('./helper/http');
const { freePort } = require('./helper/ports');

ownOnly('it is a file of this repository', 'the start file of deploy/ serves, answers probes over TCP, and ends with code 0', async t => {
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-deploy-')));
  t.after(() => fs.rmSync(home, { recursive: true, force: true, maxRetries: 3 }));
  const baseDir = copyApp('egg', home);
  fs.copyFileSync(path.join(root, 'deploy/start.js'), path.join(baseDir, 'start.js'));
  fs.mkdirSync(path.join(home, 'packages'));
  fs.symlinkSync(root, path.join(home, 'packages/egg-cluster-rs'));
  const [ port, probes ] = [ await freePort(), await freePort() ];
  const app = await t.ready({
    cwd: baseDir, args: [ 'start.js' ], options: { port },
    env: { PORT: String(port), WORKERS: '1', PROBES: `127.0.0.1:${probes}`, NODE_PATH: path.join(home, 'packages') },
  });
  for (const probe of [ '/healthz', '/readyz' ]) assert.strictEqual((await get(probes, probe)).status, 200);
  assert.match((await get(probes, '/metrics')).body, /^egg_cluster_/m);
  assert.strictEqual((await get(port)).status, 200);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
});
