'use strict';

/** @return {number} the monotonic clock in ms; the workers' notes use it, too */
function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

function sleep(ms) {
  return new Promise(resolve => setTimeout(resolve, ms));
}

const LOOK_EVERY_MS = 20;

/**
 * For what other processes do, which no event tells.
 * @param {function(): boolean} condition - asked every 20 ms
 * @param {number} timeoutMs - gives up after that
 * @return {Promise<boolean>} whether it came true
 */
async function until(condition, timeoutMs) {
  const end = now() + timeoutMs;
  while (!condition()) {
    if (now() > end) return false;
    await sleep(LOOK_EVERY_MS);
  }
  return true;
}

module.exports = { now, sleep, until };
