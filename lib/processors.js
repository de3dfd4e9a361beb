'use strict';

/**
 * How many app workers there are where the options name no number: one for each processor that this
 * process may use. That of the machine is too many in a container with a quota: the workers would
 * use up their time early in each period of it, and then all of them would stand still.
 */

const os = require('os');
const native = require('./native');

/** What `options.workers` may be in place of a number. */
const AUTO = 'auto';

/** @return {number} 1 or more */
function processors() {
  const cpus = os.cpus().length;
  const count = counted();
  // Either may be unknown, and each may be told less than there is by what hides it in a container.
  return Math.min(count || cpus, cpus || count) || 1;
}

/** As the native side counts them; null where there is none. */
function counted() {
  if (!native.hasTarget()) return null;
  try {
    return native.load().processors();
  } catch {
    // Whoever needs the binding for more tells what is wrong with it.
    return null;
  }
}

/** @return {boolean} whether `options.workers` leaves the number to us */
function isAuto(workers) {
  return !workers || workers === AUTO;
}

module.exports = { processors, isAuto, AUTO };
