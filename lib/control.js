'use strict';

/**
 * The option `control`: where operators see and steer the master. The socket itself is served by
 * the native side, which needs no JavaScript for it.
 */

const path = require('path');
const { describe } = require('./describe');

/** Below the directory of the application. */
const DEFAULT_PATH = path.join('run', 'egg-cluster-rs.sock');
/** The path of the socket, or `false`; goes before the option. */
const CONTROL_ENV = 'EGG_CLUSTER_RS_CONTROL';
const KEYS = [ 'path', 'tcp' ];
const MAX_PORT = 65535;
const LOOPBACK = '127.0.0.1';

/**
 * @param {*} control - the option of startCluster
 * @throws {TypeError|RangeError} something in it that is wrong
 */
function checkControl(control) {
  if (control === undefined || control === null || control === false) return;
  if (typeof control !== 'object' || Array.isArray(control)) {
    throw new TypeError(`options.control must be an object or false, but got ${describe(control)}`);
  }
  for (const key of Object.keys(control)) {
    if (!KEYS.includes(key)) {
      throw new TypeError(`options.control.${key} is not known; options.control may have ${KEYS.join(', ')}`);
    }
  }
  const { path: file, tcp } = control;
  if (isGiven(file) && (typeof file !== 'string' || file === '' || file.includes('\0'))) {
    throw new TypeError(`options.control.path must be the path of a socket, but got ${describe(file)}`);
  }
  if (isGiven(tcp)) tcpAddress(tcp);
}

/**
 * @param {Object} options - complete and checked
 * @param {Object} [env] - of the process
 * @return {Object|null} the part of the native configuration; null where there is no socket
 */
function controlConfig({ control, baseDir, exitProcess }, env = process.env) {
  const fromEnv = env[CONTROL_ENV];
  if (fromEnv === 'false' || (control === false && !fromEnv)) return null;
  // The process of a test runner is no operator's business, and may have many masters.
  if (!isGiven(control) && !fromEnv && exitProcess === false) return null;
  const { path: file, tcp } = control || {};
  return {
    path: path.resolve(baseDir, fromEnv || (isGiven(file) ? file : DEFAULT_PATH)),
    tcp: isGiven(tcp) ? tcpAddress(tcp) : null,
    baseDir: path.resolve(baseDir),
  };
}

/**
 * @param {number|string} tcp - a port at the loopback address, or `host:port` with an address for the host
 * @return {string} the same as `host:port`
 */
function tcpAddress(tcp) {
  const [ , host, digits ] = /^(?:(.+):)?(\d+)$/.exec(String(tcp)) || [];
  if (digits === undefined || !(typeof tcp === 'number' || typeof tcp === 'string')) throw badAddress(TypeError, tcp);
  if (Number(digits) > MAX_PORT) throw badAddress(RangeError, tcp);
  if (host === undefined || host === 'localhost') return `${LOOPBACK}:${Number(digits)}`;
  const address = host.replace(/^\[(.*)\]$/, '$1');
  // Loaded only where an address is given: it takes more than a megabyte.
  const family = require('net').isIP(address);
  if (family === 0 || (family === 6 && address === host)) throw badAddress(TypeError, tcp);
  return `${family === 6 ? `[${address}]` : address}:${Number(digits)}`;
}

function badAddress(ErrorType, tcp) {
  return new ErrorType('options.control.tcp must be a port (of 127.0.0.1) between 0 and 65535, or an address with one, ' +
    `such as '0.0.0.0:9100' or '[::]:9100', but got ${describe(tcp)}`);
}

function isGiven(value) {
  return value !== undefined && value !== null;
}

module.exports = { checkControl, controlConfig, DEFAULT_PATH, CONTROL_ENV };
