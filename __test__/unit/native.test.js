'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { loadError, currentTarget, SUPPORTED_TARGETS } = require('../../lib/native');

test('an unsupported platform is named, with the package it would need and what is supported', () => {
  const cause = new Error('no such file');
  const err = loadError('win32-x64', cause);
  assert.strictEqual(err.message, 'egg-cluster-rs does not support win32-x64: there is no package @egg-cluster-rs/binding-win32-x64. ' +
    `Supported: ${SUPPORTED_TARGETS.join(', ')}.`);
  assert.strictEqual(err.code, 'ERR_EGG_CLUSTER_RS_PLATFORM');
  assert.strictEqual(err.cause, cause);
  assert.deepStrictEqual(Object.keys(err), [ 'code' ]);
});

test('a missing or broken binary on a supported platform says how to get it, and the innermost reason', () => {
  const outer = new Error('Cannot find native binding');
  outer.cause = [ new Error('GLIBC_2.99 not found\nrequired by') ];
  const err = loadError('linux-x64-gnu', outer);
  assert.match(err.message, /install the optional dependency @egg-cluster-rs\/binding-linux-x64-gnu .*`npm run build`/);
  assert.match(err.message, /Reason: GLIBC_2\.99 not found$/);
  assert.strictEqual(err.code, 'ERR_EGG_CLUSTER_RS_BINDING');
});

test('the current target has platform, architecture and, on Linux, the C library', () => {
  const expected = process.platform === 'linux'
    ? new RegExp(`^linux-${process.arch}-${process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'}$`)
    : new RegExp(`^${process.platform}-${process.arch}$`);
  assert.match(currentTarget(), expected);
});
