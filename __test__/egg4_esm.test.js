'use strict';

// Egg 4 with an application of ES modules, and the workers of @eggjs/cluster 3 in that form.

const assert = require('assert');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { startEgg } = require('./helper/egg_app');
const { promise } = require('./helper/egg_promises');
const { egg } = require('./helper/eggs');

const installed = egg('egg4');
// Its HTTP client asks for it, which the CommonJS form loads later or never.
const noFile = typeof File === 'undefined' && 'needs the global File of Node 20';
const egg4 = { ...installed, skip: installed.skip || noFile };

promise({ name: 'Egg 4 with ES modules', ...egg4, app: 'egg-esm', scripts: '/egg4/node_modules/@eggjs/cluster/dist/esm' });

const noStripping = process.features.typescript ? false : `Node ${process.versions.node} does not read TypeScript by itself`;

ownOnly('runs worker scripts of its own', 'a framework of TypeScript and ES modules', { skip: egg4.skip || noStripping }, async t => {
  const framework = path.join(egg4.cwd, 'framework-ts-esm');
  const { app, pids } = await startEgg(t, framework, { app: 'egg-esm', cwd: egg4.cwd, env: { EGG_TS_ENABLE: 'true' } });
  for (const pid of pids) await app.stdout(new RegExp(`\\[framework-ts-esm\\] app ${pid} is ready`));
  assert.strictEqual((await get(app.port)).status, 200);
});
