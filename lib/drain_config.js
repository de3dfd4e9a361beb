'use strict';

/**
 * How app workers are drained: how long, and the file that has to be loaded in them for it.
 */

const path = require('path');
const { describe } = require('./describe');

const PRELOAD_FILE = path.join(__dirname, 'worker_preload.js');
const TIMEOUT_ENV = 'EGG_CLUSTER_RS_DRAIN_TIMEOUT';
/** Outside production nobody wants to wait for a browser's open connection, in ms. */
const MAX_DEFAULT_ELSEWHERE_MS = 1000;
/** Under Node's permission model a worker may be unable to read the file, and would not start. */
const PERMISSION_ARG = /^--(?:experimental-)?permission\b/;

/** Times that `options.drain` may hold, in ms. */
const TIMES = [ 'timeout', 'websocketTimeout' ];
/** The longest time that timers take, in ms. */
const MAX_TIME = 0x7fffffff;

/**
 * @param {*} drain - the option of startCluster
 * @throws {TypeError|RangeError} something in it that is wrong
 */
function checkDrain(drain) {
  if (drain === undefined || drain === null || drain === false) return;
  if (typeof drain !== 'object' || Array.isArray(drain)) {
    throw new TypeError(`options.drain must be false or an object such as { timeout: 5000 }, but got ${describe(drain)}`);
  }
  for (const [ name, value ] of Object.entries(drain)) {
    if (!TIMES.includes(name)) {
      throw new TypeError(`options.drain has no ${name}; it may have ${TIMES.join(' and ')}`);
    }
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number') {
      throw new TypeError(`options.drain.${name} must be a number of ms, but got ${describe(value)}`);
    }
    if (!(value >= 0 && value <= MAX_TIME)) {
      throw new RangeError(`options.drain.${name} must be a time in ms between 0 and ${MAX_TIME}, but got ${describe(value)}`);
    }
  }
}

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

module.exports = { checkDrain, drainConfig, isUnderPermissions, PRELOAD_FILE };
