'use strict';

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

/** @return {Object} the logger of the master, with `debug`, `info`, `warn`, `error` */
exports.createLogger = () => {
  const ConsoleLogger = loadConsoleLogger();
  return new ConsoleLogger({ level: process.env.EGG_MASTER_LOGGER_LEVEL || 'INFO' });
};
