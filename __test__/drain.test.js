'use strict';

const assert = require('assert');
const http = require('http');
const net = require('net');
const path = require('path');
const { once } = require('events');
const { fixtures } = require('./helper/cluster');
const { ownOnly } = require('./helper/test');
const { get, tryConnect } = require('./helper/http');

const ended = { code: 0, signal: null };
const egg = path.dirname(require.resolve('egg/package.json'));
const own = (name, body) => ownOnly('it ends workers at once', name, body);

/** Sends SIGTERM and waits until the master has said so. */
async function terminate(app) {
  const before = app.mark();
  app.child.kill('SIGTERM');
  await app.stdout(/send kill SIGTERM to app workers/, before);
}

/** Starts requests, and waits until the workers have them: later ones are answered. */
async function inFlight(app, count, url, options) {
  const requests = Array.from({ length: count }, () => get(app.port, url, options));
  for (const request of requests) request.catch(() => {});
  for (let i = 0; i < 4; i++) await get(app.port);
  return requests;
}

/** A client that speaks by hand. */
async function connect(t, port) {
  const socket = net.connect(port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.text = '';
  socket.on('error', () => {});
  socket.on('data', chunk => {
    socket.text += chunk;
  });
  socket.ended = once(socket, 'close');
  socket.received = async pattern => {
    while (!pattern.test(socket.text)) await once(socket, 'data');
  };
  await once(socket, 'connect');
  return socket;
}

async function upgrade(t, app) {
  const socket = await connect(t, app.port);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  await socket.received(/101 [^]*\r\n\r\n/);
  return socket;
}

function keepAlive(t) {
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  return agent;
}

const drained = app => app.out.match(/\[master\] app_worker#\d+:\d+ drained in \d+ms\n/g) || [];
const timedOut = app => app.out.match(/\[master\] app_worker#\d+:\d+ drain timed out after .*\n/g) || [];

const MODES = [
  [ 'round robin', {}],
  [ 'sticky mode', { options: { sticky: true } }],
  [ 'shared sockets', { env: { NODE_CLUSTER_SCHED_POLICY: 'none' } }],
];

for (const [ name, { options, env } ] of MODES) {
  own(`${name}: requests in flight are answered with "Connection: close", and new clients refused`, async t => {
    const app = await t.ready({ options: { workers: 2, env: 'prod', ...options }, env });
    const requests = await inFlight(app, 6, '/slow?ms=1500', { agent: keepAlive(t) });
    await terminate(app);
    // Workers that share a socket close it in a turn of their own.
    if (!env) assert.strictEqual(await tryConnect({ port: app.port, host: '127.0.0.1' }), 'ECONNREFUSED');
    const answers = await Promise.all(requests);
    assert.deepStrictEqual(answers.map(({ status }) => status), Array(6).fill(200));
    assert.deepStrictEqual(answers.map(({ headers }) => headers.connection), Array(6).fill('close'));
    assert.strictEqual(await tryConnect({ port: app.port, host: '127.0.0.1' }), 'ECONNREFUSED');
    assert.deepStrictEqual(await app.end(), ended);
    assert.strictEqual(drained(app).length, 2, app.out);
    assert.strictEqual(app.out.match(/\[mini\] app \d+ closed/g).length, 2);
    assert.strictEqual(app.err, '');
  });
}

own('https: requests in flight are answered, and idle connections closed', async t => {
  const https = { key: path.join(fixtures, 'tls/key.pem'), cert: path.join(fixtures, 'tls/cert.pem') };
  const app = await t.ready({ options: { workers: 2, env: 'prod', https } });
  const agent = new (require('https').Agent)({ keepAlive: true });
  t.after(() => agent.destroy());
  const requests = Array.from({ length: 4 }, () => get(app.port, '/slow?ms=1500', { https: true, agent }));
  // Leaves connections idle.
  await Promise.all(Array.from({ length: 4 }, () => get(app.port, '/', { https: true, agent })));
  await terminate(app);
  const answers = await Promise.all(requests);
  assert.deepStrictEqual(answers.map(({ headers }) => headers.connection), Array(4).fill('close'));
  assert.deepStrictEqual(await app.end(), ended);
  assert.strictEqual(drained(app).length, 2);
  assert.strictEqual(app.err, '');
});

own('idle keep-alive connections are closed at once and do not delay the end', async t => {
  const app = await t.ready({ options: { workers: 2, env: 'prod' } });
  const socket = await connect(t, app.port);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await socket.received(/"pid"/);
  const [ request ] = await inFlight(app, 1, '/slow?ms=1200');
  let answered = false;
  request.then(() => {
    answered = true;
  });
  await terminate(app);
  await socket.ended;
  assert.strictEqual(answered, false);
  assert.strictEqual((await request).status, 200);
  assert.deepStrictEqual(await app.end(), ended);
});

own('an upload is finished', async t => {
  const app = await t.ready({ options: { env: 'prod' } });
  const request = http.request({ port: app.port, host: '127.0.0.1', path: '/echo', method: 'POST', agent: false });
  const response = once(request, 'response');
  request.write('a'.repeat(200000));
  for (let i = 0; i < 4; i++) await get(app.port);
  await terminate(app);
  request.end('the end');
  const [ answer ] = await response;
  let body = '';
  answer.setEncoding('utf8');
  for await (const chunk of answer) body += chunk;
  assert.strictEqual(body.length, 200007);
  assert.ok(body.endsWith('the end'));
  assert.deepStrictEqual(await app.end(), ended);
});

own('connections that only the kernel has accepted are answered, too', async t => {
  const app = await t.ready({ options: { workers: 1, env: 'prod' } });
  const [ pid ] = await app.workerPids();
  // The worker takes nothing, so that the master stops accepting.
  process.kill(pid, 'SIGSTOP');
  const sockets = await Promise.all(Array.from({ length: 20 }, () => connect(t, app.port)));
  for (const socket of sockets) socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await terminate(app);
  process.kill(pid, 'SIGCONT');
  await Promise.all(sockets.map(socket => socket.ended));
  for (const { text } of sockets) assert.match(text, /^HTTP\/1\.1 200 OK\r\n[^]*"pid"/);
  assert.deepStrictEqual(await app.end(), ended);
});

for (const sticky of [ false, true ]) {
  own(`a WebSocket has its time${sticky ? ' in sticky mode' : ''}`, async t => {
    const drain = { timeout: 300, websocketTimeout: 2000 };
    const app = await t.ready({ app: 'drain', options: { env: 'prod', drain, sticky } });
    const leaves = await upgrade(t, app);
    const stays = await upgrade(t, app);
    await terminate(app);
    const start = Date.now();
    leaves.write('bye');
    await leaves.received(/: bye/);
    leaves.destroy();
    setTimeout(() => stays.write('still here'), 700);
    await stays.received(/: still here/);
    await stays.ended;
    const elapsed = Date.now() - start;
    assert.ok(elapsed >= 1900 && elapsed < 4000, `${elapsed} ms`);
    assert.deepStrictEqual(await app.end(), ended);
    assert.match(timedOut(app).join(), /drain timed out after 20\d\dms, 0 requests and 1 connections were cut\n/);
  });
}

own('what takes longer than its time is cut and reported', async t => {
  const app = await t.ready({ options: { env: 'prod', drain: { timeout: 500 } } });
  const requests = await inFlight(app, 2, '/slow?ms=15000');
  await terminate(app);
  for (const request of requests) await assert.rejects(request, { code: 'ECONNRESET' });
  assert.deepStrictEqual(await app.end(), ended);
  assert.match(timedOut(app).join(), /drain timed out after 5\d\dms, 2 requests and 2 connections were cut\n/);
  assert.strictEqual(app.err, '');
});

own('drain: false and EGG_CLUSTER_RS_DRAIN_TIMEOUT=0 end workers at once', async t => {
  for (const config of [ { options: { drain: false } }, { env: { EGG_CLUSTER_RS_DRAIN_TIMEOUT: '0' } } ]) {
    const app = await t.ready({ ...config, options: { env: 'prod', ...config.options } });
    const [ request ] = await inFlight(app, 1, '/slow?ms=15000');
    await terminate(app);
    await assert.rejects(request, { code: 'ECONNRESET' });
    assert.deepStrictEqual(await app.end(), ended);
    assert.deepStrictEqual([ ...drained(app), ...timedOut(app) ], []);
  }
});

own('EGG_CLUSTER_RS_DRAIN_TIMEOUT goes before the option', async t => {
  const env = { EGG_CLUSTER_RS_DRAIN_TIMEOUT: '400' };
  const app = await t.ready({ options: { env: 'prod', drain: { timeout: 60000 } }, env });
  const [ request ] = await inFlight(app, 1, '/slow?ms=15000');
  await terminate(app);
  await assert.rejects(request, { code: 'ECONNRESET' });
  assert.deepStrictEqual(await app.end(), ended);
  assert.strictEqual(timedOut(app).length, 1);
});

own('a worker that dies while it drains is not waited for', async t => {
  const app = await t.ready({ options: { workers: 2, env: 'prod', drain: { timeout: 60000 } } });
  const [ request ] = await inFlight(app, 1, '/slow?ms=600');
  const pids = await app.workerPids();
  for (const pid of pids) process.kill(pid, 'SIGSTOP');
  await terminate(app);
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await assert.rejects(request, { code: 'ECONNRESET' });
  assert.deepStrictEqual(await app.end(), ended);
});

for (const [ name, { options, env } ] of MODES) {
  own(`${name}: a reload answers what the old worker has, which then closes in order`, async t => {
    const app = await t.ready({ options: { workers: 1, env: 'prod', drain: { timeout: 15000 }, ...options }, env });
    const [ old ] = await app.workerPids();
    // Longer than the new worker needs to boot on a busy machine, so that the answers come during the drain.
    const requests = await inFlight(app, 3, '/slow?ms=6000', { agent: keepAlive(t) });
    const before = app.mark();
    app.send({ action: 'reload-worker', to: 'master' });
    await app.stdout(/\[master\] reload done/, before);
    assert.notStrictEqual((await get(app.port)).json.pid, old);
    for (const answer of await Promise.all(requests)) {
      assert.deepStrictEqual([ answer.status, answer.json.pid, answer.headers.connection ], [ 200, old, 'close' ]);
    }
    await app.stdout(new RegExp(`\\[master\\] app_worker#1:${old} drained in \\d+ms\n`), before);
    await app.stdout(new RegExp(`\\[mini\\] app ${old} closed\n`), before);
    assert.deepStrictEqual(timedOut(app), []);
  });
}

own('neither worker, nor what it starts, nor the agent shows a trace of the preload', async t => {
  const app = await t.ready({ app: 'drain', options: { workers: 1 }, execArgv: [ '--no-warnings' ] });
  const [ pid ] = await app.workerPids();
  const worker = await app.ask('app', 'traces', {}, pid);
  assert.deepStrictEqual([ worker.variable, worker.execArgv, worker.isPatched ], [ false, [ '--no-warnings' ], true ]);
  assert.deepStrictEqual(await app.ask('app', 'tracesInChild', {}, pid),
    { variable: false, execArgv: [ '--no-warnings' ], isLoaded: false, isPatched: false });
  const { execArgv, env } = await app.ask('agent', 'info', { env: [ 'EGG_CLUSTER_RS_WORKER' ] });
  assert.deepStrictEqual([ execArgv, env ], [[ '--no-warnings' ], {}]);
});

own('on a Node without diagnostics_channel workers end at once, and serve as ever', async t => {
  const stub = path.join(__dirname, 'unit', 'helpers', 'no_channels.js');
  const app = await t.ready({ options: { env: 'prod' }, execArgv: [ '--require', stub ] });
  const [ request ] = await inFlight(app, 1, '/slow?ms=15000');
  await terminate(app);
  await assert.rejects(request, { code: 'ECONNRESET' });
  assert.deepStrictEqual(await app.end(), ended);
  assert.deepStrictEqual([ ...drained(app), ...timedOut(app) ], []);
  assert.strictEqual(app.err, '');
});

own('a real Egg application answers what it has', async t => {
  const app = await t.ready({ app: 'egg', copy: true, options: { framework: egg, workers: 2, env: 'prod' } });
  const requests = await inFlight(app, 6, '/slow?ms=1500', { agent: keepAlive(t) });
  await terminate(app);
  const answers = await Promise.all(requests);
  const seen = answers.map(({ status, headers }) => `${status} ${headers.connection}`);
  assert.deepStrictEqual(seen, Array(6).fill('200 close'));
  assert.deepStrictEqual(await app.end(), ended);
  assert.strictEqual(drained(app).length, 2);
  assert.strictEqual(app.err, '');
});
