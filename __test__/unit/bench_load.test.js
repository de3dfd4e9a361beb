'use strict';

const assert = require('assert');
const http = require('http');
const net = require('net');
const test = require('./helpers/test');

const { respond } = require('../../bench/fixture/framework/respond');
const { runLoad } = require('../../bench/lib/load');

/** Listens until the test is over and resolves with the port. */
async function serve(t, server) {
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  t.after(() => new Promise(resolve => server.close(resolve)));
  return server.address().port;
}

test('every connection is answered once, and says by whom', async t => {
  const port = await serve(t, http.createServer(respond));
  const { answered, failed, workers } = await runLoad({ port, connections: 20, concurrency: 4 });
  assert.strictEqual(answered, 20);
  assert.strictEqual(failed, 0);
  assert.deepStrictEqual(workers, { [process.pid]: 20 });
});

test('requests carry the number of their source in the header that is asked for', async t => {
  const seen = [];
  const port = await serve(t, http.createServer((request, response) => {
    seen.push(`${request.socket.remoteAddress} ${request.headers['x-forwarded-for']}`);
    respond(request, response);
  }));
  await runLoad({ port, connections: 6, concurrency: 1, sources: 3, header: 'X-Forwarded-For: 198.51.100.#' });
  const round = [ 1, 2, 3 ].map(n => `127.0.0.${n} 198.51.100.${n}`);
  assert.deepStrictEqual(seen, [ ...round, ...round ]);
});

test('with a rate, connections are opened though none is answered, up to the limit; the others count as failed', async t => {
  const port = await serve(t, net.createServer(socket => socket.on('error', () => {}).resume()));
  const { answered, failed, outcomes } = await runLoad({ port, connections: 8, concurrency: 5, rate: 1000 });
  assert.strictEqual(answered, 0);
  assert.strictEqual(failed, 8);
  assert.strictEqual(outcomes.timedOut, 5);
  assert.strictEqual(outcomes.notTried, 3);
});

test('with a rate, all are opened when answers keep up', async t => {
  const port = await serve(t, http.createServer(respond));
  const { answered, failed } = await runLoad({ port, connections: 30, concurrency: 512, rate: 500 });
  assert.deepStrictEqual({ answered, failed }, { answered: 30, failed: 0 });
});

test('an answer that breaks off is no answer', async t => {
  const port = await serve(t, net.createServer(socket => {
    socket.on('error', () => {});
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok'));
  }));
  const { answered, outcomes } = await runLoad({ port, connections: 2, concurrency: 1 });
  assert.strictEqual(answered, 0);
  assert.strictEqual(outcomes.badAnswer, 2);
});
