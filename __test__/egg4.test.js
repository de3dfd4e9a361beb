'use strict';

// Egg 4, with the workers of @eggjs/cluster 3 in their CommonJS form.

const assert = require('assert');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { fixtures } = require('./helper/cluster');
const { freePort } = require('./helper/ports');
const { get } = require('./helper/http');
const { startEgg, sendNews } = require('./helper/egg_app');
const { promise } = require('./helper/egg_promises');
const { egg } = require('./helper/eggs');

const egg4 = egg('egg4');

promise({ name: 'Egg 4', ...egg4, scripts: '/egg4/node_modules/@eggjs/cluster/dist/commonjs' });

const check = (name, { skip }, body) => ownOnly('runs worker scripts of its own', name, { skip }, body);

check('Egg 4: app-start is emitted once for each worker', egg4, async t => {
  const { app } = await startEgg(t, egg4.framework, { cwd: egg4.cwd, script: 'facade.js' });
  const starts = app.found(m => m.action === 'test:report' && m.data.name === 'app-start');
  assert.deepStrictEqual(starts.map(m => m.data.args[0].address.port), [ app.port, app.port ]);
});

check('Egg 4: config.cluster.listen.port is used where the options name no port', egg4, async t => {
  const port = await freePort();
  const config = { cwd: egg4.cwd, options: { port: undefined }, env: { TEST_LISTEN: JSON.stringify({ port }) } };
  const { app } = await startEgg(t, egg4.framework, config);
  assert.strictEqual((await app.ready()).address, `http://127.0.0.1:${port}`);
  assert.strictEqual((await get(port)).status, 200);
});

check('a framework of TypeScript that only the workers can compile', egg4, async t => {
  const framework = path.join(egg4.cwd, 'framework-ts');
  const { app, pids, agent } = await startEgg(t, framework, { cwd: egg4.cwd, options: { require: path.join(fixtures, 'ts-hook.js') } });
  for (const pid of pids) await app.stdout(new RegExp(`\\[framework-ts\\] app ${pid} is ready`));
  assert.deepStrictEqual((await sendNews(app, 'how=sendToAgent', 1)).receivers, [ agent ]);
});

check('the startCluster of a framework of TypeScript', egg4, async t => {
  const framework = path.join(egg4.cwd, 'framework-ts');
  const config = { cwd: egg4.cwd, script: 'framework-start.js', execArgv: [ '--require', path.join(fixtures, 'ts-hook.js') ] };
  const { app } = await startEgg(t, framework, config);
  assert.match(app.out, /\[master\] framework-ts started on/);
  assert.strictEqual((await get(app.port)).status, 200);
});

check('Egg 4: as threads, which say that they listen by app-start alone', egg4, async t => {
  const port = await freePort();
  const options = { framework: egg4.framework, env: 'prod', startMode: 'worker_threads', port, ports: [ port ] };
  const app = await t.ready({ app: 'egg', copy: true, cwd: egg4.cwd, options });
  assert.strictEqual((await get(port)).json.pid, app.pid);
});
