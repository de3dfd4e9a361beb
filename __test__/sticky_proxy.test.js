'use strict';

// `sticky: { by: … }`: the master looks at the first bytes of a connection and takes none of them.

const assert = require('assert');
const fs = require('fs');
const http = require('http');
const net = require('net');
const path = require('path');
const tls = require('tls');
const { once } = require('events');
const { ownOnly: own } = require('./helper/test');
const { fixtures } = require('./helper/cluster');
const { get } = require('./helper/http');
const { poll } = require('./helper/processes');

const PEER = '127.0.0.1';
const clients = Array.from({ length: 12 }, (_, i) => `127.0.0.${i + 1}`);
const strangers = Array.from({ length: 60 }, (_, i) => `203.0.113.${i + 1}`);
/** Longer than any test: whoever waited for it would be seen. */
const NEVER = 60000;

const ownOnly = (name, body) => own('knows the remote address only', name, body);

function start(t, sticky, { workers = 3, ...options } = {}) {
  return t.ready({ options: { workers, sticky: { headTimeout: NEVER, ...sticky }, ...options } });
}

async function pidOf(app, headers, urlPath = '/', rest = {}) {
  return (await get(app.port, urlPath, { headers, ...rest })).json.pid;
}

const forwardedFor = client => ({ 'X-Forwarded-For': client });

/** Who serves each client, as groups that do not depend on the pids. */
async function groups(app, names, pidFor) {
  const byPid = {};
  for (const name of names) (byPid[await pidFor(name)] ||= []).push(name);
  return Object.values(byPid).map(group => group.join()).sort();
}

function connect(t, port, options = {}) {
  const socket = net.connect({ host: PEER, port, ...options });
  socket.setNoDelay(true);
  socket.on('error', () => {});
  t.after(() => socket.destroy());
  return socket;
}

/** All that a socket says until `count` answers with JSON bodies are there. */
function answers(socket, count) {
  return new Promise((resolve, reject) => {
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', chunk => {
      text += chunk;
      const found = text.match(/\{"pid":\d+,"id":\d+\}/g) || [];
      if (found.length >= count) resolve(found.map(json => JSON.parse(json).pid));
    });
    socket.once('close', () => reject(new Error(`closed after ${JSON.stringify(text)}`)));
  });
}

/** A reverse proxy as they stand before Egg: one connection to it per request. */
async function startProxy(t, app) {
  const server = http.createServer((req, res) => {
    const { method, url, socket } = req;
    const headers = { ...req.headers, 'x-forwarded-for': socket.remoteAddress };
    const up = http.request({ host: PEER, port: app.port, method, path: url, headers, agent: false }, answer => {
      res.writeHead(answer.statusCode, answer.headers);
      answer.pipe(res);
    });
    up.on('error', () => res.destroy());
    req.pipe(up);
  });
  server.listen(0, PEER);
  await once(server, 'listening');
  t.after(() => new Promise(resolve => server.close(resolve)));
  return server.address().port;
}

ownOnly('clients behind a proxy are told apart, and go where they went without it', async t => {
  const app = await start(t, { by: 'forwarded' });
  const proxy = await startProxy(t, app);
  const direct = {};
  for (const localAddress of clients) direct[localAddress] = await pidOf(app, {}, '/', { localAddress });
  for (let round = 0; round < 3; round++) {
    for (const localAddress of clients) {
      const answer = await get(proxy, '/', { localAddress });
      assert.strictEqual(answer.json.pid, direct[localAddress], localAddress);
    }
  }
  assert.ok(new Set(Object.values(direct)).size > 1);
  const body = 'b'.repeat(1 << 20);
  for (const localAddress of clients.slice(0, 4)) {
    assert.strictEqual((await get(proxy, '/echo', { localAddress, body })).body, body);
  }
});

ownOnly('many clients are spread evenly', async t => {
  const app = await start(t, { by: 'forwarded' });
  const counts = {};
  for (const client of strangers) {
    const pid = await pidOf(app, forwardedFor(client));
    counts[pid] = (counts[pid] || 0) + 1;
  }
  assert.strictEqual(Object.keys(counts).length, 3);
  assert.ok(Object.values(counts).every(count => count >= 10), JSON.stringify(counts));
});

ownOnly('a proxy that is not trusted is not believed', async t => {
  const app = await start(t, { by: 'forwarded', trust: '10.0.0.0/8' });
  const pids = new Set();
  for (const client of strangers.slice(0, 20)) pids.add(await pidOf(app, forwardedFor(client)));
  assert.strictEqual(pids.size, 1);
});

ownOnly('what a client adds to the header by itself changes nothing', async t => {
  const app = await start(t, { by: 'forwarded' });
  const home = await pidOf(app, forwardedFor('203.0.113.7'));
  for (const forged of strangers.slice(0, 10)) {
    assert.strictEqual(await pidOf(app, forwardedFor(`${forged}, 203.0.113.7, 10.0.0.1`)), home);
  }
});

