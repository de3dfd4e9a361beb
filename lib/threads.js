'use strict';

/**
 * The options of `startMode: 'worker_threads'`: how many app threads there are, and what each
 * of them is told.
 */

const os = require('os');
const { describe } = require('./describe');

/** Where app_worker.js of egg-cluster uses `reusePort`. */
const REUSE_PORT_PLATFORMS = [ 'linux', 'freebsd', 'sunos', 'aix' ];
const MAX_PORT = 65535;

/**
 * @param {Object} options - of startCluster, with `port` and `workers` read already
 * @return {{workers: number, ports: number[]}} the number of app threads, and the port of each;
 *   no ports where all have that of `options.port` or of the application's configuration
 * @throws {TypeError|RangeError|Error} options that threads cannot have
 */
function threadPlaces(options) {
  if (options.sticky) {
    throw new TypeError('options.sticky is not possible with startMode \'worker_threads\': ' +
      'a connection cannot be handed to a thread');
  }
  const places = findPlaces(options);
  if (options.debugPort && places.workers > 1) {
    throw new TypeError(`options.debugPort is not possible with ${places.workers} threads: each of them would listen on it`);
  }
  return places;
}

function findPlaces({ reusePort, port, ports, workers }) {
  const own = parsePorts(ports);
  if (reusePort) {
    checkReusePort(port, workers);
    return { workers, ports: own };
  }
  if (own.length > 0) return { workers: own.length, ports: own };
  return { workers: 1, ports: port ? [ port ] : [] };
}

/**
 * @param {*} ports - the option
 * @return {number[]} none where it is not given
 * @throws {TypeError|RangeError} what is no list of different ports
 */
function parsePorts(ports) {
  if (!ports) return [];
  if (!Array.isArray(ports)) {
    throw new TypeError(`options.ports must be an array of port numbers, but got ${describe(ports)}`);
  }
  const seen = new Set();
  return ports.map((given, i) => {
    const isText = typeof given === 'string' && /^\d+$/.test(given);
    const port = isText ? Number(given) : given;
    if (!Number.isInteger(port) || port < 1 || port > MAX_PORT) {
      throw new RangeError(`options.ports[${i}] must be a port number between 1 and ${MAX_PORT}, but got ${describe(given)}`);
    }
    if (seen.has(port)) {
      throw new RangeError(`options.ports[${i}] must not be ${port} once more: a port can have one thread only, without reusePort`);
    }
    seen.add(port);
    return port;
  });
}

function checkReusePort(port, workers) {
  // The text of egg-cluster.
  if (!port) throw new Error('options.port must be specified when reusePort is enabled');
  if (workers > 1 && !canReusePort(process.versions.node, os.platform())) {
    throw new Error(`options.reusePort with ${workers} threads needs Node.js 22.12 or later on ${REUSE_PORT_PLATFORMS.join(', ')}, ` +
      `but this is Node.js ${process.versions.node} on ${os.platform()}: give each thread a port of its own by options.ports, or set options.workers to 1`);
  }
}

/** Whether `server.listen({ reusePort: true })` sets SO_REUSEPORT; elsewhere it is ignored. */
function canReusePort(nodeVersion, platform) {
  const [ major, minor ] = nodeVersion.split('.').map(Number);
  const isKnown = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  return isKnown && REUSE_PORT_PLATFORMS.includes(platform);
}

/**
 * @param {Object} given - the options as they were given to startCluster
 * @param {Object} parsed - the complete options
 * @return {string[]} what of it has no effect on threads
 */
function ignoredOptions(given, parsed) {
  const ignored = [];
  if (given.drain) ignored.push('options.drain has no effect: threads are ended at once');
  if (given.prestart) ignored.push('options.prestart has no effect: threads are not started ahead of time');
  if (given.hold) ignored.push('options.hold has no effect: threads listen by themselves');
  if (given.limits) ignored.push('options.limits has no effect: threads have no channel');
  if (given.watchdog) ignored.push('options.watchdog has no effect: threads are not watched');
  if (parsed.reusePort && parsed.ports.length > 0) {
    ignored.push('options.ports has no effect with options.reusePort: all threads listen on options.port');
  }
  if (!parsed.reusePort && parseInt(given.workers, 10) > parsed.workers) {
    ignored.push(`options.workers (${given.workers}) has no effect: there is one thread for each of ${parsed.workers} port(s)`);
  }
  return ignored;
}

/**
 * @param {Object} options - the complete options
 * @param {number|null} slot - of an app thread, from 0; null for the agent
 * @return {Object} what the thread is told
 */
function threadOptions(options, slot) {
  const hasOwnPort = slot !== null && !options.reusePort && options.ports.length > 0;
  return hasOwnPort ? { ...options, port: options.ports[slot] } : options;
}

module.exports = { parsePorts, threadPlaces, canReusePort, ignoredOptions, threadOptions };
