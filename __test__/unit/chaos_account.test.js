'use strict';

const assert = require('assert');
const { spawn } = require('child_process');
const net = require('net');
const { once } = require('events');
const test = require('./helpers/test');
const { account } = require('../../chaos/lib/account');
const { freeze } = require('../../chaos/lib/freeze');

const CLIENT = '127.0.0.1:4000';

/** The verdict on a request that failed; its worker stopped at 20 with so many bytes of it unread. */
function verdict(attempt, unread) {
  const stopped = unread === undefined ? null : { at: 20, unread: new Map([ [ CLIENT, unread ] ]) };
  const failed = { outcome: 'reset', kind: 'close', client: CLIENT, sentAt: 10, ...attempt };
  return account([ failed ], new Map([ [ 7, stopped ] ])).failures[0].verdict;
}

test('a request that a killed worker had read was begun, whether or not it could note that', () => {
  const taker = { pid: 7, at: 5 };
  assert.strictEqual(verdict({ taker }, 0), 'readByDead');
  assert.strictEqual(verdict({ taker }, 80), 'takenByDead');
  assert.strictEqual(verdict({ taker, sentAt: 21 }, 0), 'takenByDead', 'it came afterwards');
  assert.strictEqual(verdict({ taker, sentAt: undefined }, 0), 'takenByDead');
  assert.strictEqual(verdict({ taker, client: '127.0.0.1:4001' }, 0), 'takenByDead');
  assert.strictEqual(verdict({ taker }), 'takenByDead', 'nobody looked');
  assert.strictEqual(verdict({ taker, reader: { pid: 7, at: 12 } }, 80), 'readByDead');
  assert.strictEqual(verdict({ taker: { pid: 8, at: 5 } }, 0), 'unread', 'it lives');
  assert.strictEqual(verdict({ taker: { pid: 8, at: 5 }, reader: { pid: 8, at: 6 } }), 'lost');
  assert.strictEqual(verdict({ taker, outcome: 'reuse' }), 'retriable');
});

const READER = `
  let first = true;
  const server = require('net').createServer({ pauseOnConnect: true }, socket => {
    if (first) socket.on('data', () => process.stdout.write('read')).resume();
    first = false;
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

test('what a stopped process has not read is told by client', { skip: process.platform !== 'linux' }, async () => {
  const child = spawn(process.execPath, [ '-e', READER ], { stdio: [ 'ignore', 'pipe', 'inherit' ] });
  const clients = [];
  try {
    const [ line ] = await once(child.stdout, 'data');
    const port = Number(line);
    for (let i = 0; i < 2; i++) {
      const client = net.connect(port, '127.0.0.1');
      clients.push(client);
      await once(client, 'connect');
      await new Promise(resolve => client.write('hello', resolve));
      if (i === 0) await once(child.stdout, 'data');
    }
    const { unread } = freeze(child.pid, port);
    assert.deepStrictEqual(clients.map(({ localPort }) => unread.get(`127.0.0.1:${localPort}`)), [ 0, 5 ]);
  } finally {
    clients.forEach(client => client.destroy());
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  assert.strictEqual(freeze(child.pid, 1), null);
});
