'use strict';

const assert = require('assert');
const os = require('os');
const test = require('./helpers/test');

const native = require('../../lib/native');
const { processors, isAuto } = require('../../lib/processors');

function withNative(t, { hasTarget = true, load }) {
  t.mock.method(native, 'hasTarget', () => hasTarget);
  t.mock.method(native, 'load', load);
}

test('the native side counts the processors', t => {
  t.mock.method(os, 'cpus', () => Array(8));
  for (const [ count, expected ] of [ [ 3, 3 ], [ 8, 8 ], [ 64, 8 ] ]) {
    withNative(t, { load: () => ({ processors: () => count }) });
    assert.strictEqual(processors(), expected);
  }
  t.mock.method(os, 'cpus', () => []);
  withNative(t, { load: () => ({ processors: () => 3 }) });
  assert.strictEqual(processors(), 3);
});

test('where it does not know, or is not there, those of the machine count, and one there always is', t => {
  const broken = () => {
    throw new Error('no binding');
  };
  for (const binding of [ { load: () => ({ processors: () => null }) }, { load: broken }, { hasTarget: false, load: broken } ]) {
    withNative(t, binding);
    assert.strictEqual(processors(), os.cpus().length);
  }
  t.mock.method(os, 'cpus', () => []);
  assert.strictEqual(processors(), 1);
});

test('no number and the word are the same, everything else is a number', () => {
  for (const workers of [ undefined, null, 0, NaN, '', 'auto' ]) assert.ok(isAuto(workers), String(workers));
  for (const workers of [ 1, '1', '0' ]) assert.ok(!isAuto(workers), String(workers));
});
