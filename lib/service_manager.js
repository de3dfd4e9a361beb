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

/** The first descriptor of LISTEN_FDS (`SD_LISTEN_FDS_START`). */
const FIRST_SOCKET = 3;
/** Nobody has more; each is looked at. */
const MAX_SOCKETS = 1024;

/**
 * @param {Object} input
 * @param {Object} input.env - of the process; the variables are removed from it
 * @param {number} input.pid - of the process
 * @param {function(...*): void} input.warn - logs what makes no sense
 * @return {{service: Object|null, inherited: Object[]}} a part of the native configuration
 */
function takeServiceManager({ env, pid, warn }) {
  const given = {};
  for (const name of VARIABLES) {
    if (env[name]) given[name] = env[name];
    delete env[name];
  }
  return { service: service(given, pid, warn), inherited: inheritedSockets(given, pid, warn) };
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

/** @return {Array<{fd: number, name: string|null}>} what should be listening sockets */
function inheritedSockets(given, pid, warn) {
  const { LISTEN_FDS: text, LISTEN_PID: owner } = given;
  if (!text) return [];
  const ignore = (reason, ...args) => {
    warn(`[master] LISTEN_FDS is ignored: ${reason}`, ...args);
    return [];
  };
  if (!owner) return ignore('LISTEN_PID should say for which process the sockets are, but is not set');
  if (Number(owner) !== pid) return ignore('the sockets are for process %s (LISTEN_PID), and this is %s', owner, pid);
  const count = wholeNumber(text);
  if (count === null || count < 1 || count > MAX_SOCKETS) {
    return ignore('it should be a number of sockets between 1 and %s, but is %j', MAX_SOCKETS, text);
  }
  const names = socketNames(given, count, warn);
  return Array.from({ length: count }, (_, i) => ({ fd: FIRST_SOCKET + i, name: names[i] || null }));
}

/** They are for the log only, so the sockets are good without them. */
function socketNames({ LISTEN_FDNAMES: text }, count, warn) {
  if (!text) return [];
  const names = text.split(':');
  if (names.length === count) return names;
  warn('[master] LISTEN_FDNAMES is ignored: it has %s names for %s sockets', names.length, count);
  return [];
}

/** @return {number|null} null for anything but digits, and for more than a number holds */
function wholeNumber(text) {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(value) ? value : null;
}

module.exports = { takeServiceManager };
