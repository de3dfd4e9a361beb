'use strict';

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const path = require('path');
const { once } = require('events');
const { test, ownOnly } = require('./helper/test');
const { fixtures } = require('./helper/cluster');
const { get, tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');

const tls = { key: path.join(fixtures, 'tls/key.pem'), cert: path.join(fixtures, 'tls/cert.pem') };
const hasIPv6 = Object.values(require('os').networkInterfaces()).flat().some(i => i.address === '::1');

function mini(switches) {
  return { app: switches };
}

test('the port of the options wins over the configuration', async t => {
  const configured = await freePort();
  const app = await t.start({ mini: mini({ listen: { port: configured } }) });
  const { port } = await app.ready();
  assert.strictEqual(port, app.port);
  assert.strictEqual(await tryConnect({ port: configured, host: '127.0.0.1' }), 'ECONNREFUSED');
});

for (const [ name, deletePort ] of [ [ 'without a port in the options', false ], [ 'when the application deletes that of the options', true ] ]) {
  test(`the port of the configuration serves ${name}`, async t => {
    const configured = await freePort();
    const options = deletePort ? {} : { port: undefined };
    const app = await t.start({ options, mini: mini({ listen: { port: configured }, deletePort }) });
    const { port, address } = await app.ready();
    assert.deepStrictEqual({ port, address }, { port: configured, address: `http://127.0.0.1:${configured}` });
    assert.strictEqual((await get(configured)).status, 200);
  });
}

test('the default bind serves every address of both families', async t => {
  const app = await t.ready();
  for (const host of [ '127.0.0.1', '127.0.0.2', 'localhost', ...(hasIPv6 ? [ '::1' ] : []) ]) {
    assert.strictEqual((await get(app.port, '/', { host })).status, 200, host);
  }
});

test('a hostname of the configuration is the only address that serves', async t => {
  const app = await t.start({ mini: mini({ listen: { hostname: '127.0.0.1' } }) });
  const { address } = await app.ready();
  assert.strictEqual(address, `http://127.0.0.1:${app.port}`);
  await app.stdout(/listening on \{"addressType":4,"address":"127\.0\.0\.1"/);
  assert.strictEqual((await get(app.port)).status, 200);
  assert.strictEqual(await tryConnect({ port: app.port, host: '127.0.0.2' }), 'ECONNREFUSED');
  if (hasIPv6) assert.strictEqual(await tryConnect({ port: app.port, host: '::1' }), 'ECONNREFUSED');
});

for (const [ HOST, expected ] of [ [ '127.0.0.9', '127.0.0.9' ], [ '0.0.0.0', '127.0.0.1' ] ]) {
  test(`HOST=${HOST} makes the address http://${expected}:port`, async t => {
    const app = await t.start({ env: { HOST } });
    const { address } = await app.ready();
    assert.strictEqual(address, `http://${expected}:${app.port}`);
    await app.stdout(new RegExp(`started on http://${expected}:${app.port} \\(`));
  });
}

test('a unix path of the configuration is address and place of service, and gone at the end', async t => {
  const socket = path.join(require('os').tmpdir(), `egg-cluster-test-${process.pid}.sock`);
  const app = await t.start({ options: { port: undefined, workers: 2 }, mini: mini({ listen: { path: socket } }) });
  const { address } = await app.ready();
  assert.strictEqual(address, socket);
  assert.ok(app.out.includes(`started on ${socket} (`), app.out);
  for (let i = 0; i < 4; i++) assert.strictEqual((await get(socket)).status, 200);
  await app.close();
  assert.strictEqual(fs.existsSync(socket), false);
});

test('debugPort is told, logged and serves beside the port', { skip: listensOnce() }, async t => {
  const debugPort = await freePort();
  const app = await t.start({ options: { debugPort, workers: 2 } });
  const ready = await app.ready();
  assert.deepStrictEqual(ready, { port: app.port, debugPort, address: `http://127.0.0.1:${app.port}`, protocol: 'http' });
  assert.strictEqual((await get(app.port)).status, 200);
  assert.strictEqual((await get(debugPort)).status, 200);
});

test('https of the options serves https; debugPort is told, logged and serves plain http beside it', async t => {
  const debugPort = await freePort();
  const app = await t.start({ options: { https: tls, debugPort, workers: 2 } });
  const ready = await app.ready();
  assert.deepStrictEqual(ready, { port: app.port, debugPort, address: `https://127.0.0.1:${app.port}`, protocol: 'https' });
  await app.stdout(new RegExp(`framework-mini started on http://127\\.0\\.0\\.1:${debugPort}$`, 'm'));
  for (let i = 0; i < 4; i++) {
    assert.strictEqual((await get(app.port, '/', { https: true })).status, 200);
    assert.strictEqual((await get(debugPort)).status, 200);
  }
});

test('https of the configuration makes the protocol https', async t => {
  const app = await t.start({ mini: mini({ https: tls }) });
  const { address, protocol } = await app.ready();
  assert.deepStrictEqual({ address, protocol }, { address: `https://127.0.0.1:${app.port}`, protocol: 'https' });
  assert.strictEqual((await get(app.port, '/', { https: true })).status, 200);
});

test('other ports of the application serve but do not make it ready', async t => {
  const [ extra, second ] = [ await freePort(), await freePort() ];
  const app = await t.start({ options: { workers: 2 }, mini: mini({ extraPorts: [ extra, second ], readyDelay: 500 }) });
  for (const port of [ extra, second ]) {
    for (const id of [ 1, 2 ]) await app.stdout(new RegExp(`app_worker#${id}:\\d+ listening on \\{"addressType":4,"address":null,"port":${port}`));
  }
  assert.deepStrictEqual(app.found('egg-ready'), []);
  assert.strictEqual((await get(extra)).body, `extra ${extra}`);
  await app.ready();
  assert.strictEqual(app.out.match(/started at \d+/g).join(), `started at ${app.port},started at ${app.port}`);
  assert.strictEqual((await get(second)).body, `extra ${second}`);
  assert.strictEqual((await get(app.port)).status, 200);
});

test('a port taken by another program ends the start with what a cluster child prints', async t => {
  const port = await freePort();
  const other = net.createServer();
  await once(other.listen(port), 'listening');
  t.after(() => other.close());
  const app = await t.start({ options: { port } });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  assert.ok(app.err.includes(`[app_worker] server got error: bind EADDRINUSE null:${port}, code: EADDRINUSE\n`), app.err);
  await app.stderr(/app_worker#1:\d+ start fail, exiting with code:1/);
});

test('a hostname that is not of this machine ends the start', async t => {
  const app = await t.start({ mini: mini({ listen: { hostname: '192.0.2.1' } }) });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  assert.ok(app.err.includes(
    `[app_worker] server got error: bind EADDRNOTAVAIL 192.0.2.1:${app.port}, code: EADDRNOTAVAIL\n`), app.err);
});

test('a unix path that exists ends the start', async t => {
  const socket = path.join(require('os').tmpdir(), `egg-cluster-test-taken-${process.pid}.sock`);
  fs.writeFileSync(socket, '');
  t.after(() => fs.unlinkSync(socket));
  const app = await t.start({ options: { port: undefined }, mini: mini({ listen: { path: socket } }) });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  await app.stderr(/\[app_worker\] server got error: bind EADDRINUSE .*, code: EADDRINUSE\n/);
});

test('a port below 1024 without the right to it ends the start', { skip: privileged() }, async t => {
  const app = await t.start({ options: { port: 79 } });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  assert.ok(app.err.includes('[app_worker] server got error: bind EACCES null:79, code: EACCES\n'), app.err);
});

const linuxOnly = { skip: process.platform !== 'linux' && 'Linux only' };

test('reusePort serves', linuxOnly, async t => {
  const app = await t.ready({ options: { reusePort: true, workers: 2 } });
  for (let i = 0; i < 8; i++) assert.strictEqual((await get(app.port)).status, 200);
});

ownOnly(
  'counts a worker twice where Node has no reusePort for TCP',
  'reusePort: a worker counts once, so that egg-ready waits for all of them',
  linuxOnly,
  async t => {
    const app = await t.ready({
      options: { reusePort: true, workers: 2 },
      mini: mini({ byIndex: [ {}, { readyDelay: 700 } ] }),
    });
    assert.deepStrictEqual(app.out.match(/remain \d/g), [ 'remain 1', 'remain 0' ]);
    await app.stdout(/app_worker#2:\d+ started at/);
  });

test('the body of a large request comes through whole', async t => {
  const app = await t.ready({ options: { workers: 2 } });
  const body = 'x'.repeat(3 << 20);
  assert.strictEqual((await get(app.port, '/echo', { body })).body, body);
});

// app_worker.js calls `listen` twice on one server; on Node 18.20 and later the second replaces the first.
function listensOnce() {
  return Number(process.versions.node.split('.')[0]) >= 18 && 'app_worker.js cannot do it with plain http on Node 18 and later';
}

function privileged() {
  if (process.getuid && process.getuid() === 0) return 'root may bind every port';
  try {
    const lowest = Number(fs.readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8'));
    return lowest <= 79 && 'everybody may bind port 79 here';
  } catch (_) {
    return false;
  }
}
