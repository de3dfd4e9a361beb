'use strict';

/**
 * The master's logger: egg-logger's console logger, which is loaded when it is needed.
 *
 * A text on something that is no terminal needs nothing of it: such a line is written
 * here, in its format. egg-logger comes in with the first error, with colours, or with
 * any other use of it. A master that never needs it is ready some 30 ms sooner and 10 MB
 * smaller (`npm run bench -- memory`), since egg-logger loads about 80 modules.
 */

const util = require('util');
const { isJson, jsonLogger } = require('./json_log');

const LEVELS = { ALL: -Infinity, DEBUG: 0, INFO: 1, WARN: 2, ERROR: 3, NONE: Infinity };

/** @return {Object} a logger with the interface of EggConsoleLogger; where the log is JSON, with the methods that are used of it */
exports.createLogger = () => {
  if (isJson()) return jsonLogger(leastLevel());
  const level = process.env.EGG_MASTER_LOGGER_LEVEL || 'INFO';
  let full = null;
  const load = () => {
    if (full === null) full = new (loadConsoleLogger())({ level });
    return full;
  };
  const plain = isPlain() ? plainLogger(level, load) : {};
  return new Proxy(plain, {
    get(target, name) {
      if (full === null && Object.prototype.hasOwnProperty.call(target, name)) return target[name];
      const value = load()[name];
      return typeof value === 'function' ? value.bind(full) : value;
    },
    has: (target, name) => name in load(),
    getPrototypeOf: () => Object.getPrototypeOf(load()),
  });
};

/** @return {string} the lowest level that is written */
function leastLevel() {
  return process.env.EGG_LOG || process.env.EGG_MASTER_LOGGER_LEVEL || 'INFO';
}

exports.leastLevel = leastLevel;

/**
 * @return {Function} the class EggConsoleLogger. Its own file is loaded where possible:
 *   the whole of egg-logger takes twice as long, and the master writes no files.
 */
function loadConsoleLogger() {
  try {
    return require('egg-logger/lib/egg/console_logger');
  } catch (err) {
    if (err.code !== 'MODULE_NOT_FOUND' && err.code !== 'ERR_PACKAGE_PATH_NOT_EXPORTED') throw err;
    return require('egg-logger').EggConsoleLogger;
  }
}

/** Lines will certainly have no colour. */
function isPlain() {
  return !process.stdout.isTTY && process.env.FORCE_COLOR === undefined &&
    !process.argv.some(arg => arg.startsWith('--color'));
}

/** The methods that write a text; errors are left to egg-logger. */
function plainLogger(level, load) {
  // As in egg-logger, EGG_LOG goes before every other setting.
  const least = LEVELS[String(process.env.EGG_LOG || level).toUpperCase()];
  const write = (name, stream) => (...args) => {
    if (args[0] instanceof Error) {
      load()[name.toLowerCase()](...args);
    } else if (least <= LEVELS[name] && least !== LEVELS.NONE) {
      stream().write(`${timestamp(new Date())} ${name} ${process.pid} ${util.format(...args)}\n`);
    }
  };
  const stdout = () => process.stdout;
  const stderr = () => process.stderr;
  return {
    debug: write('DEBUG', stdout),
    info: write('INFO', stdout),
    warn: write('WARN', stdout),
    error: write('ERROR', stderr),
  };
}

/** `YYYY-MM-DD HH:mm:ss,SSS`, in local time. */
function timestamp(date) {
  const pad = (number, length = 2) => String(number).padStart(length, '0');
  const day = [ date.getFullYear(), pad(date.getMonth() + 1), pad(date.getDate()) ].join('-');
  const time = [ pad(date.getHours()), pad(date.getMinutes()), pad(date.getSeconds()) ].join(':');
  return `${day} ${time},${pad(date.getMilliseconds(), 3)}`;
}
