'use strict';

const Master = require('./lib/master');

exports.Master = Master;

/**
 * Start an Egg application: one agent, then the app workers.
 *
 * @param {Object} options - see `ClusterOptions` in index.d.ts
 * @param {function(Error=): void} [callback] - called without argument when all app workers listen
 * @return {Promise<Master>} resolves at the same time. If the start fails, the process
 *   exits with code 1, as it does with egg-cluster; with `exitProcess: false` the promise rejects.
 * @throws {Error} options that are wrong, or a native binding that cannot be loaded: at once,
 *   and not through the promise
 */
exports.startCluster = function startCluster(options, callback) {
  if (callback !== undefined && callback !== null && typeof callback !== 'function') {
    throw new TypeError(`callback of startCluster must be a function, but got ${typeof callback}`);
  }
  const master = new Master(options);
  if (callback) master.ready(callback);
  const started = master.ready().then(() => master);
  // An error that the callback gets is handled there.
  if (callback) started.catch(() => {});
  return started;
};
