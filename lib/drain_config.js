'use strict';

/**
 * How app workers are drained: how long, and the file that has to be loaded in them for it.
 */

const path = require('path');

const PRELOAD_FILE = path.join(__dirname, 'worker_preload.js');
const TIMEOUT_ENV = 'EGG_CLUSTER_RS_DRAIN_TIMEOUT';
/** Outside production nobody wants to wait for a browser's open connection, in ms. */
const MAX_DEFAULT_ELSEWHERE_MS = 1000;
/** Under Node's permission model a worker may be unable to read the file, and would not start. */
const PERMISSION_ARG = /^--(?:experimental-)?permission\b/;

/**
 * @param {Object} input
 * @param {Object|false} [input.drain] - the option of startCluster, checked
 * @param {boolean} input.isProduction
 * @param {number} input.appCloseTimeoutMs
 * @param {function(string, number): number} input.fromEnv - a time in ms of an environment variable, or the fallback
 * @return {{preloadFile: string|null, drain: {timeoutMs: number, websocketTimeoutMs: number}|null}}
 */
function drainConfig({ drain, isProduction, appCloseTimeoutMs, fromEnv }) {
  const timeoutMs = fromEnv(TIMEOUT_ENV, optionTimeout(drain, isProduction, appCloseTimeoutMs));
  const websocketTimeoutMs = drain && drain.websocketTimeout != null ? Math.floor(drain.websocketTimeout) : timeoutMs;
  if (Math.max(timeoutMs, websocketTimeoutMs) === 0 || isUnderPermissions()) return { preloadFile: null, drain: null };
  return { preloadFile: PRELOAD_FILE, drain: { timeoutMs, websocketTimeoutMs } };
}

function optionTimeout(drain, isProduction, appCloseTimeoutMs) {
  if (drain === false) return 0;
  if (drain && drain.timeout != null) return Math.floor(drain.timeout);
  return isProduction ? appCloseTimeoutMs : Math.min(appCloseTimeoutMs, MAX_DEFAULT_ELSEWHERE_MS);
}

function isUnderPermissions() {
  const fromEnv = (process.env.NODE_OPTIONS || '').split(/\s+/);
  return [ ...process.execArgv, ...fromEnv ].some(arg => PERMISSION_ARG.test(arg));
}

module.exports = { drainConfig };
