'use strict';

const assert = require('assert');
const dgram = require('dgram');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { once } = require('events');
const { test, ownOnly } = require('./helper/test');
const { get, tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { poll } = require('./helper/processes');

const hasIPv6 = Object.values(os.networkInterfaces()).flat().some(i => i.address === '::1');
const needsIPv6 = { skip: !hasIPv6 && 'no ::1 here' };

async function start(t, config = {}) {
  const app = await t.ready({ app: 'protocol', ...config, options: { workers: 2, ...config.options } });
  return { app, pids: await app.workerPids() };
}

const onAll = (app, name, args) => app.askAll(app.options.workers, 'app', name, args);

/** What a server says until it hangs up. */
function hear(where) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(where);
    let text = '';
    socket.setEncoding('utf8');
    socket.setTimeout(5000, () => socket.destroy(new Error('silence')));
    socket.on('data', chunk => {
      text += chunk;
    });
    socket.on('end', () => resolve(text));
    socket.on('error', reject);
  });
}

async function assertServedByAll(where, pids) {
  const heard = new Set();
  for (let i = 0; i < 40 && heard.size < pids.length; i++) heard.add(Number(await hear(where)));
  assert.deepStrictEqual([ ...heard ].sort(), [ ...pids ].sort());
}

test('listen(0) gives every worker the same port, and the second one another', async t => {
  const { app, pids } = await start(t);
  const first = await onAll(app, 'listen', { name: 'first', where: { port: 0 } });
  const second = await onAll(app, 'listen', { name: 'second', where: { port: 0 } });
  assert.strictEqual(first[0].port, first[1].port);
  assert.strictEqual(second[0].port, second[1].port);
  assert.notStrictEqual(first[0].port, second[0].port);
  await assertServedByAll({ port: first[0].port }, pids);
  await assertServedByAll({ port: second[0].port }, pids);
});

test('server.address() tells family, address and port of the real socket', async t => {
  const { app } = await start(t, { options: { workers: 1 } });
  const port = await freePort();
  const address = await app.ask('app', 'listen', { name: 'a', where: { port, host: '127.0.0.1' } });
  assert.deepStrictEqual(address, { address: '127.0.0.1', family: 'IPv4', port });
});

