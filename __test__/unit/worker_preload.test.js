'use strict';

const assert = require('assert');
const http = require('http');
const net = require('net');
const path = require('path');
const test = require('./helpers/test');
const { fork } = require('child_process');
const { EventEmitter, once } = require('events');

const PRELOAD = require.resolve('../../lib/worker_preload.js');
const NO_CHANNELS = path.join(__dirname, 'helpers', 'no_channels.js');
const DRAIN = { cmd: 'NODE_EGG_CLUSTER_RS', act: 'drain' };

/** Starts the worker, with this process in the place of the master. */
async function start(t, { execArgv = [ '--require', PRELOAD ], env = { EGG_CLUSTER_RS_WORKER: String(process.pid) } } = {}) {
  const child = fork(path.join(__dirname, 'helpers', 'drain_worker.js'), {
    execArgv, env: { ...process.env, ...env }, silent: true,
  });
  t.after(() => {
    child.kill('SIGKILL');
    child.disconnect();
  });
  const worker = new EventEmitter();
  Object.assign(worker, { child, said: [], output: '' });
  for (const stream of [ child.stdout, child.stderr ]) {
    stream.on('data', chunk => {
      worker.output += chunk;
    });
  }
  // Here internal messages are not for listeners of `message` either.
  child.on('internalMessage', message => {
    if (message.cmd !== DRAIN.cmd) return;
    worker.said.push(message);
    worker.emit('said');
  });
  worker.heard = async predicate => {
    while (!worker.said.some(predicate)) await once(worker, 'said');
  };
  worker.counts = (requests, connections, upgraded) => worker.heard(message => message.act === 'draining' &&
    message.requests === requests && message.connections === connections && message.upgraded === upgraded);
  worker.drain = () => child.send(DRAIN);
  worker.ask = async question => {
    child.send(question);
    return (await once(child, 'message'))[0];
  };
  [ worker.facts ] = await once(child, 'message');
  return worker;
}

function get(worker, url, { agent = false, method = 'GET' } = {}) {
  const request = http.request({ host: '127.0.0.1', port: worker.facts.port, path: url, agent, method });
  if (method === 'GET') request.end();
  const answer = new Promise((resolve, reject) => {
    request.on('error', reject);
    request.on('response', response => {
      let body = '';
      response.on('data', chunk => {
        body += chunk;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ connection: response.headers.connection, body }));
    });
  });
  return { request, answer };
}

/** A client that speaks HTTP by hand. */
async function connect(t, worker) {
  const socket = net.connect(worker.facts.port, '127.0.0.1');
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  socket.text = '';
  socket.on('data', chunk => {
    socket.text += chunk;
  });
  socket.received = async pattern => {
    while (!pattern.test(socket.text)) await once(socket, 'data');
  };
  return socket;
}

const keepAlive = t => {
  const agent = new http.Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  return agent;
};

test('says that it can drain, and leaves no trace in the environment and execArgv', async t => {
  const worker = await start(t, { execArgv: [ '--no-warnings', '--require', PRELOAD ] });
  const { env, execArgv, listeners } = worker.facts;
  assert.deepStrictEqual([ env, execArgv, listeners ], [ null, [ '--no-warnings' ], 2 ]);
  await worker.heard(message => message.act === 'hello');
});

test('tells how much it serves when it is asked, and ends nothing for that', async t => {
  const worker = await start(t);
  const counted = (requests, connections, upgraded) => worker.heard(message => message.act === 'counted' &&
    message.requests === requests && message.connections === connections && message.upgraded === upgraded);
  const count = () => worker.child.send({ cmd: DRAIN.cmd, act: 'count' });
  count();
  await counted(0, 0, 0);
  const idle = keepAlive(t);
  await get(worker, '/', { agent: idle }).answer;
  const upgraded = await connect(t, worker);
  upgraded.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  await upgraded.received(/101/);
  const half = get(worker, '/body', { method: 'POST' });
  half.request.write('x');
  const slow = await connect(t, worker);
  slow.write('GET /head?ms=600000 HTTP/1.1\r\nHost: x\r\n\r\n');
  await slow.received(/200/);
  count();
  await counted(2, 3, 1);
  half.request.end();
  assert.strictEqual((await half.answer).connection, 'close');
  assert.ok(worker.said.every(({ act }) => act !== 'draining'));
});

test('a child of the worker has none of it', async t => {
  const worker = await start(t);
  const { report } = await worker.ask('fork');
  assert.deepStrictEqual(report, { env: null, execArgv: [], emitIsOwn: false, listeners: 1 });
});

test('does nothing where the parent is not the master that is named', async t => {
  for (const pid of [ undefined, '', '1', `${process.pid}0` ]) {
    const worker = await start(t, { env: { EGG_CLUSTER_RS_WORKER: pid } });
    assert.strictEqual(worker.facts.emitIsOwn, false);
    assert.strictEqual(worker.facts.listeners, 1);
    assert.deepStrictEqual(worker.facts.execArgv, [ '--require', PRELOAD ]);
    assert.strictEqual((await get(worker, '/').answer).body, 'answer');
    assert.deepStrictEqual(worker.said, []);
  }
});

test('does nothing in a Node without diagnostics_channel', async t => {
  const worker = await start(t, { execArgv: [ '--require', NO_CHANNELS, '--require', PRELOAD ] });
  const { env, execArgv, emitIsOwn, listeners } = worker.facts;
  assert.deepStrictEqual([ env, execArgv, emitIsOwn, listeners ], [ null, [ '--require', NO_CHANNELS ], false, 1 ]);
  worker.drain();
  assert.strictEqual((await get(worker, '/').answer).body, 'answer');
  assert.deepStrictEqual(worker.said, []);
  assert.strictEqual(worker.output, '');
});

