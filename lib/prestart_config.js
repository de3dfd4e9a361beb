'use strict';

/**
 * The option `prestart`: app workers that are started ahead of time, load the framework, and
 * wait until they are needed.
 */

const { describe } = require('./describe');

const ENV = 'EGG_CLUSTER_RS_PRESTART';
const KEYS = [ 'atStart', 'spares' ];
const MAX_SPARES = 64;
const NONE = { atStart: false, spares: 0 };

/**
 * @param {*} prestart - the option of startCluster
 * @throws {TypeError|RangeError} something in it that is wrong
 */
function checkPrestart(prestart) {
  if (!isGiven(prestart) || typeof prestart === 'boolean') return;
  if (typeof prestart !== 'object' || Array.isArray(prestart)) {
    throw new TypeError(`options.prestart must be true, false or an object such as { spares: 1 }, but got ${describe(prestart)}`);
  }
  for (const [ name, value ] of Object.entries(prestart)) {
    if (!KEYS.includes(name)) {
      throw new TypeError(`options.prestart has no ${name}; it may have ${KEYS.join(' and ')}`);
    }
    if (!isGiven(value)) continue;
    if (name === 'atStart' && typeof value !== 'boolean') {
      throw new TypeError(`options.prestart.atStart must be true or false, but got ${describe(value)}`);
    }
    if (name === 'spares' && !(Number.isInteger(value) && value >= 0 && value <= MAX_SPARES)) {
      throw new RangeError(`options.prestart.spares must be a whole number between 0 and ${MAX_SPARES}, but got ${describe(value)}`);
    }
  }
}

/**
 * @param {Object} input
 * @param {boolean|Object} [input.prestart] - the option of startCluster, checked
 * @param {boolean} input.isProduction
 * @param {string|null} input.hindrance - why it is not possible
 * @param {function(...*): void} input.warn - told of that, where it is asked for
 * @return {{atStart: boolean, spares: number}}
 */
function prestartConfig({ prestart, isProduction, hindrance, warn }) {
  const wanted = isGiven(prestart) ? prestart : fromEnv(warn);
  const isDefault = !isGiven(wanted);
  if (!(isDefault ? isDeveloped(isProduction) : wanted)) return NONE;
  if (hindrance !== null) {
    if (!isDefault) warn('[master] options.prestart has no effect: %s', hindrance);
    return NONE;
  }
  const { atStart, spares } = Object(wanted);
  return {
    atStart: atStart !== false,
    // Who develops an application waits for its reloads.
    spares: isGiven(spares) ? spares : Number(!isProduction),
  };
}

/** @return {boolean|undefined} what the environment says */
function fromEnv(warn) {
  const text = process.env[ENV];
  if (text === 'true' || text === 'false') return text === 'true';
  if (text) warn('[master] environment variable %s should be true or false, but is %j', ENV, text);
  return undefined;
}

/** By `egg-bin dev`, to which no option can be given. */
function isDeveloped(isProduction) {
  return !isProduction && process.env.NODE_ENV === 'development';
}

function isGiven(value) {
  return value !== undefined && value !== null;
}

module.exports = { checkPrestart, prestartConfig };
