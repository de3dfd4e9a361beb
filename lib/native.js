'use strict';

/**
 * Loads the native binding, knows where there is one, and says in one sentence what is wrong
 * where it cannot be loaded.
 */

/** Targets a prebuilt package exists for. */
const SUPPORTED_TARGETS = [
  'linux-x64-gnu',
  'linux-x64-musl',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
];
const PACKAGE_PREFIX = '@egg-cluster-rs/binding-';
/** More than the loader makes; a chain of errors may be a circle. */
const MAX_ATTEMPTS = 16;

/**
 * Whether a prebuilt package exists for this platform, with whatever C library. Cheaper than
 * {@link currentTarget}: packages of Linux come for both.
 *
 * @return {boolean}
 */
function hasTarget() {
  const base = `${process.platform}-${process.arch}`;
  return SUPPORTED_TARGETS.some(target => target === base || target.startsWith(`${base}-`));
}

/**
 * @return {{NativeMaster: Function, PortReservation: Function}} the native classes
 * @throws {Error} with `code` ERR_EGG_CLUSTER_RS_PLATFORM or ERR_EGG_CLUSTER_RS_BINDING
 */
function load() {
  try {
    return require('../binding.js');
  } catch (cause) {
    throw loadError(currentTarget(), cause);
  }
}

/**
 * @param {string} target - as in {@link SUPPORTED_TARGETS}
 * @param {Error} thrown - what `require` threw
 * @return {Error} the error to show; its `cause` lists all attempts, the first one first
 */
function loadError(target, thrown) {
  const packageName = PACKAGE_PREFIX + target;
  const supported = SUPPORTED_TARGETS.includes(target);
  const attempts = attemptsOf(thrown);
  const error = new Error(supported
    ? `egg-cluster-rs cannot load its native binding for ${target}: install the optional dependency ${packageName} ` +
      '(do not install with --omit=optional or --no-optional, nor copy node_modules from another platform), ' +
      `or build it in a checkout with \`npm run build\`. Reason: ${reasonAmong(attempts, packageName)}`
    : `egg-cluster-rs does not support ${target}: there is no package ${packageName}. ` +
      `Supported: ${SUPPORTED_TARGETS.join(', ')}.`);
  error.code = supported ? 'ERR_EGG_CLUSTER_RS_BINDING' : 'ERR_EGG_CLUSTER_RS_PLATFORM';
  // Set here and not through the constructor, which ignores it before Node 16.9. Not the chain of errors
  // that was thrown: it prints as a hundred lines.
  Object.defineProperty(error, 'cause', { value: attempts, configurable: true, writable: true });
  return error;
}

/** One line for each path that the generated loader tried: it nests the error of each in that of the next. */
function attemptsOf(thrown) {
  const lines = [];
  for (let error = thrown; error && lines.length < MAX_ATTEMPTS; error = error.cause) {
    lines.unshift(String(error.message || error).split('\n')[0]);
  }
  return lines;
}

/** A binary that is there and cannot be used says more than all that are not there. */
function reasonAmong(attempts, packageName) {
  const isBroken = line => !line.startsWith('Cannot find');
  return attempts.find(isBroken) || attempts.find(line => line.includes(`'${packageName}'`)) || attempts[0];
}

/** @return {string} platform, architecture and, on Linux, the C library */
function currentTarget() {
  const base = `${process.platform}-${process.arch}`;
  return process.platform === 'linux' ? `${base}-${isMusl() ? 'musl' : 'gnu'}` : base;
}

/** The process report names the version of glibc; under musl it has none. */
function isMusl() {
  const report = process.report;
  if (!report || typeof report.getReport !== 'function') return lddSaysMusl();
  const excludeNetwork = report.excludeNetwork;
  // Looking up the names of network peers can take seconds.
  report.excludeNetwork = true;
  try {
    return !report.getReport().header.glibcVersionRuntime;
  } finally {
    report.excludeNetwork = excludeNetwork;
  }
}

function lddSaysMusl() {
  try {
    return require('fs').readFileSync('/usr/bin/ldd', 'utf8').includes('musl');
  } catch {
    return false;
  }
}

module.exports = { load, loadError, hasTarget, currentTarget, SUPPORTED_TARGETS, PACKAGE_PREFIX };
