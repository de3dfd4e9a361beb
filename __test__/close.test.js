'use strict';

const assert = require('assert');
const { test, ownOnly } = require('./helper/test');
const { get, tryConnect } = require('./helper/http');
const { isAlive, poll } = require('./helper/processes');

const ended = { code: 0, signal: null };

for (const signal of [ 'SIGTERM', 'SIGINT', 'SIGQUIT' ]) {
  test(`${signal} ends apps, agent and master with code 0 and says so`, async t => {
    const app = await t.ready({ options: { workers: 2, env: 'prod' } });
    assert.deepStrictEqual(await app.close(signal), ended);
    const said = [
      new RegExp(`INFO ${app.pid} \\[master\\] master is killed by signal ${signal}, closing\n`),
      /\[master\] system memory: total \d+, free \d+\n/,
      /\[master\] process info: heap_limit \d+, heap_used \d+\n/,
      /\[master\] send kill SIGTERM to app workers, will exit with code:0 after 5000ms\n/,
      /\[master\] wait 5000ms\n/,
      /\[master\] send kill SIGTERM to agent worker, will exit with code:0 after 5000ms\n/,
      /\[master\] wait 5000ms\n/,
      /\[master\] kill agent worker with signal SIGTERM\n/,
      /\[master\] close done, exiting with code:0\n/,
      /\[master\] exit with code:0\n/,
    ];
    assertInOrder(app.out, said);
    assert.strictEqual(app.err, '');
  });
}

test('the apps end first, then the agent', async t => {
  const app = await t.ready({ options: { workers: 3 }, mini: { app: { closeDelay: 200 } } });
  await app.close();
  const lastApp = app.out.lastIndexOf('[mini] app ');
  const agent = app.out.search(/\[mini\] agent \d+ closing/);
  assert.strictEqual(app.out.match(/\[mini\] app \d+ closed/g).length, 3);
  assert.ok(agent > lastApp, app.out);
});

