'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { loadError, hasTarget, currentTarget, SUPPORTED_TARGETS } = require('../../lib/native');

test('an unsupported platform is named, with the package it would need and what is supported', () => {
  const cause = new Error('no such file');
  const err = loadError('win32-x64', cause);
  assert.strictEqual(err.message, 'egg-cluster-rs does not support win32-x64: there is no package @egg-cluster-rs/binding-win32-x64. ' +
    `Supported: ${SUPPORTED_TARGETS.join(', ')}.`);
  assert.strictEqual(err.code, 'ERR_EGG_CLUSTER_RS_PLATFORM');
  assert.deepStrictEqual(err.cause, [ 'no such file' ]);
  assert.deepStrictEqual(Object.keys(err), [ 'code' ]);
});

/** As the generated loader throws: the error of each attempt is in that of the next. */
function chain(...messages) {
  return messages.reduce((cause, message) => Object.assign(new Error(message), { cause }), null);
}

const NOT_BUILT = 'Cannot find module \'./egg-cluster-rs.linux-x64-gnu.node\'';
const NOT_INSTALLED = 'Cannot find module \'@egg-cluster-rs/binding-linux-x64-gnu\'';
const NOTHING = 'Cannot find native binding. npm has a bug';

test('a missing binary on a supported platform says how to get it', () => {
  const err = loadError('linux-x64-gnu', chain(NOT_BUILT, NOT_INSTALLED, 'Cannot find module \'./wasi\'', NOTHING));
  assert.match(err.message, /install the optional dependency @egg-cluster-rs\/binding-linux-x64-gnu .*`npm run build`/);
  assert.ok(err.message.endsWith(`Reason: ${NOT_INSTALLED}`), err.message);
  assert.strictEqual(err.code, 'ERR_EGG_CLUSTER_RS_BINDING');
  assert.deepStrictEqual(err.cause, [ NOT_BUILT, NOT_INSTALLED, 'Cannot find module \'./wasi\'', NOTHING ]);
});

test('a binary that cannot be used says why', () => {
  const err = loadError('linux-x64-gnu', chain(NOT_BUILT, 'GLIBC_2.99 not found\nrequired by', 'Cannot find module \'./wasi\'', NOTHING));
  assert.match(err.message, /Reason: GLIBC_2\.99 not found$/);
});

test('a chain of errors in a circle ends', () => {
  const circle = new Error('round');
  circle.cause = circle;
  assert.match(loadError('darwin-arm64', circle).message, /Reason: round$/);
});

test('every platform of the tests has a target', () => {
  assert.strictEqual(hasTarget(), true);
});

test('the current target has platform, architecture and, on Linux, the C library', () => {
  const expected = process.platform === 'linux'
    ? new RegExp(`^linux-${process.arch}-${process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'}$`)
    : new RegExp(`^${process.platform}-${process.arch}$`);
  assert.match(currentTarget(), expected);
});
