'use strict';

const assert = require('assert');
const http = require('http');
const { test, ownOnly } = require('./helper/test');
const { get, tryConnect } = require('./helper/http');

const clients = Array.from({ length: 12 }, (_, i) => `127.0.0.${i + 1}`);

async function start(t, options = {}) {
  return t.ready({ options: { workers: 3, sticky: true, ...options } });
}

async function pidFor(app, localAddress) {
  return (await get(app.port, '/', { localAddress })).json.pid;
}

test('the start says STICKY MODE and tells the public port', async t => {
  const app = await t.start({ options: { workers: 2, sticky: true } });
  const { port, address } = await app.ready();
  assert.deepStrictEqual({ port, address }, { port: app.port, address: `http://127.0.0.1:${app.port}` });
  await app.stdout(new RegExp(`\\[master\\] framework-mini started on http://127\\.0\\.0\\.1:${app.port} \\(\\d+ms\\) with STICKY MODE!\n`));
});

test('the workers are given stickyWorkerPort and listen on it, at 127.0.0.1', async t => {
  const app = await start(t);
  const { stickyWorkerPort, clusterPort } = JSON.parse((await app.askAll(3, 'app', 'info'))[0].argv[2]);
  assert.ok(stickyWorkerPort > 0 && stickyWorkerPort !== clusterPort);
  for (const id of [ 1, 2, 3 ]) {
    await app.stdout(new RegExp(`app_worker#${id}:\\d+ listening on \\{"addressType":4,"address":"127\\.0\\.0\\.1","port":${stickyWorkerPort}`));
  }
});

test('a client always comes to the same worker, different clients to different ones', async t => {
  const app = await start(t);
  const pids = await app.workerPids();
  const first = {};
  for (const client of clients) first[client] = await pidFor(app, client);
  for (let round = 0; round < 4; round++) {
    for (const client of clients) assert.strictEqual(await pidFor(app, client), first[client], client);
  }
  const used = new Set(Object.values(first));
  assert.ok(used.size > 1 && [ ...used ].every(pid => pids.includes(pid)), [ ...used ].join());
});

test('a request with a body and a kept connection come through whole', async t => {
  const app = await start(t);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.after(() => agent.destroy());
  const body = 'b'.repeat(1 << 20);
  for (let i = 0; i < 5; i++) assert.strictEqual((await get(app.port, '/echo', { body, agent })).body, body);
});

test('many connections at once are all served', async t => {
  const app = await start(t, { workers: 2 });
  const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => get(app.port, '/', { localAddress: clients[i % 12] })));
  assert.ok(answers.every(answer => answer.status === 200));
});

test('in production a dead worker is replaced and its clients are served', async t => {
  const app = await start(t, { env: 'prod', workers: 2 });
  const victim = await pidFor(app, '127.0.0.1');
  const before = app.mark();
  process.kill(victim, 'SIGKILL');
  await app.stdout(/app_worker#3:\d+ started at/, before);
  const pids = await app.workerPids();
  const now = await pidFor(app, '127.0.0.1');
  assert.ok(pids.includes(now) && now !== victim);
  for (let i = 0; i < 5; i++) assert.strictEqual(await pidFor(app, '127.0.0.1'), now);
});

test('https works', async t => {
  const path = require('path');
  const { fixtures } = require('./helper/cluster');
  const https = { key: path.join(fixtures, 'tls/key.pem'), cert: path.join(fixtures, 'tls/cert.pem') };
  const app = await start(t, { https, workers: 2 });
  assert.strictEqual((await get(app.port, '/', { https: true })).status, 200);
});

test('the close is as clean as without sticky', async t => {
  const app = await start(t, { env: 'prod' });
  await pidFor(app, '127.0.0.1');
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.strictEqual(app.err, '');
  assert.strictEqual(await tryConnect({ port: app.port, host: '127.0.0.1' }), 'ECONNREFUSED');
});

ownOnly(
  'listens on a real port of 127.0.0.1',
  'stickyWorkerPort is open to nobody',
  async t => {
    const app = await start(t);
    const { stickyWorkerPort } = JSON.parse((await app.askAll(3, 'app', 'info'))[0].argv[2]);
    assert.strictEqual(await tryConnect({ port: stickyWorkerPort, host: '127.0.0.1' }), 'ECONNREFUSED');
  });

ownOnly(
  'picks workers that are not ready; an empty slot crashes the master',
  'while a worker boots again its clients are served by others, and it gets no other clients\' ones',
  async t => {
    const app = await start(t, { env: 'prod' });
    const first = {};
    for (const client of clients) first[client] = await pidFor(app, client);
    const victim = first['127.0.0.1'];
    const before = app.mark();
    process.kill(victim, 'SIGKILL');
    await app.stderr(/new worker:\d+ fork/, before);
    for (const client of clients) {
      const pid = await pidFor(app, client);
      if (first[client] === victim) assert.notStrictEqual(pid, victim);
      else assert.strictEqual(pid, first[client]);
    }
  });
