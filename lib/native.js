'use strict';

/**
 * Loads the native binding and says in one sentence what is wrong where it cannot be loaded.
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
 * @param {Error} cause - what `require` threw
 * @return {Error} the error to show
 */
function loadError(target, cause) {
  const packageName = PACKAGE_PREFIX + target;
  const supported = SUPPORTED_TARGETS.includes(target);
  const error = new Error(supported
    ? `egg-cluster-rs cannot load its native binding for ${target}: install the optional dependency ${packageName} ` +
      '(do not install with --omit=optional or --no-optional, nor copy node_modules from another platform), ' +
      `or build it in a checkout with \`npm run build\`. Reason: ${reasonOf(cause)}`
    : `egg-cluster-rs does not support ${target}: there is no package ${packageName}. ` +
      `Supported: ${SUPPORTED_TARGETS.join(', ')}.`);
  error.code = supported ? 'ERR_EGG_CLUSTER_RS_BINDING' : 'ERR_EGG_CLUSTER_RS_PLATFORM';
  // Set here and not through the constructor, which ignores it before Node 16.9.
  Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true });
  return error;
}

/** The innermost reason: the generated loader nests one error per path that it tried. */
function reasonOf(error) {
  let reason = error;
  const seen = new Set();
  while (reason && reason.cause && !seen.has(reason)) {
    seen.add(reason);
    reason = Array.isArray(reason.cause) ? reason.cause[0] : reason.cause;
  }
  return String((reason && reason.message) || reason).split('\n')[0];
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

module.exports = { load, loadError, currentTarget, SUPPORTED_TARGETS };
