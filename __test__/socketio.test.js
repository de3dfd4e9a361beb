'use strict';

// A real Socket.IO server and client. Its polling makes a session in one worker and comes back to
// it with request after request: only sticky mode makes that work.

const assert = require('assert');
const http = require('http');
const { once } = require('events');
const { io } = require('socket.io-client');
const { test, ownOnly } = require('./helper/test');

const clients = Array.from({ length: 12 }, (_, i) => `127.0.0.${i + 1}`);
const ROUNDS = 5;

function start(t, sticky) {
  return t.ready({ app: 'socketio', options: { workers: 3, sticky } });
}

/** A client with an address of its own, that makes a connection for every request. */
function connect(t, port, transports, localAddress, options = {}) {
  const socket = io(`http://127.0.0.1:${port}`, {
    transports,
    agent: new http.Agent({ localAddress, keepAlive: false }),
    reconnection: false,
    forceNew: true,
    ...options,
  });
  t.after(() => socket.disconnect());
  return socket;
}

/** Talks for a while; resolves with the pid of the worker, which has to stay the same. */
function talk(socket) {
  return new Promise((resolve, reject) => {
    socket.once('connect_error', reject);
    socket.once('disconnect', reason => reject(new Error(`disconnected: ${reason}`)));
    socket.once('served-by', async pid => {
      try {
        for (let round = 0; round < ROUNDS; round++) {
          const answer = await new Promise(answered => socket.emit('echo', round, answered));
          assert.deepStrictEqual(answer, { value: round, pid });
        }
        resolve(pid);
      } catch (err) {
        reject(err);
      }
    });
  });
}

async function allTalk(t, port, transports, options) {
  return Promise.all(clients.map(client => talk(connect(t, port, transports, client, options))));
}

test('polling comes back to its worker', async t => {
  const app = await start(t, true);
  const pids = await allTalk(t, app.port, [ 'polling' ]);
  assert.ok(new Set(pids).size > 1);
  assert.deepStrictEqual(await allTalk(t, app.port, [ 'polling' ]), pids);
});

test('WebSocket works, from the start and as an upgrade of polling', async t => {
  const app = await start(t, true);
  const pids = await allTalk(t, app.port, [ 'websocket' ]);
  const upgrading = clients.map(client => connect(t, app.port, [ 'polling', 'websocket' ], client));
  const upgraded = upgrading.map(socket => once(socket, 'connect').then(() => {
    const { engine } = socket.io;
    return engine.transport.name === 'websocket' || once(engine, 'upgrade');
  }));
  assert.deepStrictEqual(await Promise.all(upgrading.map(talk)), pids);
  await Promise.all(upgraded);
  assert.ok(upgrading.every(socket => socket.io.engine.transport.name === 'websocket'));
});

test('without sticky mode polling fails: the tests here can fail', async t => {
  const app = await start(t, false);
  const outcomes = await Promise.allSettled(clients.map(client => talk(connect(t, app.port, [ 'polling' ], client))));
  assert.ok(outcomes.some(outcome => outcome.status === 'rejected'));
});

ownOnly('knows the remote address only', 'behind a proxy polling comes back by the forwarded address', async t => {
  const app = await start(t, { by: 'forwarded' });
  const talks = clients.map((_, i) => {
    const extraHeaders = { 'X-Forwarded-For': `203.0.113.${i + 1}` };
    return talk(connect(t, app.port, [ 'polling', 'websocket' ], '127.0.0.1', { extraHeaders }));
  });
  assert.ok(new Set(await Promise.all(talks)).size > 1);
});

ownOnly('knows the remote address only', 'or by a cookie that the client had before', async t => {
  const app = await start(t, { by: 'cookie', name: 'uid' });
  const talks = clients.map((client, i) => {
    const extraHeaders = { Cookie: `uid=user-${i}` };
    return talk(connect(t, app.port, [ 'polling' ], client, { extraHeaders }));
  });
  assert.ok(new Set(await Promise.all(talks)).size > 1);
});
