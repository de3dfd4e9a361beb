'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { outliveOutput, reapOrphans, REAP_INTERVAL } = require('../../lib/process_duties');

test('lost output is no error, and all else stays one', () => {
  const before = process.stdout.listenerCount('error');
  outliveOutput();
  outliveOutput();
  assert.strictEqual(process.stdout.listenerCount('error'), before + 1);
  for (const stream of [ process.stdout, process.stderr ]) {
    const [ listener ] = stream.listeners('error').slice(-1);
    for (const code of [ 'EPIPE', 'EIO', 'ENOSPC' ]) listener(Object.assign(new Error(code), { code }));
    assert.throws(() => listener(new Error('a defect')), /a defect/);
    stream.removeListener('error', listener);
  }
});

test('orphans are looked for again and again, but only where they are expected', t => {
  const intervals = [];
  t.mock.method(global, 'setInterval', (look, ms) => {
    const interval = { look, ms, unref: () => intervals.push(interval) };
    return interval;
  });
  let looks = 0;
  const binding = expected => ({ adoptsOrphans: () => expected, reapOrphans: () => ++looks });
  reapOrphans(binding(false));
  assert.deepStrictEqual(intervals, []);
  reapOrphans(binding(true));
  const [ { look, ms } ] = intervals;
  assert.strictEqual(ms, REAP_INTERVAL);
  look();
  look();
  assert.strictEqual(looks, 2);
});