test('each app worker is logged as not to be replaced', async t => {
  const app = await t.ready({ options: { workers: 2, env: 'prod' } });
  const pids = await app.workerPids();
  await app.close();
  for (const pid of pids) {
    await app.stdout(new RegExp(`\\[cfork:master:${app.pid}\\] don't fork, because worker:${pid} will be kill soon\n`));
  }
  assert.doesNotMatch(app.out + app.err, /died \(/);
});

test('the beforeClose hooks of apps and agent are awaited', async t => {
  const app = await t.ready({ options: { workers: 2 }, mini: { app: { closeDelay: 900 }, agent: { closeDelay: 700 } } });
  const start = Date.now();
  assert.deepStrictEqual(await app.close(), ended);
  assert.ok(Date.now() - start >= 1600);
  assert.strictEqual(app.out.match(/\[mini\] (app|agent) \d+ closed/g).length, 3);
});

test('app workers that do not end are killed after EGG_MASTER_CLOSE_TIMEOUT', async t => {
  const app = await t.ready({
    options: { workers: 2 },
    mini: { app: { neverClose: true } },
    env: { EGG_MASTER_CLOSE_TIMEOUT: '1000' },
  });
  const start = Date.now();
  assert.deepStrictEqual(await app.close(), ended);
  const elapsed = Date.now() - start;
  assert.ok(elapsed >= 950 && elapsed < 4000, `${elapsed} ms`);
  assert.strictEqual(app.out.match(/\[master\] wait 1000ms\n/g).length, 2);
  assert.strictEqual(app.out.match(/\[mini\] app \d+ closing/g).length, 2);
  assert.doesNotMatch(app.out, /\[mini\] app \d+ closed/);
  await app.stdout(/\[mini\] agent \d+ closed/);
  await app.noLeftovers(1000);
});

test('EGG_APP_CLOSE_TIMEOUT and EGG_AGENT_CLOSE_TIMEOUT win over the common one', async t => {
  const app = await t.ready({
    mini: { app: { neverClose: true } },
    env: { EGG_MASTER_CLOSE_TIMEOUT: '9000', EGG_APP_CLOSE_TIMEOUT: '600', EGG_AGENT_CLOSE_TIMEOUT: '800' },
  });
  const start = Date.now();
  assert.deepStrictEqual(await app.close(), ended);
  const elapsed = Date.now() - start;
  assert.ok(elapsed >= 550 && elapsed < 4000, `${elapsed} ms`);
  await app.stdout(/to app workers, will exit with code:0 after 600ms\n/);
  await app.stdout(/to agent worker, will exit with code:0 after 800ms\n/);
});

ownOnly(
  'the agent is left running, for its `killed` is taken for its end',
  'an agent that does not end is killed after its timeout',
  async t => {
    const app = await t.ready({
      mini: { app: { neverClose: true }, agent: { neverClose: true } },
      env: { EGG_APP_CLOSE_TIMEOUT: '600', EGG_AGENT_CLOSE_TIMEOUT: '800' },
    });
    const start = Date.now();
    assert.deepStrictEqual(await app.close(), ended);
    const elapsed = Date.now() - start;
    assert.ok(elapsed >= 1300 && elapsed < 5000, `${elapsed} ms`);
    await app.noLeftovers(1000);
  });

test('descendants of app and agent that survive SIGTERM are killed too', async t => {
  const app = await t.ready({
    options: { workers: 2 },
    mini: { app: { stubbornGrandchild: true }, agent: { stubbornGrandchild: true } },
    env: { EGG_MASTER_CLOSE_TIMEOUT: '1200' },
  });
  const before = app.members().length;
  assert.strictEqual(before, 1 + 3 + 3);
  assert.deepStrictEqual(await app.close(), ended);
  await app.noLeftovers(1000);
});

test('descendants of a worker that does not end itself are killed with it', async t => {
  const app = await t.ready({
    mini: { app: { stubbornGrandchild: true, neverClose: true } },
    env: { EGG_MASTER_CLOSE_TIMEOUT: '1200' },
  });
  assert.deepStrictEqual(await app.close(), ended);
  await app.noLeftovers(1000);
});

test('a close while the agent boots ends with 0', async t => {
  const app = await t.start({ mini: { agent: { neverReady: true } } });
  await app.stdout(/agent_worker#1:\d+ start with clusterPort/);
  assert.deepStrictEqual(await app.close(), ended);
  assert.doesNotMatch(app.out, /app_worker#1:/);
});

test('a close while the app workers boot ends with 0', async t => {
  const app = await t.start({ options: { workers: 2, env: 'prod' }, mini: { app: { neverReady: true } } });
  await app.stdout(/app_worker#2:\d+ start, state/);
  assert.deepStrictEqual(await app.close(), ended);
  assert.doesNotMatch(app.out, /app_worker#3:/);
  assert.doesNotMatch(app.err, /start fail/);
});

test('a second, other signal does not disturb a close', async t => {
  const app = await t.ready({ options: { workers: 2 }, mini: { app: { closeDelay: 800 } } });
  app.child.kill('SIGTERM');
  await app.stdout(/\[mini\] app \d+ closing/);
  assert.deepStrictEqual(await app.close('SIGINT'), ended);
  assert.strictEqual(app.out.match(/master is killed by signal/g).length, 1);
  assert.strictEqual(app.out.match(/\[mini\] app \d+ closed/g).length, 2);
});

test('the same signal twice leaves nothing behind', async t => {
  const app = await t.ready({ options: { workers: 2 }, mini: { app: { neverClose: true } }, env: { EGG_MASTER_CLOSE_TIMEOUT: '1500' } });
  app.child.kill('SIGTERM');
  await app.stdout(/\[mini\] app \d+ closing/);
  app.child.kill('SIGTERM');
  await app.end();
  await app.noLeftovers();
});

test('Ctrl-C, which reaches every process of the terminal, ends with 0', async t => {
  const app = await t.ready({ options: { workers: 2 }, env: { EGG_MASTER_CLOSE_TIMEOUT: '1000' } });
  const others = app.leftovers().filter(pid => pid !== app.pid);
  assert.strictEqual(app.members().length, 1 + 3);
  app.child.kill('SIGINT');
  others.forEach(pid => process.kill(pid, 'SIGINT'));
  assert.deepStrictEqual(await app.end(), ended);
});

test('a close in the middle of a refork ends with 0 and forks no more', async t => {
  const app = await t.ready({ options: { workers: 2, env: 'prod' } });
  const [ first ] = await app.workerPids();
  const before = app.mark();
  process.kill(first, 'SIGKILL');
  await app.stderr(/new worker:\d+ fork/, before);
  assert.deepStrictEqual(await app.close(), ended);
  assert.doesNotMatch(app.out, /app_worker#4:/);
});

test('the port is free at once after a close', async t => {
  const app = await t.ready({ options: { workers: 2 } });
  await get(app.port);
  await app.close();
  assert.strictEqual(await tryConnect({ port: app.port, host: '127.0.0.1' }), 'ECONNREFUSED');
  const next = await t.start({ options: { port: app.port } });
  await next.ready();
  assert.strictEqual((await get(app.port)).status, 200);
});

test('the end of the master is not delayed by an open keep-alive connection', async t => {
  const app = await t.ready();
  const agent = new (require('http').Agent)({ keepAlive: true });
  t.after(() => agent.destroy());
  await get(app.port, '/', { agent });
  const start = Date.now();
  assert.deepStrictEqual(await app.close(), ended);
  assert.ok(Date.now() - start < 3000, `${Date.now() - start} ms`);
});

test('a worker stopped by SIGSTOP is killed after the timeout', async t => {
  const app = await t.ready({ options: { workers: 2 }, env: { EGG_MASTER_CLOSE_TIMEOUT: '1000' } });
  const [ first ] = await app.workerPids();
  process.kill(first, 'SIGSTOP');
  assert.deepStrictEqual(await app.close(), ended);
  assert.ok(await poll(() => !isAlive(first), 1000));
});

ownOnly(
  'cuts requests in flight',
  'requests in flight are answered within the grace period',
  async t => {
    const app = await t.ready({ options: { workers: 2, env: 'prod' } });
    const before = app.mark();
    const requests = Array.from({ length: 6 }, () => get(app.port, '/slow?ms=1000'));
    // All of them are with the workers: a request sent later is answered.
    for (let i = 0; i < 4; i++) await get(app.port);
    app.child.kill('SIGTERM');
    await app.stdout(/master is killed by signal/, before);
    const statuses = (await Promise.all(requests)).map(answer => answer.status);
    assert.deepStrictEqual(statuses, [ 200, 200, 200, 200, 200, 200 ]);
    assert.deepStrictEqual(await app.end(), ended);
  });

ownOnly(
  'workers take new connections until they end, and cut what is open then',
  'no new connection is taken once the master closes',
  async t => {
    const app = await t.ready({ mini: { app: { closeDelay: 1500 } } });
    app.child.kill('SIGTERM');
    await app.stdout(/\[mini\] app \d+ closing/);
    await assert.rejects(get(app.port, '/', { timeout: 1000 }), err => [ 'ECONNREFUSED', 'ECONNRESET' ].includes(err.code));
    assert.deepStrictEqual(await app.end(), ended);
  });

function assertInOrder(text, patterns) {
  let from = 0;
  for (const pattern of patterns) {
    const match = pattern.exec(text.slice(from));
    assert.ok(match, `${pattern} is missing or out of order in\n${text}`);
    from += match.index + match[0].length;
  }
}