ownOnly('another header, and RFC 7239', async t => {
  const app = await start(t, { by: 'forwarded', name: 'X-Real-IP' });
  const real = client => pidOf(app, { 'X-Real-IP': client, 'X-Forwarded-For': '1.1.1.1' });
  assert.strictEqual((await groups(app, strangers, real)).length, 3);
  await app.close();
  const other = await start(t, { by: 'forwarded' });
  for (const client of strangers.slice(0, 10)) {
    const home = await pidOf(other, forwardedFor(client));
    assert.strictEqual(await pidOf(other, { Forwarded: `for="${client}:80";proto=http` }), home);
  }
});

ownOnly('a cookie, and a query parameter, go before the address', async t => {
  const byCookie = await start(t, { by: 'cookie', name: 'sess' });
  const byQuery = await start(t, { by: 'query' });
  const cookie = (value, rest) => pidOf(byCookie, { Cookie: `a=b; sess=${value}` }, '/', rest);
  const query = (value, rest) => pidOf(byQuery, {}, `/?EIO=4&sid=${value}`, rest);
  for (const pidFor of [ cookie, query ]) {
    const pids = new Set();
    for (let n = 0; n < 20; n++) {
      const pid = await pidFor(`v${n}`);
      assert.strictEqual(await pidFor(`v${n}`, { localAddress: clients[n % 12] }), pid);
      pids.add(pid);
    }
    assert.strictEqual(pids.size, 3);
  }
  const without = await pidOf(byCookie, forwardedFor('203.0.113.9'));
  assert.strictEqual(await pidOf(byCookie, { ...forwardedFor('203.0.113.9'), Cookie: 'a=b' }), without);
});