test('a worker without connections is drained at once', async t => {
  const worker = await start(t);
  worker.drain();
  await worker.counts(0, 0, 0);
  assert.strictEqual(worker.output, '');
});

test('idle connections are closed, answers in flight say that theirs will be', async t => {
  const worker = await start(t);
  const idle = await connect(t, worker);
  idle.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
  await idle.received(/answer/);
  const slow = get(worker, '/?ms=400', { agent: keepAlive(t) });
  const begun = get(worker, '/head?ms=400', { agent: keepAlive(t) });
  await once(begun.request, 'response');
  worker.drain();
  await once(idle, 'close');
  await worker.counts(2, 2, 0);
  assert.deepStrictEqual(await slow.answer, { connection: 'close', body: 'answer' });
  assert.match((await begun.answer).body, /answer$/);
  await worker.counts(0, 0, 0);
  assert.strictEqual(worker.said.filter(({ act }) => act === 'draining').length <= 3, true);
});

test('a connection whose answer had begun is closed behind it', async t => {
  const worker = await start(t);
  const socket = await connect(t, worker);
  socket.write('GET /head?ms=300 HTTP/1.1\r\nHost: x\r\n\r\n');
  await socket.received(/x\r\n/);
  assert.match(socket.text, /Connection: keep-alive/);
  worker.drain();
  await once(socket, 'close');
  assert.match(socket.text, /answer\r\n0\r\n\r\n$/);
  await worker.counts(0, 0, 0);
});

test('all of a pipeline is answered, and only the last answer ends it', async t => {
  const worker = await start(t);
  const socket = await connect(t, worker);
  socket.write('GET /?ms=300 HTTP/1.1\r\nHost: x\r\n\r\nGET /?ms=1 HTTP/1.1\r\nHost: x\r\n\r\n');
  // Answered behind the two, so they have been read.
  assert.strictEqual((await get(worker, '/').answer).body, 'answer');
  worker.drain();
  await worker.counts(2, 1, 0);
  socket.write('GET /?ms=1 HTTP/1.1\r\nHost: x\r\n\r\n');
  await once(socket, 'close');
  assert.deepStrictEqual(socket.text.match(/(?<=Connection: )\S+/g), [ 'keep-alive', 'keep-alive', 'close' ]);
  assert.strictEqual(socket.text.match(/answer/g).length, 3);
});

test('an upload is read to its end', async t => {
  const worker = await start(t);
  const { request, answer } = get(worker, '/body', { method: 'POST', agent: keepAlive(t) });
  request.write('a'.repeat(100000));
  await once(request, 'socket');
  assert.strictEqual((await get(worker, '/').answer).body, 'answer');
  worker.drain();
  await worker.counts(1, 1, 0);
  request.end('b'.repeat(50000));
  assert.deepStrictEqual(await answer, { connection: 'close', body: '150000' });
  await worker.counts(0, 0, 0);
});

test('a request that comes on a connection made before is answered; one that never comes is not waited for', async t => {
  const worker = await start(t);
  const silent = await connect(t, worker);
  const late = await connect(t, worker);
  const half = await connect(t, worker);
  half.write('GET / HTTP/1.1\r\nHo');
  assert.strictEqual((await get(worker, '/').answer).body, 'answer');
  worker.drain();
  await worker.counts(0, 3, 0);
  late.write('GET /?ms=900 HTTP/1.1\r\nHost: x\r\n\r\n');
  half.write('st: x\r\n\r\n');
  await Promise.all([ half.received(/answer/), once(silent, 'close') ]);
  assert.match(half.text, /Connection: close/);
  await late.received(/answer/);
  assert.strictEqual(silent.text, '');
  await worker.counts(0, 0, 0);
});

test('a client that goes away leaves nothing to wait for', async t => {
  const worker = await start(t);
  const { request, answer } = get(worker, '/?ms=60000');
  answer.catch(() => {});
  await once(request, 'socket');
  assert.strictEqual((await get(worker, '/').answer).body, 'answer');
  worker.drain();
  await worker.counts(1, 1, 0);
  request.destroy();
  await worker.counts(0, 0, 0);
});

test('upgraded connections are left alone, and counted apart', async t => {
  const worker = await start(t);
  const socket = await connect(t, worker);
  socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n');
  await socket.received(/\r\n\r\n/);
  worker.drain();
  await worker.counts(0, 0, 1);
  socket.write('still here');
  await socket.received(/still here/);
  socket.destroy();
  await worker.counts(0, 0, 0);
});

test('a socket that the worker listens on by itself is closed without the knowledge of the application', async t => {
  const worker = await start(t);
  const before = await worker.ask('address');
  const slow = get(worker, '/?ms=500');
  await once(slow.request, 'socket');
  assert.strictEqual((await get(worker, '/').answer).body, 'answer');
  worker.drain();
  await worker.counts(1, 1, 0);
  await assert.rejects(get(worker, '/').answer, { code: 'ECONNREFUSED' });
  assert.deepStrictEqual(await worker.ask('address'), before);
  assert.strictEqual((await slow.answer).body, 'answer');
  await worker.counts(0, 0, 0);
  const events = [];
  worker.child.on('message', message => events.push(message));
  worker.child.send('close');
  while (events.length < 2) await once(worker.child, 'message');
  assert.deepStrictEqual(events.find(event => 'closeError' in event), { closeError: null });
  assert.deepStrictEqual(events.find(event => 'closed' in event), { closed: true });
});
