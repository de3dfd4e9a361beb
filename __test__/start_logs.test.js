'use strict';

const assert = require('assert');
const { test, ownOnly } = require('./helper/test');

const STAMP = String.raw`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}`;

function masterLines(app) {
  return app.out.split('\n').filter(line => line.includes('[master]'));
}

test('each line of the master has date, level and pid in front', async t => {
  const app = await t.ready({ options: { workers: 2 } });
  const lines = masterLines(app);
  assert.ok(lines.length > 10, app.out);
  for (const line of lines) assert.match(line, new RegExp(`^${STAMP} INFO ${app.pid} \\[master\\] `));
});

test('a start says who starts, with what, and where it serves', async t => {
  const app = await t.ready({ options: { workers: 2 } });
  const pids = await app.workerPids();
  const agent = await app.agentPid();
  const { port } = app;
  const expected = [
    /\[master\] =================== framework-mini start =====================$/m,
    new RegExp(`\\[master\\] node version ${process.version.replace(/\./g, '\\.')}$`, 'm'),
    /\[master\] framework-mini version 1\.2\.3$/m,
    /\[master\] start with options: \{"/,
    /\[master\] start with env: isProduction: false, EGG_SERVER_ENV: null, NODE_ENV: undefined$/m,
    new RegExp(`\\[master\\] agent_worker#1:${agent} start with clusterPort:\\d+$`, 'm'),
    new RegExp(`\\[master\\] agent_worker#1:${agent} started \\(\\d+ms\\)$`, 'm'),
    new RegExp(`\\[master\\] app_worker#1:${pids[0]} start, state: none, current workers: \\["1"(,"2")?\\]$`, 'm'),
    new RegExp(`\\[master\\] app_worker#2:${pids[1]} start, state: none, current workers: \\["1","2"\\]$`, 'm'),
    ...pids.map((pid, i) => new RegExp(
      `\\[master\\] app_worker#${i + 1}:${pid} listening on \\{"addressType":4,"address":null,"port":${port}(,"flags":0)?\\}$`, 'm')),
    ...pids.map((pid, i) => new RegExp(`\\[master\\] app_worker#${i + 1}:${pid} started at ${port}, remain [01] \\(\\d+ms\\)$`, 'm')),
    new RegExp(`\\[master\\] framework-mini started on http://127\\.0\\.0\\.1:${port} \\(\\d+ms\\)$`, 'm'),
  ];
  for (const line of expected) await app.stdout(line);
  assert.deepStrictEqual(app.out.match(/remain \d/g), [ 'remain 1', 'remain 0' ]);
});

test('in production the options are printed as indented JSON', async t => {
  const app = await t.ready({ options: { env: 'prod' } });
  const [ , json ] = /start with options:\n(\{[^]*?\n\})\n/.exec(app.out) || [];
  assert.ok(json, app.out);
  const printed = JSON.parse(json);
  assert.strictEqual(json, JSON.stringify(printed, null, 2));
  assert.strictEqual(printed.baseDir, app.options.baseDir);
  assert.strictEqual(printed.port, app.port);
  assert.strictEqual(printed.env, 'prod');
});

for (const [ name, config ] of [
  [ 'env is local', { options: { env: 'local' } } ],
  [ 'NODE_ENV is development', { env: { NODE_ENV: 'development' } } ],
]) {
  test(`when ${name}, the details are DEBUG lines and not printed by default`, async t => {
    const app = await t.ready(config);
    assert.doesNotMatch(app.out, /app_worker#1:\d+ start, state|started at|framework-mini start =/);
    await app.stdout(/framework-mini started on http/);
    await app.stdout(/agent_worker#1:\d+ started \(/);
    await app.stdout(/app_worker#1:\d+ listening on/);
  });
}

test('EGG_MASTER_LOGGER_LEVEL=DEBUG brings the details back', async t => {
  const app = await t.ready({ options: { env: 'local' }, env: { EGG_MASTER_LOGGER_LEVEL: 'DEBUG' } });
  await app.stdout(new RegExp(`^${STAMP} DEBUG ${app.pid} \\[master\\] app_worker#1:\\d+ started at`, 'm'));
});

test('EGG_MASTER_LOGGER_LEVEL=WARN silences a normal start', async t => {
  const app = await t.ready({ env: { EGG_MASTER_LOGGER_LEVEL: 'WARN' } });
  assert.doesNotMatch(app.out, /\[master\]/);
  assert.strictEqual(app.err, '');
});

test('errors go to stderr, with name, pid and hostname', async t => {
  const app = await t.start({ mini: { agent: { exitAtBoot: 3 } } });
  await app.end();
  await app.stderr(new RegExp(
    `^${STAMP} ERROR ${app.pid} nodejs\\.AgentWorkerDiedError: \\[master\\] agent_worker#1:\\d+ died \\(code: 3, signal: null\\)$`, 'm'));
  await app.stderr(/^name: "AgentWorkerDiedError"$/m);
  await app.stderr(new RegExp(`^pid: ${app.pid}$`, 'm'));
  await app.stderr(new RegExp(`^hostname: ${require('os').hostname().replace(/\./g, '\\.')}$`, 'm'));
});

ownOnly(
  'has no native side',
  'the native side says on stderr what it does when EGG_CLUSTER_RS_LOG asks for it',
  async t => {
    const app = await t.ready({ options: { workers: 1 }, env: { EGG_CLUSTER_RS_LOG: 'debug' } });
    await app.stderr(/^\S+ DEBUG egg_cluster_rs::driver::engine: event=.*"type\\":\\"ready/m);
    await app.close();
    assert.doesNotMatch(app.out, / DEBUG /);
  });
