'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { Tally } = require('../../bench/fixture/relay/tally');
const { runMessages, failedDeliveries } = require('../../bench/lib/messages');
const { startMaster } = require('../../bench/lib/peers');
const { slope } = require('../../bench/lib/stats');

/** What a receiver says that has got messages with these numbers. */
function got(...numbers) {
  const tally = new Tally();
  for (const n of numbers) tally.add({ n, text: 'abc' });
  return tally.take();
}

test('a message that is lost, doubled, out of order or cut counts as failed', () => {
  const expected = { received: 3, characters: 9 };
  assert.strictEqual(failedDeliveries(expected, got(0, 1, 2)), 0);
  assert.ok(failedDeliveries(expected, got(0, 1)) > 0);
  assert.ok(failedDeliveries(expected, got(0, 2)) > 0);
  assert.ok(failedDeliveries(expected, got(0, 1, 1, 2)) > 0);
  assert.ok(failedDeliveries(expected, got(1, 0, 2)) > 0);
  assert.ok(failedDeliveries(expected, { ...got(0, 1, 2), characters: 8 }) > 0);
});

test('a tally begins anew when it is taken', () => {
  const tally = new Tally();
  tally.add({ n: 0, text: 'abc' });
  tally.take();
  tally.add({ n: 0, text: 'ж' });
  assert.deepStrictEqual(tally.take(), { received: 1, misplaced: 0, characters: 1 });
});

test('the slope is that of the line through all points', () => {
  assert.strictEqual(slope([ 5, 7, 9, 11 ]), 2);
  assert.strictEqual(slope([ 3, 3, 3 ]), 0);
  assert.strictEqual(slope([ 0, 1, 0, 1, 0 ]), 0);
});

test('messages of every route arrive', { skip: process.platform !== 'linux' && 'the benchmark reads /proc' }, async t => {
  const master = await startMaster({ name: 'egg-cluster-rs', label: 'relay-test' }, { workers: 2, fixture: 'relay' });
  t.after(() => master.stop());
  for (const route of [ 'agentToApps', 'appToAgent', 'appToApp' ]) {
    for (const load of [ { count: 50, bytes: 100 }, { count: 5, bytes: 1000, ascii: false }, { count: 3, bytes: 10, pauseMs: 1 } ]) {
      assert.deepStrictEqual(await runMessages(master, { route, ...load }), { failed: 0 }, route);
    }
  }
});
