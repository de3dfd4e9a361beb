'use strict';

/**
 * Gathers what the native master is told once, from the options, the environment and the
 * state of this process.
 */

const { supervisionConfig } = require('./supervision');
const { controlConfig, CONTROL_ENV } = require('./control');
const { isJson } = require('./json_log');
const { stickyKey } = require('./sticky');
const { drainConfig, isUnderPermissions, PRELOAD_FILE } = require('./drain_config');
const { prestartConfig } = require('./prestart_config');

const DEFAULT_CLOSE_TIMEOUT_MS = 5000;
/**
 * How long the JavaScript of the master may take to end the process when everything else has ended, in ms. Less
 * than what the command line waits for it (`FAREWELL_MS` in lib/cli/steer.js).
 */
const EXIT_LIMIT_MS = 5000;
const DEFAULT_AGENT_DEBUG_PORT = 5800;
/** What needs processes: pings and drain use Node's channel, and the signals at its end. */
const WITHOUT_PROCESSES = { watchdog: null, preloadFile: null, drain: null, prestart: { atStart: false, spares: 0 } };
/** Node's own test of whether its cluster gives inspector ports to the workers. */
const INSPECTOR_ARG = /--inspect(?:-brk|-port)?|--debug-port/;

/**
 * @param {Object} input
 * @param {Object} input.options - complete, with `clusterPort`
 * @param {boolean} input.isProduction
 * @param {string} input.agentWorkerFile
 * @param {string} input.appWorkerFile
 * @param {boolean} input.isEgg3Worker - the app workers run app_worker.js of egg-cluster
 * @param {Object} [input.serviceManager] - what `takeServiceManager` has taken
 * @param {function(...*): void} input.warn - logs environment variables that make no sense
 * @return {Object} the configuration of a NativeMaster
 */
function nativeConfig({ options, isProduction, agentWorkerFile, appWorkerFile, isEgg3Worker, serviceManager, warn }) {
  const legacyTimeout = closeTimeout('EGG_MASTER_CLOSE_TIMEOUT', DEFAULT_CLOSE_TIMEOUT_MS, warn);
  const appCloseTimeoutMs = closeTimeout('EGG_APP_CLOSE_TIMEOUT', legacyTimeout, warn);
  const threads = options.startMode === 'worker_threads';
  const drain = drainConfig({
    drain: options.drain,
    isProduction,
    appCloseTimeoutMs,
    fromEnv: (name, fallback) => closeTimeout(name, fallback, warn),
  });
  const prestart = prestartConfig({
    prestart: threads ? false : options.prestart,
    isProduction,
    hindrance: prestartHindrance(options, isEgg3Worker),
    warn,
  });
  return {
    execPath: process.execPath,
    execArgv: childExecArgv(process.execArgv, process._eval),
    env: childEnv(process.env),
    agentWorkerFile,
    appWorkerFile,
    optionsJson: JSON.stringify(options),
    workers: options.workers,
    port: options.port || null,
    protocol: options.https ? 'https' : 'http',
    host: process.env.HOST || null,
    stickyPort: options.sticky ? options.stickyWorkerPort : null,
    stickyKey: stickyKey(options.sticky),
    debugPort: parseInt(options.debugPort, 10) || null,
    production: Boolean(isProduction),
    isDebug: Boolean(options.isDebug),
    // By NODE_OPTIONS, too, as egg-bin does it: with the master's own port the agent would have no inspector.
    // Threads are seen by the inspector of the master.
    agentInspectPort: (options.isDebug || isInspected()) && !threads ? agentInspectPort(warn) : null,
    appInspectBase: isInspected() && !threads ? process.debugPort : null,
    shareListeners: sharesListeners(),
    threads,
    appCloseTimeoutMs,
    agentCloseTimeoutMs: closeTimeout('EGG_AGENT_CLOSE_TIMEOUT', legacyTimeout, warn),
    control: controlConfig(options),
    // A process of another program is that program's to end, and one that a debugger holds up lives on.
    exitLimitMs: options.exitProcess === false || isInspected() ? null : EXIT_LIMIT_MS,
    jsonLog: isJson(),
    ...serviceManager,
    ...supervisionConfig(options, Boolean(isProduction)),
    ...drain,
    prestart,
    preloadFile: drain.preloadFile || (prestart.atStart || prestart.spares > 0 ? PRELOAD_FILE : null),
    ...(threads && WITHOUT_PROCESSES),
  };
}

/** Why app workers cannot be started ahead of time; null where they can. */
function prestartHindrance({ isDebug }, isEgg3Worker) {
  if (isDebug || isInspected()) return 'the workers run under the inspector';
  if (!isEgg3Worker) return 'the app workers do not run the app_worker.js of egg-cluster';
  if (isUnderPermissions()) return 'Node\'s permission model is on';
  return null;
}

/**
 * Node's options for the workers: ours without a program given by `-e` or `-p`, which each
 * of them would run instead of its script, and start a cluster of its own.
 */
function childExecArgv(execArgv, evaluated) {
  const at = evaluated === undefined || evaluated === null ? -1 : execArgv.lastIndexOf(evaluated);
  const rest = at > 0 ? [ ...execArgv.slice(0, at - 1), ...execArgv.slice(at + 1) ] : execArgv;
  return rest.filter(arg => !/^--(?:eval|print)=/.test(arg));
}

/** The environment of the workers: ours without the traces of our own parent's channel, and of a master above us. */
function childEnv(env) {
  const copy = { ...env };
  for (const name of [ 'NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE', 'NODE_UNIQUE_ID', 'EGG_CLUSTER_RS_GUARDED_BY', CONTROL_ENV ]) {
    delete copy[name];
  }
  for (const name of Object.keys(copy)) {
    if (copy[name] === undefined) delete copy[name];
  }
  // The master sets it for itself, too, where the process is its own.
  if (copy.NODE_ENV === 'production') copy.NO_DEPRECATION = '*';
  return copy;
}

function closeTimeout(name, fallback, warn) {
  return numberFromEnv(name, fallback, value => value >= 0 && value <= 0x7fffffff, 'a time in ms', warn);
}

function agentInspectPort(warn) {
  return numberFromEnv('EGG_AGENT_DEBUG_PORT', DEFAULT_AGENT_DEBUG_PORT, value => value >= 0 && value <= 65535, 'a port', warn);
}

function numberFromEnv(name, fallback, isValid, what, warn) {
  const text = process.env[name];
  if (!text) return fallback;
  const value = Number(text);
  if (isValid(value)) return Math.floor(value);
  warn('[master] environment variable %s should be %s, but is %j; using %s', name, what, text, fallback);
  return fallback;
}

function isInspected() {
  return process.execArgv.some(arg => INSPECTOR_ARG.test(arg)) || INSPECTOR_ARG.test(process.env.NODE_OPTIONS || '');
}

/** Node's module is asked only where the program uses it: loading it costs 2 MB. */
function sharesListeners() {
  if (process.moduleLoadList.includes('NativeModule cluster')) {
    const cluster = require('cluster');
    return cluster.schedulingPolicy === cluster.SCHED_NONE;
  }
  return process.env.NODE_CLUSTER_SCHED_POLICY === 'none';
}

module.exports = { nativeConfig, childExecArgv };
