'use strict';

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { test } = require('./helper/test');
const { get } = require('./helper/http');

const production = { env: 'prod' };

/** An application that fails at boot while a file exists. */
async function failing(t, { restart, workers = 1 }) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-crash-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'crash');
  const app = await t.ready({
    options: { ...production, workers, restart },
    mini: { app: { onlyIfFile: file, exitAtBoot: 9 } },
  });
  return { app, file };
}

/** The delays that the master has told, in ms. */
function delays(app, since) {
  return [ ...app.err.slice(since.err).matchAll(/don't fork new work at once, worker:\d+ will be replaced in (\d+)ms/g) ]
    .map(([ , ms ]) => Number(ms));
}

test('a crash loop is slowed down, and the application is back when it boots again', async t => {
  const { app, file } = await failing(t, { restart: {} });
  const [ pid ] = await app.workerPids();
  fs.writeFileSync(file, '');
  const before = app.mark();
  process.kill(pid, 'SIGKILL');
  await app.until('three delays', () => delays(app, before).length >= 3);
  const [ first, second, third ] = delays(app, before);
  assert.ok(first >= 400 && first <= 600, `${first}`);
  assert.ok(second >= 800 && second <= 1200, `${second}`);
  assert.ok(third >= 1600 && third <= 2400, `${third}`);
  assert.strictEqual(app.exited, null);
  // The connection waits at the listener of the master.
  const answer = get(app.port, '/', { timeout: 15000 });
  fs.rmSync(file);
  assert.strictEqual((await answer).status, 200);
  await app.stdout(/app_worker#\d+:\d+ started at/, before);
});

test('while one worker crashes in a loop, the other serves', async t => {
  const app = await t.ready({
    options: { ...production, workers: 2, restart: { maxDelay: 300, giveUp: 1000 } },
  });
  const [ , other ] = await app.workerPids();
  const before = app.mark();
  for (let i = 0; i < 6; i++) {
    const round = app.mark();
    const victim = (await app.workerPids()).find(pid => pid !== other);
    process.kill(victim, 'SIGKILL');
    await app.stdout(/app_worker#\d+:\d+ started at/, round);
    assert.strictEqual((await get(app.port)).status, 200);
  }
  assert.ok(delays(app, before).length >= 2);
  assert.ok(delays(app, before).every(ms => ms <= 300));
});

test('a master that cannot bring its application up again exits with 69', async t => {
  const { app, file } = await failing(t, { workers: 2, restart: { maxDelay: 200, giveUp: 3000 } });
  fs.writeFileSync(file, '');
  const before = app.mark();
  const start = Date.now();
  for (const pid of await app.workerPids()) process.kill(pid, 'SIGKILL');
  assert.deepStrictEqual(await app.end(), { code: 69, signal: null });
  assert.ok(Date.now() - start >= 3000);
  assert.match(app.err.slice(before.err),
    /\[master\] no app worker has been ready for \d+ms and restarts do not help, giving up, exiting with code:69\n/);
  assert.match(app.err, /\[master\] exit with code:69\n/);
  await app.noLeftovers();
  // What endWell awaits of a master is a code 0.
  app.close = async () => ({ code: 0 });
});

test('the limit of all together is told once, in cfork\'s words', async t => {
  const { app, file } = await failing(t, { workers: 3, restart: { maxDelay: 300, intensity: { limit: 5 } } });
  fs.writeFileSync(file, '');
  const before = app.mark();
  for (const pid of await app.workerPids()) process.kill(pid, 'SIGKILL');
  await app.stderr(/\[cfork:master:\d+\] worker died too fast \(total \d+ disconnect, 0 unexpected exit\)\n/, before);
  await app.until('ten delays', () => delays(app, before).length >= 10);
  assert.strictEqual(app.err.slice(before.err).match(/worker died too fast/g).length, 1);
});

test('options that make no sense are refused at once', async t => {
  const app = await t.start({ options: { restart: { maxDelay: -1 } } });
  const { error } = await app.report('thrown');
  assert.strictEqual(error.name, 'RangeError');
  assert.match(error.message, /^options\.restart\.maxDelay must be a whole number of ms between 1 and \d+, but got -1/);
  await app.end();
});