test('ipv6Only serves no IPv4, and leaves the port to an IPv4 server', needsIPv6, async t => {
  const { app, pids } = await start(t);
  const port = await freePort();
  await onAll(app, 'listen', { name: 'six', where: { port, host: '::', ipv6Only: true } });
  await assertServedByAll({ port, host: '::1' }, pids);
  assert.strictEqual(await tryConnect({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
  await onAll(app, 'listen', { name: 'four', where: { port, host: '0.0.0.0' } });
  await assertServedByAll({ port, host: '127.0.0.1' }, pids);
});

test('a unix socket is served by all, and its file goes with the last server', async t => {
  const { app, pids } = await start(t);
  const file = path.join(app.home, 'test.sock');
  await onAll(app, 'listen', { name: 'pipe', where: { path: file, readableAll: true, writableAll: true } });
  await assertServedByAll({ path: file }, pids);
  assert.strictEqual(fs.statSync(file).mode & 0o666, 0o666);
  await onAll(app, 'close', { name: 'pipe' });
  assert.ok(await poll(() => !fs.existsSync(file), 5000));
});

test('a descriptor of the master can be listened on', { skip: process.platform === 'win32' && 'no descriptors' }, async t => {
  const server = net.createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address();
  const { app, pids } = await start(t, { fds: [ server._handle.fd ] });
  server.close();
  await onAll(app, 'listen', { name: 'inherited', where: { fd: 4 } });
  await assertServedByAll({ port, host: '127.0.0.1' }, pids);
});

for (const [ type, host ] of [ [ 'udp4', '127.0.0.1' ], [ 'udp6', '::1' ] ]) {
  test(`${type}: workers share a port, given or chosen, and answer`, type === 'udp6' ? needsIPv6 : {}, async t => {
    const { app, pids } = await start(t);
    const given = await freePort();
    const addresses = await onAll(app, 'bind', { name: 'given', type, where: { port: given, address: host } });
    assert.deepStrictEqual(addresses.map(a => a.port), [ given, given ]);
    const [ one, other ] = await onAll(app, 'bind', { name: 'chosen', type, where: { port: 0, address: host } });
    assert.strictEqual(one.port, other.port);
    for (const port of [ given, one.port ]) {
      for (let i = 0; i < 10; i++) {
        const [ pid, text ] = (await askUdp(type, port, host, `n${i}`)).split(':');
        assert.ok(pids.includes(Number(pid)));
        assert.strictEqual(text, `n${i}`);
      }
    }
    await onAll(app, 'unbind', { name: 'given' });
    await onAll(app, 'bind', { name: 'given', type, where: { port: given, address: host } });
    assert.ok(await askUdp(type, given, host, 'again'));
  });
}

test('a UDP port of another program is refused with EADDRINUSE', async t => {
  const { app } = await start(t);
  const other = dgram.createSocket('udp4');
  await new Promise(resolve => other.bind(0, '127.0.0.1', resolve));
  t.after(() => other.close());
  await assert.rejects(
    onAll(app, 'bind', { name: 'taken', type: 'udp4', where: { port: other.address().port, address: '127.0.0.1' } }),
    { code: 'EADDRINUSE' });
});

test('a server can be closed and opened again on its port', async t => {
  const { app, pids } = await start(t);
  const port = await freePort();
  for (let round = 0; round < 3; round++) {
    await onAll(app, 'listen', { name: 'again', where: { port } });
    await assertServedByAll({ port }, pids);
    await onAll(app, 'close', { name: 'again' });
    assert.strictEqual(await tryConnect({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
  }
});

test('a server closed by one worker goes on being served by the other', async t => {
  const { app, pids } = await start(t);
  const port = await freePort();
  await onAll(app, 'listen', { name: 'shared', where: { port } });
  await app.ask('app', 'close', { name: 'shared' }, pids[0]);
  for (let i = 0; i < 10; i++) assert.strictEqual(await hear({ port }), String(pids[1]));
});

test('a second listen on one port in one worker is EADDRINUSE', async t => {
  const { app, pids } = await start(t);
  const port = await freePort();
  await onAll(app, 'listen', { name: 'first', where: { port } });
  await assert.rejects(app.ask('app', 'listen', { name: 'second', where: { port } }, pids[0]), err => {
    assert.strictEqual(err.code, 'EADDRINUSE');
    assert.ok(err.message.includes(`bind EADDRINUSE null:${port}`), err.message);
    return true;
  });
  await assertServedByAll({ port }, pids);
});

test('a taken port is EADDRINUSE for each worker, and can be had once it is free', async t => {
  const { app, pids } = await start(t);
  const port = await freePort();
  const other = net.createServer();
  await once(other.listen(port), 'listening');
  for (const pid of pids) {
    await assert.rejects(app.ask('app', 'listen', { name: 'taken', where: { port } }, pid), { code: 'EADDRINUSE' });
  }
  await new Promise(resolve => other.close(resolve));
  await onAll(app, 'listen', { name: 'taken', where: { port } });
  await assertServedByAll({ port }, pids);
});

test('a connection that one worker refuses by maxConnections goes to another', async t => {
  const { app, pids } = await start(t);
  const port = await freePort();
  await onAll(app, 'listen', { name: 'few', where: { port }, hold: true, maxConnections: 1 });
  const held = [];
  t.after(() => held.forEach(socket => socket.destroy()));
  const served = [];
  for (let i = 0; i < 2; i++) {
    const socket = net.connect(port, '127.0.0.1');
    held.push(socket);
    const [ pid ] = await once(socket, 'data');
    served.push(Number(pid));
  }
  assert.deepStrictEqual(served.sort(), pids.sort());
});

test('a replacement gets the listeners of the others', async t => {
  const { app, pids } = await start(t, { options: { env: 'prod' } });
  const [ { port } ] = await onAll(app, 'listen', { name: 'zero', where: { port: 0 } });
  const before = app.mark();
  process.kill(pids[0], 'SIGKILL');
  const [ , forked ] = await app.stdout(/app_worker#3:(\d+) started at/, before);
  const address = await app.ask('app', 'listen', { name: 'zero', where: { port: 0 } }, Number(forked));
  assert.strictEqual(address.port, port);
  await assertServedByAll({ port }, [ pids[1], Number(forked) ]);
});

for (const [ action, suicide ] of [ [ 'workerDisconnect', true ], [ 'workerKill', true ], [ 'disconnect', false ] ]) {
  test(`${action} from inside ends the worker, suicide: ${suicide}`, async t => {
    const { app, pids } = await start(t);
    const before = app.mark();
    app.tell('app', action, {}, pids[0]);
    await app.stdout(new RegExp(`app_worker#1:${pids[0]} disconnect, suicide: ${suicide}, state: disconnected`), before);
    await app.message('app-worker-died', before);
    await app.stderr(new RegExp(`app_worker#1:${pids[0]} died \\(code: [^,]+, signal: null, suicide: ${suicide}, state: dead\\)`));
    for (let i = 0; i < 5; i++) assert.strictEqual((await get(app.port)).json.pid, pids[1]);
  });
}

test('a socket sent to the master is acknowledged: the worker speaks on', async t => {
  const { app, pids } = await start(t);
  const server = net.createServer(socket => socket.on('error', () => {}).resume());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.after(() => server.close());
  await app.ask('app', 'sendSocket', { port: server.address().port, times: 3 }, pids[0]);
  await app.until('all six', () => app.found('with-socket').length === 3 && app.found('after-socket').length === 3);
  assert.deepStrictEqual(app.found('after-socket').map(m => m.data), [ 0, 1, 2 ]);
  await app.ask('app', 'sendServer', {}, pids[1]);
  await app.message('after-server');
  assert.strictEqual((await app.workerPids()).length, 2);
  assert.strictEqual((await get(app.port)).status, 200);
});

test('the callback of process.send is called', async t => {
  const { app, pids } = await start(t);
  assert.strictEqual(await app.ask('app', 'sendWithCallback', {}, pids[0]), 'sent');
});

test('TLS session tickets of one worker are good at the other', async t => {
  const tls = require('tls');
  const { fixtures } = require('./helper/cluster');
  const https = { key: path.join(fixtures, 'tls/key.pem'), cert: path.join(fixtures, 'tls/cert.pem') };
  const { app } = await start(t, { options: { https } });
  const where = { port: app.port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' };
  const visit = session => new Promise((resolve, reject) => {
    const socket = tls.connect({ ...where, session }, () => {
      socket.once('close', () => resolve({ session: socket.getSession() || kept, reused }));
      const reused = socket.isSessionReused();
      const kept = socket.getSession();
      socket.end();
    });
    socket.on('error', reject);
    socket.resume();
  });
  const { session } = await visit();
  const visits = [];
  for (let i = 0; i < 8; i++) visits.push((await visit(session)).reused);
  assert.deepStrictEqual(visits, Array(8).fill(true));
});

test('NODE_CLUSTER_SCHED_POLICY=none serves, replaces and ends as usual', async t => {
  const { app, pids } = await start(t, { options: { env: 'prod' }, env: { NODE_CLUSTER_SCHED_POLICY: 'none' } });
  for (let i = 0; i < 10; i++) assert.ok(pids.includes((await get(app.port)).json.pid));
  const [ one, other ] = await onAll(app, 'listen', { name: 'zero', where: { port: 0 } });
  assert.strictEqual(one.port, other.port);
  assert.ok(pids.includes(Number(await hear({ port: one.port }))));
  const before = app.mark();
  process.kill(pids[0], 'SIGKILL');
  await app.stdout(/app_worker#3:\d+ started at/, before);
  for (let i = 0; i < 10; i++) assert.notStrictEqual((await get(app.port)).json.pid, pids[0]);
});

test('a worker stuck for two seconds gets its connections afterwards, none is lost', async t => {
  const { app } = await start(t, { options: { workers: 1 } });
  app.tell('app', 'busy', { ms: 2000 });
  const answers = await Promise.all(Array.from({ length: 60 }, () => get(app.port)));
  assert.ok(answers.every(answer => answer.status === 200));
});

ownOnly(
  'a line that is no JSON throws in the master',
  'garbage on the channel of a worker is reported and ends nobody',
  async t => {
    const { app, pids } = await start(t);
    const before = app.mark();
    await app.ask('app', 'writeRaw', { text: 'garbage\n{"action":\n\n[1,2\n' }, pids[0]);
    await app.until('a warning', () => /WARN/.test(app.out.slice(before.out) + app.err.slice(before.err)));
    assert.deepStrictEqual(await app.workerPids(), pids);
    assert.doesNotMatch(app.err, /SyntaxError|uncaughtException|panic/);
    assert.strictEqual((await get(app.port)).status, 200);
  });

test('half a line before the end of a worker harms nobody', async t => {
  const { app, pids } = await start(t, { options: { env: 'prod' } });
  const before = app.mark();
  app.tell('app', 'writeRaw', { text: '{"action":"half' }, pids[0]);
  app.tell('app', 'exit', {}, pids[0]);
  await app.stdout(/app_worker#3:\d+ started at/, before);
  assert.doesNotMatch(app.err, /SyntaxError|uncaughtException|panic/);
  assert.strictEqual((await app.workerPids()).length, 2);
});

function askUdp(type, port, host, text) {
  const socket = dgram.createSocket(type);
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no datagram from ${host}:${port}`)), 5000);
    socket.once('message', answer => {
      clearTimeout(timer);
      socket.close();
      resolve(answer.toString());
    });
    socket.send(text, port, host);
  });
}
