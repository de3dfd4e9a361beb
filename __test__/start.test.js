'use strict';

const assert = require('assert');
const { test } = require('./helper/test');
const { root } = require('./helper/cluster');
const { get } = require('./helper/http');

test('the agent starts first, the app workers after it has said so', async t => {
  const app = await t.ready({ options: { workers: 2 }, mini: { agent: { readyDelay: 300 } } });
  const started = app.out.search(/agent_worker#1:\d+ started \(\d+ms\)/);
  const forked = app.out.search(/app_worker#1:\d+ start, state: none/);
  assert.ok(started > 0 && forked > started, app.out);
});

test('egg-ready tells the parent port, address and protocol', async t => {
  const app = await t.start({ options: { workers: 2 } });
  const message = await app.message('egg-ready');
  assert.deepStrictEqual(message, {
    action: 'egg-ready',
    to: 'parent',
    from: 'master',
    data: { port: app.port, address: `http://127.0.0.1:${app.port}`, protocol: 'http' },
  });
});

test('egg-ready brings every app worker and the agent the full options', async t => {
  const app = await t.ready({ options: { workers: 2, title: 'a title', custom: { kept: [ 1, 'two' ] } } });
  await app.until('egg-ready at both apps and the agent', () => receiversOf(app, 'egg-ready').length >= 3);
  const received = receiversOf(app, 'egg-ready');
  assert.deepStrictEqual(received.map(r => r.role).sort(), [ 'agent', 'app', 'app' ]);
  for (const { role, message } of received) {
    assert.strictEqual(message.from, 'master');
    assert.strictEqual(message.to, role);
    const { baseDir, framework, workers, port, title, custom, clusterPort } = message.data;
    assert.deepStrictEqual({ baseDir, framework, workers, port, title, custom }, { ...app.options, custom: { kept: [ 1, 'two' ] } });
    assert.ok(Number.isInteger(clusterPort) && clusterPort > 0);
  }
});

test('the callback runs once, without an argument, when everything serves', async t => {
  const app = await t.start();
  const { argument } = await app.report('callback');
  assert.strictEqual(argument, false);
  assert.strictEqual((await get(app.port)).status, 200);
  await app.close();
  assert.strictEqual(app.found(m => m.action === 'test:report' && m.data.type === 'callback').length, 1);
});

test('without a parent channel the application starts, serves and ends all the same', async t => {
  const app = await t.start({ ipc: false });
  await app.stdout(/started on http/);
  assert.strictEqual((await get(app.port)).status, 200);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.strictEqual(app.err, '');
});

test('each worker serves', async t => {
  const app = await t.ready({ options: { workers: 3 } });
  const pids = await app.workerPids();
  const serving = new Set();
  for (let i = 0; i < 30; i++) serving.add((await get(app.port)).json.pid);
  assert.deepStrictEqual([ ...serving ].sort(), pids.sort());
});

test('workers given as a string count', async t => {
  const app = await t.ready({ options: { workers: '2' } });
  assert.strictEqual((await app.workerPids(2)).length, 2);
});

test('without a number of workers there is one for each processor', async t => {
  const app = await t.start({ options: { workers: undefined } });
  await app.ready();
  const expected = require('os').cpus().length;
  assert.strictEqual((await app.workerPids(expected)).length, expected);
});

for (const [ name, env, options ] of [
  [ 'in production', { NODE_ENV: 'production' }, { env: 'prod' } ],
  [ 'without an environment', {}, {} ],
  [ 'in local', {}, { env: 'local' } ],
]) {
  test(`stderr stays exactly empty on a normal start and end ${name}`, async t => {
    const app = await t.ready({ options: { workers: 2, ...options }, env });
    await get(app.port);
    await app.close();
    assert.strictEqual(app.err, '');
  });
}

test('production is every env but local and unittest, else NODE_ENV=production', async t => {
  const cases = [
    [ { env: 'prod' }, {}, true ],
    [ { env: 'unittest' }, { NODE_ENV: 'production' }, false ],
    [ {}, { NODE_ENV: 'production' }, true ],
    [ {}, { EGG_SERVER_ENV: 'stage' }, true ],
    [ {}, {}, false ],
  ];
  for (const [ options, env, production ] of cases) {
    const app = await t.ready({ options, env });
    await app.stdout(new RegExp(`start with env: isProduction: ${production}, EGG_SERVER_ENV: `));
    await app.close();
  }
});

test('NO_DEPRECATION is set for the workers when NODE_ENV is production', async t => {
  const app = await t.ready({ env: { NODE_ENV: 'production' } });
  const { env } = await app.ask('app', 'info', { env: [ 'NO_DEPRECATION' ] });
  assert.deepStrictEqual(env, { NO_DEPRECATION: '*' });
});

test('the framework is found by the package.json of the application', async t => {
  const app = await t.ready({ app: 'names-framework', options: { framework: undefined } });
  await app.stdout(/\[master\] framework-by-name version 3\.2\.1/);
});

test('baseDir is the current directory by default', async t => {
  const app = await t.ready({ options: { baseDir: undefined }, cwd: `${root}/__test__/fixtures/apps/mini` });
  const { argv } = await app.ask('app', 'info');
  assert.strictEqual(JSON.parse(argv[2]).baseDir, `${root}/__test__/fixtures/apps/mini`);
});

function receiversOf(app, action) {
  return app.allGot(({ message }) => message.action === action);
}
