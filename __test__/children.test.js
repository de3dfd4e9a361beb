'use strict';

const assert = require('assert');
const path = require('path');
const { test } = require('./helper/test');

test('argv of an app worker is exactly node, app_worker.js and the options as compact JSON', async t => {
  const app = await t.ready({ options: { title: 'egg-server-of-test', workers: 2, custom: { kept: true } } });
  for (const { argv } of await app.askAll(2, 'app', 'info')) {
    assert.strictEqual(argv.length, 3);
    assert.strictEqual(argv[0], process.execPath);
    assert.ok(argv[1].endsWith(path.join('egg-cluster', 'lib', 'app_worker.js')), argv[1]);
    const options = JSON.parse(argv[2]);
    assert.strictEqual(argv[2], JSON.stringify(options));
    assert.ok(argv[2].includes('"title":"egg-server-of-test"'));
    assert.ok(argv[2].includes(`"baseDir":${JSON.stringify(app.options.baseDir)}`));
    assert.deepStrictEqual(options.custom, { kept: true });
    assert.ok(options.clusterPort > 0);
  }
});

test('argv of the agent is exactly node, agent_worker.js and the options as compact JSON', async t => {
  const app = await t.ready({ options: { title: 'egg-server-of-test' } });
  const { argv } = await app.ask('agent', 'info');
  assert.strictEqual(argv.length, 3);
  assert.strictEqual(argv[0], process.execPath);
  assert.ok(argv[1].endsWith(path.join('egg-cluster', 'lib', 'agent_worker.js')), argv[1]);
  const options = JSON.parse(argv[2]);
  assert.strictEqual(argv[2], JSON.stringify(options));
  assert.ok(argv[2].includes('"title":"egg-server-of-test"'));
  const [ worker ] = await app.askAll(1, 'app', 'info');
  assert.deepStrictEqual(options, JSON.parse(worker.argv[2]));
});

test('app workers are cluster workers with ids from 1, index and count', async t => {
  const app = await t.ready({ options: { workers: 3 } });
  const infos = await app.askAll(3, 'app', 'info', {
    env: [ 'CFORK_WORKER_INDEX', 'CFORK_WORKER_COUNT', 'NODE_UNIQUE_ID', 'NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE' ],
  });
  infos.sort((a, b) => a.id - b.id);
  infos.forEach((info, i) => {
    const { id, isWorker, isMaster, ppid, env } = info;
    assert.deepStrictEqual({ id, isWorker, isMaster, ppid }, { id: i + 1, isWorker: true, isMaster: false, ppid: app.pid });
    assert.deepStrictEqual(env, { CFORK_WORKER_INDEX: String(i), CFORK_WORKER_COUNT: '3' });
  });
});

test('the agent is a plain fork', async t => {
  const app = await t.ready();
  const { isWorker, isMaster, ppid, env } = await app.ask('agent', 'info', {
    env: [ 'CFORK_WORKER_INDEX', 'NODE_UNIQUE_ID', 'NODE_CHANNEL_FD' ],
  });
  assert.deepStrictEqual({ isWorker, isMaster, ppid, env }, { isWorker: false, isMaster: true, ppid: app.pid, env: {} });
});

test('execArgv, environment and working directory are inherited', async t => {
  const execArgv = [ '--no-deprecation', '--stack-trace-limit=42' ];
  const cwd = require('os').tmpdir();
  const odd = 'ümlaut = "quoted" \n second line';
  const app = await t.ready({ execArgv, cwd, env: { OF_THE_TEST: odd, EMPTY_OF_THE_TEST: '' } });
  for (const to of [ 'app', 'agent' ]) {
    const info = await app.ask(to, 'info', { env: [ 'OF_THE_TEST', 'EMPTY_OF_THE_TEST' ] });
    assert.deepStrictEqual(info.execArgv, execArgv, to);
    assert.deepStrictEqual(info.env, { OF_THE_TEST: odd, EMPTY_OF_THE_TEST: '' }, to);
    assert.strictEqual(info.cwd, require('fs').realpathSync(cwd), to);
  }
});

test('options.require is loaded in app and agent, as a text or as a list', async t => {
  const file = path.join(__dirname, 'fixtures/scripts/preloaded.js');
  for (const value of [ file, [ file ] ]) {
    const app = await t.ready({ options: { require: value } });
    for (const to of [ 'app', 'agent' ]) {
      const { env, argv } = await app.ask(to, 'info', { env: [ 'PRELOADED' ] });
      assert.deepStrictEqual(env, { PRELOADED: 'yes' });
      assert.deepStrictEqual(JSON.parse(argv[2]).require, [ file ]);
    }
    await app.close();
  }
});

test('options.require is resolved from where the worker scripts are', async t => {
  // There is no such file beside the application; a worker that does not find it ends the start.
  const app = await t.ready({ options: { require: './utils/messenger' } });
  assert.deepStrictEqual(JSON.parse((await app.ask('app', 'info')).argv[2]).require, [ './utils/messenger' ]);
});

test('what the children write goes where the master writes', async t => {
  const app = await t.ready();
  for (const to of [ 'app', 'agent' ]) {
    await app.ask(to, 'write', { stdout: `${to} to stdout\n`, stderr: `${to} to stderr\n` });
    await app.stdout(new RegExp(`^${to} to stdout$`, 'm'));
    await app.stderr(new RegExp(`^${to} to stderr$`, 'm'));
  }
});

test('when the master is killed, app and agent say so and end, the agent with 110', async t => {
  const app = await t.ready({ options: { env: 'prod', workers: 2 } });
  // Whoever is telling something at that moment ends by a broken pipe instead.
  await app.until('all have heard egg-ready', () => app.allGot(({ message }) => message.action === 'egg-ready').length === 3);
  const { signal } = await app.close('SIGKILL');
  assert.strictEqual(signal, 'SIGKILL');
  await app.noLeftovers();
  const apps = app.err.match(/\[app_worker\] receive disconnect event in cluster fork mode, exitedAfterDisconnect:false/g) || [];
  assert.strictEqual(apps.length, 2, app.err);
  await app.stderr(/\[agent_worker\] receive disconnect event on child_process fork mode, exiting with code:110/);
  await app.stderr(/\[agent_worker\] exit with code:110/);
});
