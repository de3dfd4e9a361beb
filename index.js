'use strict';

const Master = require('./lib/master');
const { readOptions } = require('./lib/options');

exports.Master = Master;

/**
 * Start an Egg application: one agent, then the app workers.
 *
 * With `startMode: 'worker_threads'` the JavaScript egg-cluster that this package depends
 * on does all the work; the native master manages processes only.
 *
 * @param {Object} options - see `ClusterOptions` in index.d.ts
 * @param {function(Error=): void} [callback] - called without argument when all app workers listen
 * @return {Promise<Master>} resolves at the same time. If the start fails, the process
 *   exits with code 1, as it does with egg-cluster.
 * @throws {Error} options that are wrong, or a native binding that cannot be loaded: at once,
 *   and not through the promise
 */
exports.startCluster = function startCluster(options, callback) {
  if (callback !== undefined && callback !== null && typeof callback !== 'function') {
    throw new TypeError(`callback of startCluster must be a function, but got ${typeof callback}`);
  }
  const read = readOptions(options);
  const master = read.startMode === 'worker_threads' ? createThreadMaster(read) : new Master(read);
  if (callback) master.ready(callback);
  const started = master.ready().then(() => master);
  // An error that the callback gets is handled there.
  if (callback) started.catch(() => {});
  return started;
};

function createThreadMaster(options) {
  if (options.sticky) require('./lib/sticky').checkSticky(options);
  const { version } = require('@egg-cluster-rs/egg-cluster/package.json');
  const ThreadMaster = require('@egg-cluster-rs/egg-cluster/lib/master');
  const master = new ThreadMaster(options);
  master.logger.info('[master] startMode worker_threads is run by the JavaScript egg-cluster %s', version);
  return master;
}
