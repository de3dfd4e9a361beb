'use strict';

/**
 * What a service manager such as systemd tells a process by its environment. It is meant for this
 * process alone, so it is taken out of the environment: whoever is started from here would take
 * it for its own.
 */

/** Removed, whatever is made of them. */
const VARIABLES = [
  'NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC', 'LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', 'LISTEN_PIDFDID',
];

/**
 * @param {Object} input
 * @param {Object} input.env - of the process; the variables are removed from it
 * @param {number} input.pid - of the process
 * @param {function(...*): void} input.warn - logs what makes no sense
 * @return {Object} a part of the native configuration
 */
function takeServiceManager({ env, pid, warn }) {
  const given = {};
  for (const name of VARIABLES) {
    if (env[name]) given[name] = env[name];
    delete env[name];
  }
  return { service: service(given, pid, warn) };
}

function service(given, pid, warn) {
  const { NOTIFY_SOCKET: socket } = given;
  return socket ? { socket, watchdogUs: watchdogTime(given, pid, warn) } : null;
}

/** @return {number|null} the longest time between two signs of life, in µs */
function watchdogTime({ WATCHDOG_USEC: text, WATCHDOG_PID: owner }, pid, warn) {
  if (!text) return null;
  if (owner && Number(owner) !== pid) {
    warn('[master] WATCHDOG_USEC is ignored: signs of life are expected of process %s (WATCHDOG_PID), and this is %s', owner, pid);
    return null;
  }
  const time = wholeNumber(text);
  if (time !== null && time > 0) return time;
  warn('[master] WATCHDOG_USEC is ignored: it should be a time in µs, but is %j', text);
  return null;
}

/** @return {number|null} null for anything but digits, and for more than a number holds */
function wholeNumber(text) {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(value) ? value : null;
}

module.exports = { takeServiceManager };
