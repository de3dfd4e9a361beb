'use strict';

// What follows Egg 4.0, with the workers of @eggjs/cluster 4.

const assert = require('assert');
const { ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { startEgg } = require('./helper/egg_app');
const { promise } = require('./helper/egg_promises');
const { egg } = require('./helper/eggs');

const next = egg('egg4-next');

promise({ name: 'Egg 4.1', ...next, app: 'egg-esm', scripts: '/egg4-next/node_modules/@eggjs/cluster/dist' });

for (const where of [ 'options', 'config' ]) {
  const skip = next.skip || (process.platform !== 'linux' && 'Linux only');
  ownOnly('runs worker scripts of its own', `Egg 4.1: workers that bind the port by themselves, as the ${where} say`, { skip }, async t => {
    const config = where === 'options' ? { options: { reusePort: true } } : { env: { TEST_LISTEN: '{"reusePort":true}' } };
    const { app, pids } = await startEgg(t, next.framework, { app: 'egg-esm', cwd: next.cwd, ...config });
    await app.stdout(/app_worker#1:\d+ reuse-port listening on/);
    assert.ok(pids.includes((await get(app.port)).json.pid));
  });
}
