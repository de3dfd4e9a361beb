'use strict';

const assert = require('assert');
const os = require('os');
const test = require('./helpers/test');

const { senderOf, describeAsker } = require('../../lib/asker');

test('a sender is named by what is known of it', () => {
  const process7 = { pid: 7, uid: 0, isKernel: false };
  assert.strictEqual(describeAsker({ ...process7, command: 'kill 8' }), 'process 7 (kill 8), uid 0');
  assert.strictEqual(describeAsker(process7), 'process 7 (it has ended already), uid 0');
  assert.strictEqual(describeAsker({ pid: 7, command: null }), 'process 7 (it has ended already)');
  assert.strictEqual(describeAsker({ pid: process.pid, uid: 1, command: 'node' }), 'this process itself, uid 1');
  assert.match(describeAsker({ pid: 0, uid: 0, isKernel: true }), /^the kernel, as for Ctrl-C/);
  for (const pid of [ 0, null, undefined ]) assert.match(describeAsker({ pid, uid: 0, isKernel: false }), /cannot be seen from here/);
});

test('all who listen to a signal are told the same sender, and a later one has its own', async () => {
  const senders = [ { pid: 1 }, { pid: 2 } ];
  const asked = [];
  const binding = {
    takeSignalSender(number) {
      asked.push(number);
      return senders.shift() || null;
    },
  };
  assert.deepStrictEqual([ senderOf(binding, 'SIGTERM'), senderOf(binding, 'SIGTERM') ], [ { pid: 1 }, { pid: 1 } ]);
  await new Promise(resolve => setImmediate(resolve));
  assert.deepStrictEqual(senderOf(binding, 'SIGTERM'), { pid: 2 });
  assert.strictEqual(senderOf(binding, 'SIGUSR2'), null);
  const { SIGTERM, SIGUSR2 } = os.constants.signals;
  assert.deepStrictEqual(asked, [ SIGTERM, SIGTERM, SIGUSR2 ]);
});
