'use strict';

// `reusePort` with processes. Where Node has it for TCP, each worker binds the port by itself and the
// system spreads the connections; elsewhere Node ignores the option, and the workers share what the
// master binds.

const assert = require('assert');
const { test, ownOnly } = require('./helper/test');
const { isReference } = require('./helper/cluster');
const { get, tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { skipReason, holders, listeningSockets } = require('./helper/reuse_port');

const REQUESTS = 400;
const real = { skip: skipReason() };
const shared = { skip: !real.skip && 'this Node has reusePort for TCP' };
const anyNode = { skip: process.platform !== 'linux' && 'looks into /proc' };

/** Asks until all of these processes have answered; each request has a connection of its own. */
async function askAll(port, pids) {
  const missing = new Set(pids);
  for (let i = 0; i < REQUESTS && missing.size > 0; i++) missing.delete((await get(port)).json.pid);
  assert.deepStrictEqual([ ...missing ], [], `processes that answered none of ${REQUESTS} requests`);
}

async function start(t, { options, ...config } = {}) {
  const app = await t.ready({ ...config, options: { reusePort: true, workers: 3, ...options } });
  return { app, pids: await app.workerPids() };
}

test('each worker has a socket of its own, and the master has none', real, async t => {
  const { app, pids } = await start(t);
  assert.deepStrictEqual(holders(app.port, [ app.pid, ...pids ]).flat().sort(), [ ...pids ].sort());
  for (const pid of pids) await app.stdout(new RegExp(`app_worker#\\d:${pid} reuse-port listening on `));
});

test('every worker serves', anyNode, async t => {
  const { app, pids } = await start(t);
  await askAll(app.port, pids);
});

test('where Node has no reusePort, all share one socket of the master, which is announced both ways', shared, async t => {
  const { app, pids } = await start(t);
  assert.deepStrictEqual(holders(app.port, [ app.pid, ...pids ]), [ [ app.pid ] ]);
  for (const pid of pids) {
    await app.stdout(new RegExp(`app_worker#\\d:${pid} listening on `));
    await app.stdout(new RegExp(`app_worker#\\d:${pid} reuse-port listening on `));
  }
});

/** The original counts a worker for each of its announcements. */
const once = isReference ? real : anyNode;

test('egg-ready waits for all of the workers, each of which counts once', once, async t => {
  const app = await t.ready({
    options: { reusePort: true, workers: 3 },
    mini: { app: { byIndex: [ {}, { readyDelay: 700 }, {} ] } },
  });
  await app.stdout(/started on/);
  assert.deepStrictEqual(app.out.match(/remain \d/g), [ 'remain 2', 'remain 1', 'remain 0' ]);
  await app.stdout(/app_worker#2:\d+ started at \d+, remain 0/);
  assert.strictEqual(app.found('egg-ready').length, 1);
});

ownOnly('has the address http://:::port', 'egg-ready names the address as without reusePort', anyNode, async t => {
  const app = await t.start({ options: { reusePort: true, workers: 2 } });
  const address = `http://127.0.0.1:${app.port}`;
  assert.deepStrictEqual(await app.ready(), { port: app.port, address, protocol: 'http' });
  await app.stdout(new RegExp(`started on ${address} \\(`));
});

test('the configuration of the application can ask for it, with a port and a hostname of its own', real, async t => {
  const port = await freePort();
  const app = await t.start({
    options: { workers: 2, port: undefined },
    mini: { app: { listen: { port, hostname: '127.0.0.1', reusePort: true } } },
  });
  const { address } = await app.ready();
  assert.strictEqual(address, `http://127.0.0.1:${port}`);
  assert.strictEqual(listeningSockets(port).length, 2);
  await askAll(port, await app.workerPids());
  assert.strictEqual(await tryConnect({ port, host: '127.0.0.2' }), 'ECONNREFUSED');
});

test('what dies is replaced, and the new worker binds the port, too', real, async t => {
  const { app, pids } = await start(t, { options: { env: 'prod' } });
  const before = app.mark();
  process.kill(pids[1], 'SIGKILL');
  await app.stdout(/app_worker#4:\d+ started at \d+, remain 0/, before);
  await app.message('app-worker-died', before);
  const now = await app.workerPids();
  assert.strictEqual(now.includes(pids[1]), false);
  assert.deepStrictEqual(holders(app.port, [ app.pid, ...now ]).flat().sort(), [ ...now ].sort());
  await askAll(app.port, now);
});

ownOnly('adds workers', 'a reload replaces all of them', real, async t => {
  const { app, pids } = await start(t, { options: { env: 'prod', workers: 2 } });
  const before = app.mark();
  app.send({ action: 'reload-worker', to: 'master' });
  await app.stdout(/reload done/, before);
  const now = await app.workerPids();
  assert.deepStrictEqual(now.filter(pid => pids.includes(pid)), []);
  assert.deepStrictEqual(holders(app.port, [ app.pid, ...now ]).flat().sort(), [ ...now ].sort());
  await askAll(app.port, now);
});

test('a close leaves nobody on the port', anyNode, async t => {
  const { app } = await start(t);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.deepStrictEqual(listeningSockets(app.port), []);
});

test('a port that somebody has without reusePort ends the start', anyNode, async t => {
  const port = await freePort();
  const other = require('net').createServer();
  await require('events').once(other.listen(port), 'listening');
  t.after(() => other.close());
  const app = await t.start({ options: { reusePort: true, port } });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  await app.stderr(/\[app_worker\] server got error: .*EADDRINUSE.*, code: EADDRINUSE\n/);
  await app.stderr(/app_worker#1:\d+ start fail, exiting with code:1/);
});
