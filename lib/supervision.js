'use strict';

/**
 * The options `restart`, `watchdog`, `hold` and `limits`: their checks, and what the native master is
 * told of them. Times are in ms.
 */

const { describe } = require('./describe');

const MAX_MS = 0x7fffffff;

const RESTART_DEFAULTS = { stableTime: 10000, maxDelay: 30000, giveUp: 60000 };
const INTENSITY_DEFAULTS = { limit: 60, period: 60000 };
const WATCHDOG_DEFAULTS = { timeout: 60000, bootTimeout: false, interval: 5000, action: 'restart', stack: false };
const HOLD_DEFAULTS = { timeout: 10000, connections: 1024 };
const MIB = 1024 * 1024;
const LIMITS_DEFAULTS = { lineBytes: 256 * MIB, outboxBytes: 16 * MIB, stallTimeout: 30000, listeners: 256 };
/** A string of V8 is no longer than this, so no line of Node is. */
const MAX_BYTES = 512 * MIB;

/** What each option may be: its test, and the words for it. */
const time = min => ({
  test: value => Number.isInteger(value) && value >= min && value <= MAX_MS,
  wants: `a whole number of ms between ${min} and ${MAX_MS}`,
});
const timeOrFalse = min => ({
  test: value => value === false || time(min).test(value),
  wants: `${time(min).wants}, or false`,
});
const count = {
  test: value => Number.isInteger(value) && value >= 1 && value <= 100000,
  wants: 'a whole number between 1 and 100000',
};
/** Below 64 KiB ordinary messages of Egg would not pass. */
const bytes = {
  test: value => Number.isInteger(value) && value >= 65536 && value <= MAX_BYTES,
  wants: `a whole number of bytes between 65536 and ${MAX_BYTES}`,
};
const flag = { test: value => typeof value === 'boolean', wants: 'true or false' };
const action = { test: value => value === 'report' || value === 'restart', wants: '\'report\' or \'restart\'' };

const RULES = {
  'restart': { stableTime: time(0), maxDelay: time(1), intensity: null, giveUp: timeOrFalse(1000) },
  'restart.intensity': { limit: count, period: time(1) },
  'watchdog': { timeout: time(1000), bootTimeout: timeOrFalse(1000), interval: time(100), action, stack: flag },
  'hold': { timeout: time(1), connections: count },
  'limits': { lineBytes: bytes, outboxBytes: bytes, stallTimeout: time(1000), listeners: count },
};

/**
 * @param {Object} options - of startCluster
 * @throws {TypeError} an option that is no object, or has a key that is not known
 * @throws {RangeError} a value that is out of range
 */
function checkSupervision(options) {
  checkObject('restart', options.restart);
  if (isGiven(options.restart)) checkObject('restart.intensity', options.restart.intensity);
  if (options.watchdog !== false) checkObject('watchdog', options.watchdog);
  checkObject('hold', options.hold);
  checkObject('limits', options.limits);
}

function checkObject(name, value) {
  if (!isGiven(value)) return;
  const rules = RULES[name];
  if (typeof value !== 'object' || Array.isArray(value)) {
    const orFalse = name === 'watchdog' ? ' or false' : '';
    throw new TypeError(`options.${name} must be an object${orFalse}, but got ${describe(value)}`);
  }
  for (const key of Object.keys(value)) {
    if (!Object.prototype.hasOwnProperty.call(rules, key)) {
      throw new TypeError(`options.${name}.${key} is not known; options.${name} may have ${Object.keys(rules).join(', ')}`);
    }
    const rule = rules[key];
    if (rule !== null && isGiven(value[key]) && !rule.test(value[key])) {
      throw new RangeError(`options.${name}.${key} must be ${rule.wants}, but got ${describe(value[key])}`);
    }
  }
}

/**
 * @param {Object} options - checked
 * @param {boolean} isProduction
 * @return {Object} the part of the native configuration
 */
function supervisionConfig(options, isProduction) {
  const restart = withDefaults(RESTART_DEFAULTS, options.restart);
  const intensity = withDefaults(INTENSITY_DEFAULTS, restart.intensity);
  const hold = withDefaults(HOLD_DEFAULTS, options.hold);
  const limits = withDefaults(LIMITS_DEFAULTS, options.limits);
  return {
    restart: {
      stableTimeMs: restart.stableTime,
      maxDelayMs: restart.maxDelay,
      intensityLimit: intensity.limit,
      intensityPeriodMs: intensity.period,
      giveUpMs: restart.giveUp === false ? null : restart.giveUp,
    },
    watchdog: options.watchdog === false ? null : watchdogConfig(options.watchdog, isProduction),
    hold: { timeoutMs: hold.timeout, connections: hold.connections },
    limits: {
      lineBytes: limits.lineBytes,
      outboxBytes: limits.outboxBytes,
      stallTimeoutMs: limits.stallTimeout,
      listeners: limits.listeners,
    },
  };
}

/**
 * @param {Object} options - checked
 * @return {number} how much may wait for one that does not read, in bytes
 */
function outboxLimit(options) {
  return withDefaults(LIMITS_DEFAULTS, options.limits).outboxBytes;
}

function watchdogConfig(options, isProduction) {
  const { timeout, bootTimeout, interval, action: wanted, stack } = withDefaults(WATCHDOG_DEFAULTS, options);
  return {
    timeoutMs: timeout,
    bootTimeoutMs: bootTimeout === false ? null : bootTimeout,
    intervalMs: interval,
    // Elsewhere nobody would replace a killed worker.
    kills: wanted === 'restart' && isProduction,
    stack,
  };
}

function withDefaults(defaults, given) {
  const merged = { ...defaults };
  for (const [ key, value ] of Object.entries(given || {})) {
    if (isGiven(value)) merged[key] = value;
  }
  return merged;
}

function isGiven(value) {
  return value !== undefined && value !== null;
}

module.exports = { checkSupervision, supervisionConfig, outboxLimit };
