'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const Ready = require('../../lib/ready');

const tick = () => new Promise(resolve => process.nextTick(resolve));

test('callbacks run in the tick after the flag, without arguments; later ones at once', async () => {
  const ready = new Ready();
  const calls = [];
  ready.onReady((...args) => calls.push(args));
  ready.set(true);
  assert.deepStrictEqual(calls, []);
  await tick();
  assert.deepStrictEqual(calls, [ [] ]);
  ready.onReady((...args) => calls.push(args));
  assert.deepStrictEqual(calls, [ [], [] ]);
  ready.set(true);
  await tick();
  assert.strictEqual(calls.length, 2);
});

test('an error goes to callbacks and promises', async () => {
  const ready = new Ready();
  const error = new Error('x');
  const got = new Promise(resolve => ready.onReady((...args) => resolve(args)));
  const promise = ready.promise();
  ready.set(error);
  assert.deepStrictEqual(await got, [ error ]);
  await assert.rejects(promise, error);
});

test('false takes the flag back', async () => {
  const ready = new Ready();
  ready.set(true);
  ready.set(false);
  let called = false;
  ready.onReady(() => {
    called = true;
  });
  assert.strictEqual(called, false);
  ready.set(true);
  await tick();
  assert.strictEqual(called, true);
});
