'use strict';

/**
 * The master where there is no native one, as on Windows: that of the JavaScript egg-cluster
 * which this package depends on, with one line that says so.
 */

const JavaScriptMaster = require('@egg-cluster-rs/egg-cluster/lib/master');
const { version } = require('@egg-cluster-rs/egg-cluster/package.json');

const { parseOptions } = require('./options');
const { isAuto } = require('./processors');
const { resolveWorkerFiles } = require('./worker_files');

const PLATFORM = `${process.platform}-${process.arch}`;

/** Options that only the native master knows. */
const NATIVE_OPTIONS = [ 'drain', 'prestart', 'restart', 'hold', 'limits', 'watchdog', 'control' ];

class FallbackMaster extends JavaScriptMaster {
  /**
   * @param {Object} options - see `ClusterOptions` in index.d.ts
   * @throws {Error} options that are wrong, and what cannot be done here: a framework of Egg 4, `exitProcess: false`
   */
  constructor(options) {
    refuse(parseOptions(options));
    // Which knows numbers only, and counts processors by itself.
    super(isAuto(options.workers) ? { ...options, workers: undefined } : options);
    // It asks these two; the native Master is asked itself, and may be a subclass.
    this.appWorker.getAppWorkerFile = () => this.getAppWorkerFile();
    this.agentWorker.getAgentWorkerFile = () => this.getAgentWorkerFile();
    // On stdout: egg-scripts takes any byte on stderr for a failed start.
    this.logger.info('[master] there is no native master for %s, the JavaScript egg-cluster %s is used instead%s',
      PLATFORM, version, withoutEffect(options));
  }

  /** The script of the agent; subclasses can override it. */
  getAgentWorkerFile() {
    return require.resolve('@egg-cluster-rs/egg-cluster/lib/agent_worker.js');
  }

  /** The script of the app workers; subclasses can override it. */
  getAppWorkerFile() {
    return require.resolve('@egg-cluster-rs/egg-cluster/lib/app_worker.js');
  }
}

function refuse({ framework, baseDir, exitProcess }) {
  if (exitProcess === false) {
    throw new TypeError(`options.exitProcess false is not possible on ${PLATFORM}: there is no native master, ` +
      'and that of the JavaScript egg-cluster always ends its process');
  }
  // The workers of Egg 4 say by other messages that they listen.
  if (resolveWorkerFiles(framework, baseDir).package === 'egg-cluster') return;
  throw new Error(`egg-cluster-rs has no native master for ${PLATFORM}, and the JavaScript egg-cluster ${version} cannot start ` +
    `the Egg 4 of ${framework}: let that framework export the startCluster of @eggjs/cluster on this platform`);
}

function withoutEffect(options) {
  const given = NATIVE_OPTIONS.filter(name => options[name]).map(name => `options.${name}`);
  const { sticky } = options;
  if (sticky && sticky.by && sticky.by !== 'address') given.push('options.sticky.by');
  return given.length > 0 ? `; without effect: ${given.join(', ')}` : '';
}

module.exports = FallbackMaster;
