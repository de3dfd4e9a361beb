'use strict';

const assert = require('assert');
const { test, ownOnly } = require('./helper/test');
const { freePort } = require('./helper/ports');
const { tryConnect } = require('./helper/http');

const production = { env: 'prod' };

async function assertFailedStart(app) {
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  await app.stderr(new RegExp(`ERROR ${app.pid} \\[master\\] exit with code:1\n`));
  assert.deepStrictEqual(app.found('egg-ready'), []);
  assert.ok(app.closedAt - app.exitedAt < 1500, `children held stdout for ${app.closedAt - app.exitedAt} ms`);
  await app.noLeftovers(2000);
}

const agentFailures = {
  'throws while it loads': { env: { MINI_THROW_AT_LOAD: 'agent' }, says: /Error: thrown while agent loads/ },
  'throws in its constructor': { agent: { throwInConstructor: 'no agent today' }, says: /nodejs\.Error: no agent today/ },
  'fails ready': { agent: { failReady: 'agent not ready' }, says: /agent not ready[^]*\[agent_worker\] start error, exiting with code:1/ },
  'exits while it boots': { agent: { exitAtBoot: 7 }, says: /died \(code: 7, signal: null\)/ },
};

for (const [ name, { env, agent, says } ] of Object.entries(agentFailures)) {
  test(`the master exits with 1 when the agent ${name}, and forks no app worker`, async t => {
    const app = await t.start({ options: { ...production, workers: 2 }, env, mini: { agent } });
    await assertFailedStart(app);
    await app.stderr(says);
    await app.stderr(/nodejs\.AgentWorkerDiedError: \[master\] agent_worker#1:\d+ died \(code: /);
    await app.stderr(/\[master\] agent_worker#1:\d+ start fail, exiting with code:1\n/);
    assert.doesNotMatch(app.out + app.err, /app_worker#1:|agent_worker#2:/);
  });
}

test('the master exits with 1 when the agent dies while the app workers boot, and restarts nothing', async t => {
  const app = await t.start({ options: production, mini: { app: { neverReady: true } } });
  await app.stdout(/app_worker#1:\d+ start, state/);
  app.tell('agent', 'exit', { code: 5 });
  await assertFailedStart(app);
  await app.stderr(/\[master\] agent_worker#1:\d+ died \(code: 5, signal: null\)/);
  await app.stderr(/\[master\] agent_worker#1:\d+ start fail, exiting with code:1\n/);
  assert.doesNotMatch(app.out + app.err, /agent_worker#2:|app_worker#2:/);
});

const appFailures = {
  'throws while it loads': { env: { MINI_THROW_AT_LOAD: 'app' }, says: /Error: thrown while app loads/ },
  'throws in its constructor': { app: { throwInConstructor: 'no app today' }, says: /nodejs\.Error: no app today/ },
  'emits an error': { app: { emitError: 'an error event' }, says: /Error: an error event/ },
  'fails ready': { app: { failReady: 'app not ready' }, says: /app not ready[^]*\[app_worker\] start error, exiting with code:1/ },
  'exits while it boots': { app: { exitAtBoot: 9 }, says: /app_worker#1:\d+ died \(/ },
  'takes too long': { app: { startTimeout: 200 }, says: /\[app_worker\] start timeout, exiting with code:1/ },
  'has no port': { options: { port: undefined }, says: /\[app_worker\] port should be number, but got null\(object\)|\[app_worker\] port should be number, but got undefined\(undefined\)/ },
  'has a text for a port': { options: { port: undefined }, app: { listen: { port: '8080' } }, says: /\[app_worker\] port should be number, but got 8080\(string\)/ },
};

for (const [ name, { env, app: switches, options, says } ] of Object.entries(appFailures)) {
  test(`the master exits with 1 when the application ${name}, and does not fork again`, async t => {
    const app = await t.start({ options: { ...production, ...options }, env, mini: { app: switches } });
    await assertFailedStart(app);
    await app.stderr(says);
    await app.stderr(/nodejs\.AppWorkerDiedError: \[master\] app_worker#1:\d+ died \(code: /);
    await app.stderr(/\[master\] app_worker#1:\d+ start fail, exiting with code:1\n/);
    assert.doesNotMatch(app.out + app.err, /app_worker#2:|new worker:\d+ fork/);
  });
}

test('one failing app worker of three ends the start', async t => {
  const app = await t.start({
    options: { ...production, workers: 3 },
    mini: { app: { byIndex: [ {}, { readyDelay: 300, failReady: 'not this one' } ] } },
  });
  await assertFailedStart(app);
  await app.stderr(/\[master\] app_worker#2:\d+ start fail, exiting with code:1\n/);
  assert.doesNotMatch(app.out, /app_worker#4:/);
  assert.strictEqual(await tryConnect({ port: app.port, host: '127.0.0.1' }), 'ECONNREFUSED');
});

test('an app worker killed while it boots ends the start', async t => {
  const app = await t.start({ options: production, mini: { app: { neverReady: true } } });
  const [ , pid ] = await app.stdout(/app_worker#1:(\d+) start, state/);
  process.kill(Number(pid), 'SIGKILL');
  await assertFailedStart(app);
  await app.stderr(/app_worker#1:\d+ died \(code: [^,]+, signal: SIGKILL, suicide: false, state: dead\)/);
});

ownOnly(
  'the stuck worker stays behind until its loop returns',
  'a worker stuck in its boot is ended with a failed start',
  async t => {
    const app = await t.start({
      options: { ...production, workers: 2 },
      mini: { app: { byIndex: [ { readyDelay: 500, failReady: 'not this one' }, { busyAtBoot: 60000 } ] } },
    });
    await assertFailedStart(app);
    await app.stderr(/\[master\] app_worker#1:\d+ start fail, exiting with code:1\n/);
  });

ownOnly(
  'an uncaught error, and then it waits for ever',
  'sticky: a public port taken by another program ends the start',
  async t => {
    const port = await freePort();
    const other = require('net').createServer();
    await new Promise(resolve => other.listen(port, resolve));
    t.after(() => other.close());
    const app = await t.start({ options: { ...production, sticky: true, port } });
    await assertFailedStart(app);
    await app.stderr(new RegExp(`EADDRINUSE.*${port}|${port}.*EADDRINUSE`));
  });
