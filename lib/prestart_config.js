'use strict';

/**
 * The option `prestart`: app workers that are started ahead of time, load the framework, and
 * wait until they are needed.
 */

const { describe } = require('./describe');

const KEYS = [ 'atStart', 'spares' ];
const MAX_SPARES = 64;
const NONE = { atStart: false, spares: 0 };

/**
 * @param {*} prestart - the option of startCluster
 * @throws {TypeError|RangeError} something in it that is wrong
 */
function checkPrestart(prestart) {
  if (prestart === undefined || prestart === null || typeof prestart === 'boolean') return;
  if (typeof prestart !== 'object' || Array.isArray(prestart)) {
    throw new TypeError(`options.prestart must be true, false or an object such as { spares: 1 }, but got ${describe(prestart)}`);
  }
  for (const [ name, value ] of Object.entries(prestart)) {
    if (!KEYS.includes(name)) {
      throw new TypeError(`options.prestart has no ${name}; it may have ${KEYS.join(' and ')}`);
    }
    if (value === undefined || value === null) continue;
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
 * @param {string|null} [input.env] - the environment of the application
 * @param {string|null} input.hindrance - why it is not possible
 * @param {function(...*): void} input.log - told of that, where it is asked for
 * @return {{atStart: boolean, spares: number}}
 */
function prestartConfig({ prestart, env, hindrance, log }) {
  if (!prestart) return NONE;
  if (hindrance !== null) {
    log('[master] options.prestart has no effect: %s', hindrance);
    return NONE;
  }
  const { atStart, spares } = prestart === true ? {} : prestart;
  return {
    atStart: atStart !== false,
    // Who develops an application waits for its reloads.
    spares: spares !== undefined && spares !== null ? spares : Number(env === 'local'),
  };
}

module.exports = { checkPrestart, prestartConfig };
