'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const Messenger = require('../../lib/messenger');

/** A process whose parent reads when it is told to. */
function withParent(t, parentLimit) {
  const { send, connected } = process;
  const unread = [];
  process.send = (message, written) => unread.push(written);
  process.connected = true;
  t.after(() => {
    process.send = send;
    process.connected = connected;
  });
  const told = [];
  const messenger = new Messenger({ hasParent: true, route() {}, warn() {}, parentLimit, onParentFull: isFull => told.push(isFull) });
  return { messenger, told, read: count => unread.splice(0, count).forEach(written => written(null)) };
}

test('the native side hears once that too much waits for the parent, and once that most of it is gone', t => {
  const { messenger, told, read } = withParent(t, 100);
  for (let i = 0; i < 10; i++) messenger.sendToParent({}, 10);
  assert.deepStrictEqual(told, []);
  messenger.sendToParent({}, 10);
  messenger.sendToParent({}, 10);
  assert.deepStrictEqual(told, [ true ]);
  read(9);
  assert.deepStrictEqual(told, [ true ], 'there are 30 bytes still');
  read(1);
  assert.deepStrictEqual(told, [ true, false ]);
  read(2);
  for (let i = 0; i < 11; i++) messenger.sendToParent({}, 10);
  assert.deepStrictEqual(told, [ true, false, true ]);
});

test('nothing is sent where the process is not the master\'s own', t => {
  const { told } = withParent(t, 1);
  const guest = new Messenger({ hasParent: false, route() {}, warn() {}, parentLimit: 1, onParentFull: isFull => told.push(isFull) });
  guest.sendToParent({}, 10);
  assert.deepStrictEqual(told, []);
});