ownOnly('every byte comes to the worker: a head in pieces, bodies, requests in a row', async t => {
  const app = await start(t, { by: 'forwarded' });
  const home = await pidOf(app, forwardedFor('203.0.113.7'));
  const socket = connect(t, app.port);
  const body = 'x'.repeat(200000);
  const post = `POST / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const three = answers(socket, 3);
  for (const [ from, to ] of [[ 0, 5 ], [ 5, 40 ], [ 40, 60 ], [ 60 ]]) {
    socket.write(post.slice(from, to));
    // An answer on another connection: the master has seen the piece.
    await pidOf(app, {});
  }
  socket.write('GET /a HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 9.9.9.9\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n');
  assert.deepStrictEqual(await three, [ home, home, home ]);
});

ownOnly('slow and silent clients hold up nobody, and cost the master no more than a limit', async t => {
  const app = await start(t, { by: 'forwarded' });
  const before = openFiles(app);
  const sockets = Array.from({ length: 1500 }, () => connect(t, app.port));
  await Promise.all(sockets.map(socket => once(socket, 'connect')));
  sockets.slice(0, 750).forEach(socket => socket.write('GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.'));
  for (const client of strangers.slice(0, 20)) {
    const pid = await pidOf(app, forwardedFor(client));
    assert.strictEqual(await pidOf(app, forwardedFor(client)), pid);
  }
  // 1024 connections are awaited, each through a second descriptor. The others are with the workers.
  assert.ok(await poll(() => openFiles(app) - before <= 2048, 10000), `${openFiles(app) - before} more files`);
  assert.ok(openFiles(app) - before >= 2000);
  sockets.forEach(socket => socket.destroy());
  assert.ok(await poll(() => openFiles(app) <= before, 10000), 'clients that have gone are forgotten');
});

ownOnly('a head that does not come is awaited for its time, without work', async t => {
  const app = await start(t, { by: 'forwarded', headTimeout: 1500 });
  const home = await pidOf(app, {});
  const before = openFiles(app);
  const begin = { at: Date.now(), cpu: cpuSeconds(app) };
  const sockets = Array.from({ length: 20 }, () => connect(t, app.port));
  sockets.forEach(socket => socket.write('GET / HTTP/1.1\r\nX-Forwarded-For: 203.0.113.7\r\nHost: x\r\n'));
  // Two each; a connection of the request above may still be counted in `before`.
  assert.ok(await poll(() => openFiles(app) >= before + 2 * sockets.length - 2, 5000), 'they are awaited');
  assert.ok(await poll(() => openFiles(app) <= before, 10000), 'they are with the worker');
  const [ seconds, cpu ] = [ (Date.now() - begin.at) / 1000, cpuSeconds(app) - begin.cpu ];
  assert.ok(seconds >= 1.4, `after ${seconds} s`);
  assert.ok(cpu < 0.3, `${cpu} s of CPU in ${seconds} s`);
  const pids = sockets.map(socket => answers(socket, 1));
  sockets.forEach(socket => socket.write('\r\n'));
  assert.deepStrictEqual(new Set((await Promise.all(pids)).flat()), new Set([ home ]));
});

ownOnly('a client that ends its side after half a head gets its answer from the worker', async t => {
  const app = await start(t, { by: 'forwarded' });
  const socket = connect(t, app.port);
  let text = '';
  socket.on('data', chunk => {
    text += chunk;
  });
  socket.end('GET / HT');
  await once(socket, 'close');
  assert.match(text, /^HTTP\/1\.1 400 /);
  const silent = connect(t, app.port);
  silent.end();
  await once(silent.resume(), 'close');
});

const credentials = { key: path.join(fixtures, 'tls/key.pem'), cert: path.join(fixtures, 'tls/cert.pem') };

ownOnly('TLS goes by the address, at once', async t => {
  const app = await start(t, { by: 'forwarded' }, { https: credentials });
  const pids = new Set();
  for (const client of strangers.slice(0, 10)) pids.add(await pidOf(app, forwardedFor(client), '/', { https: true }));
  assert.strictEqual(pids.size, 1);
});

function proxyV2(client) {
  const whole = Buffer.alloc(28);
  whole.write('0d0a0d0a000d0a515549540a2111000c', 'hex');
  client.split('.').forEach((part, i) => whole.writeUInt8(Number(part), 16 + i));
  return whole;
}

const proxyV1 = client => `PROXY TCP4 ${client} 127.0.0.1 4000 80\r\n`;

async function pidAfter(t, app, header, options) {
  const socket = connect(t, app.port, options);
  const done = answers(socket, 2);
  socket.write(Buffer.concat([ Buffer.from(header), Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(2)) ]));
  const [ first, second ] = await done;
  assert.strictEqual(first, second);
  return first;
}

ownOnly('PROXY headers of both versions name the client and are taken off', async t => {
  const app = await start(t, { by: 'proxy-protocol' });
  const home = await pidOf(app, {});
  const pids = new Set();
  for (const client of strangers.slice(0, 15)) {
    const pid = await pidAfter(t, app, proxyV1(client));
    assert.strictEqual(await pidAfter(t, app, proxyV2(client)), pid);
    pids.add(pid);
  }
  assert.strictEqual(pids.size, 3);
  assert.strictEqual(await pidAfter(t, app, 'PROXY UNKNOWN\r\n'), home);
  const local = proxyV2('0.0.0.0');
  local[12] = 0x20;
  assert.strictEqual(await pidAfter(t, app, local), home);
  const cut = connect(t, app.port);
  const done = answers(cut, 1);
  for (const piece of [ 'PROXY T', 'CP4 203.0.113.1 127.0.0.1 1 2\r', '\nGET / HTTP/1.1\r\nHost: x\r\n\r\n' ]) {
    cut.write(piece);
    await pidOf(app, {});
  }
  assert.deepStrictEqual(await done, [ await pidAfter(t, app, proxyV1('203.0.113.1')) ]);
});

ownOnly('a PROXY header before TLS tells clients of https apart', async t => {
  const app = await start(t, { by: 'proxy-protocol' }, { https: credentials });
  const pids = new Set();
  for (const client of strangers.slice(0, 15)) {
    const socket = connect(t, app.port);
    socket.write(proxyV1(client));
    const secure = tls.connect({ socket, rejectUnauthorized: false });
    secure.on('error', () => {});
    const done = answers(secure, 1);
    secure.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    pids.add((await done)[0]);
  }
  assert.strictEqual(pids.size, 3);
});

ownOnly('a PROXY header of somebody else is left to the worker, which refuses it', async t => {
  const app = await start(t, { by: 'proxy-protocol', trust: [ '127.0.0.9' ] });
  await assert.rejects(pidAfter(t, app, proxyV1('203.0.113.1')), /closed after "HTTP\/1\.1 400 /);
  await pidAfter(t, app, proxyV1('203.0.113.1'), { localAddress: '127.0.0.9' });
});

ownOnly('the slots stay when a worker dies and when all are replaced', async t => {
  const app = await start(t, { by: 'forwarded' }, { env: 'prod' });
  const pidFor = client => pidOf(app, forwardedFor(client));
  const names = strangers.slice(0, 30);
  const before = await groups(app, names, pidFor);
  assert.strictEqual(before.length, 3);
  let mark = app.mark();
  const victim = await pidFor(names[0]);
  process.kill(victim, 'SIGKILL');
  await app.stdout(/app_worker#4:\d+ started at/, mark);
  assert.deepStrictEqual(await groups(app, names, pidFor), before);
  const old = await app.workerPids();
  mark = app.mark();
  await app.ask('agent', 'send', { message: { to: 'master', action: 'reload-worker' } });
  for (const pid of old) await app.stdout(new RegExp(`app_worker#\\d+:${pid} disconnect,`), mark);
  assert.deepStrictEqual(await groups(app, names, pidFor), before);
  assert.ok(!old.includes(await pidFor(names[0])));
});

ownOnly('options that make no sense are refused before anything starts', async t => {
  const app = await t.start({ options: { sticky: { by: 'cookie' } } });
  const { error } = await app.report('thrown');
  assert.match(error.message, /^options\.sticky\.name must be the name of a cookie/);
  assert.strictEqual((await app.end()).code, 99);
});

function openFiles(app) {
  return fs.readdirSync(`/proc/${app.pid}/fd`).length;
}

/** The CPU time of a process; the kernel counts it in hundredths of a second. */
function cpuSeconds(app) {
  const stat = fs.readFileSync(`/proc/${app.pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
