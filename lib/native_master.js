'use strict';

/**
 * The public face of the native master: an EventEmitter with the properties and methods
 * of egg-cluster's Master. It checks options, logs, speaks with the parent process and
 * obeys signals; everything about workers is done by the native side.
 */

const fs = require('fs');
const os = require('os');
const path = require('path');
const EventEmitter = require('events');

const native = require('./native');
const duties = require('./process_duties');
const Failure = require('./failure');
const { senderOf, describeAsker } = require('./asker');
const Messenger = require('./messenger');
const ProcessListeners = require('./process_listeners');
const { RELOAD_SIGNAL } = ProcessListeners;
const Ready = require('./ready');
const Reloads = require('./reloads');
const Reporter = require('./reporter');
const { isJson, formatProblem, JsonReporter } = require('./json_log');
const { createLogger, leastLevel } = require('./logger');
const { nativeConfig } = require('./native_config');
const { outboxLimit } = require('./supervision');
const { takeServiceManager } = require('./service_manager');
const { parseOptions, isProduction, readPackage } = require('./options');
const { isAuto } = require('./processors');
const { ignoredOptions, threadOptions } = require('./threads');
const { WorkerManager, AgentWorker, AppWorker } = require('./views');

const FULL_DISK = [ 'ENOSPC', 'EDQUOT', 'EFBIG', 'EIO' ];
const IDLE_SNAPSHOT = {
  phase: 'starting', agent: null, workers: [], slots: [], agentSlot: null, waits: { fullOutboxes: 0, pausedSenders: 0 }, timers: 0,
};

class Master extends EventEmitter {
  #native = null;
  #binding = null;
  /** Where agent and app workers are threads. */
  #threads = null;
  #reporter = null;
  #ready = new Ready();
  #reloads = new Reloads();
  #failure = new Failure();
  #listeners = new ProcessListeners();
  #reservations = [];
  #workerFiles = null;
  #isReusePortGiven = false;
  /** Messages sent before the native master exists. */
  #pending = [];
  /** The action that the native master has just announced, and acted upon already. */
  #announced = null;
  #closing = null;
  #onClosed = () => {};
  /** The process is the master's own: it ends with the master, and its parent is Egg's parent. */
  #ownsProcess = true;
  #ended = false;
  /** The master itself ends the process. */
  #exits = false;

  /**
   * Starts a cluster. Workers are forked in the next tick, so that constructors of
   * subclasses can finish first.
   *
   * @param {Object} options - see `ClusterOptions` in index.d.ts
   * @throws {Error} options that are wrong, a native binding that cannot be loaded, or a
   *   pid file that cannot be written
   */
  constructor(options) {
    super();
    this.options = parseOptions(options);
    this.#isReusePortGiven = options.reusePort !== undefined && options.reusePort !== null;
    this.#ownsProcess = this.options.exitProcess !== false;
    this.#binding = native.load();
    if (this.#ownsProcess) duties.outliveOutput();
    const { name, version } = readPackage(path.join(this.options.framework, 'package.json'));

    this.isProduction = isProduction(this.options);
    /** All app workers have been ready once. */
    this.isStarted = false;
    /** Closing has begun. */
    this.closed = false;
    this.logger = createLogger();
    this.logMethod = this.options.env === 'local' || process.env.NODE_ENV === 'development' ? 'debug' : 'info';
    this.messenger = new Messenger({
      hasParent: this.#ownsProcess,
      route: (json, fromParent) => this.#route(json, fromParent),
      warn: (...args) => this.logger.warn(...args),
      parentLimit: outboxLimit(this.options),
      onParentFull: isFull => this.#native.parentFull(isFull),
    });
    const snapshot = () => this.#snapshot();
    this.workerManager = new WorkerManager(snapshot);
    this.agentWorker = new AgentWorker(this, snapshot);
    this.appWorker = new AppWorker(this, snapshot);

    this.#reporter = isJson() ? new JsonReporter(leastLevel()) : new Reporter({
      logger: this.logger,
      log: (...args) => this.log(...args),
      options: this.options,
      frameworkName: name,
      lines: this.#hasThreads ? require('./thread_lines') : {},
    });
    const problem = formatProblem();
    if (problem !== null) this.logger.warn(`[master] ${problem}`);
    this.#logStart(name, version);
    this.#logWorkers(options);
    if (this.#hasThreads) {
      for (const text of ignoredOptions(options, this.options)) {
        this.logger.warn('[master] startMode worker_threads: %s', text);
      }
    }
    this.#writePidFile();
    this.#listenToProcess();
    if (this.#ownsProcess) duties.reapOrphans(this.#binding);
    this.#reservePorts();
    process.nextTick(() => this.#start());
  }

  /**
   * Wait until all app workers listen. Once that is so, a callback is called at once.
   *
   * @param {function(Error=): void} [callback] - called without argument on success
   * @return {Promise<void>|undefined} a promise when no callback is given
   */
  ready(callback) {
    if (callback === undefined) return this.#ready.promise();
    if (typeof callback === 'function') return this.#ready.onReady(callback);
    // Subclasses may set the flag themselves: ready(true), ready(error).
    this.#ready.set(callback);
  }

  /**
   * End the app workers, then the agent, then this process with exit code 0.
   *
   * @return {Promise<void>} with `exitProcess: false` resolves when nothing is left; otherwise it
   *   settles only where process.exit does not end the process
   */
  close() {
    this.closed = true;
    this.#failure.closes('close() was called');
    if (this.#closing === null) {
      this.#closing = new Promise(resolve => {
        this.#onClosed = resolve;
      });
      if (this.#ended) {
        this.#onClosed();
      } else if (this.#native !== null) {
        this.#closeNative();
      }
    }
    return this.#closing;
  }

  /**
   * Replace the app workers, one after the other, without losing requests. SIGUSR2 does the
   * same. During a reload, one more is done after it.
   *
   * @param {{agent?: boolean}} [options] - `agent: true`: the agent is replaced first
   * @return {Promise<void>} rejects when a new worker fails: the old ones go on serving. It may
   *   be left alone: the reason is logged, and emitted as `reload-failed`.
   */
  reload(options) {
    if (!this.isStarted || this.closed) {
      const state = this.closed ? 'is closing' : 'has not started yet';
      const refused = Promise.reject(new Error(`reload failed: the master ${state}`));
      refused.catch(() => {});
      return refused;
    }
    const reloaded = this.#reloads.add();
    this.#native.reload(wantsAgent(options));
    return reloaded;
  }

  /** What `reload-worker` events do. */
  onReload(data) {
    this.reload(data);
  }

  /** For subclasses: the agent has started. The native master has acted already, here as below. */
  onAgentStart() {}

  /** For subclasses: the agent has ended, with `{ code, signal }`. */
  onAgentExit() {}

  /** For subclasses: an app worker listens, with `{ workerId, address }`. */
  onAppStart() {}

  /** For subclasses: an app worker has ended, with `{ workerId, code, signal }`. */
  onAppExit() {}

  /**
   * @param {string} signal - SIGINT, SIGQUIT or SIGTERM
   */
  onSignal(signal) {
    if (this.closed) return;
    this.logger.info('[master] master is killed by signal %s, closing', signal);
    const sender = this.#logSender(signal);
    this.#failure.closes(`signal ${signal}${sender === null ? '' : `, sent by ${describeAsker(sender)}`}`);
    const { used_heap_size: used, heap_size_limit: limit } = require('v8').getHeapStatistics();
    this.logger.info('[master] system memory: total %s, free %s', os.totalmem(), os.freemem());
    this.logger.info('[master] process info: heap_limit %s, heap_used %s', limit, used);
    this.close();
  }

  /**
   * The last words of the process.
   *
   * @param {number} code - the exit code
   */
  onExit(code) {
    this.#removePidFile();
    this.#reporter.exit(code, this.#failure.reasonOf(code, this.#exits));
  }

  /** Log at level INFO, but at DEBUG where the environment is one of development. */
  log(...args) {
    this.logger[this.logMethod](...args);
  }

  /** The script of the agent; subclasses can override it. */
  getAgentWorkerFile() {
    return this.#defaultWorkerFiles().agent;
  }

  /** The script of the app workers; subclasses can override it. */
  getAppWorkerFile() {
    return this.#defaultWorkerFiles().app;
  }

  #defaultWorkerFiles() {
    if (this.#workerFiles === null) {
      const { resolveWorkerFiles } = require('./worker_files');
      this.#workerFiles = resolveWorkerFiles(this.options.framework, this.options.baseDir);
    }
    return this.#workerFiles;
  }

  /** What the workers do first is known of this script only. */
  #isEgg3Worker(file) {
    const found = this.#workerFiles;
    return found !== null && found.package === 'egg-cluster' && found.app === file;
  }

  /** The workers of Egg 4 ask `config.cluster.listen.reusePort` only where the options have none, not even false. */
  #leaveReusePortToConfig() {
    const isEgg4 = this.#workerFiles !== null && this.#workerFiles.package === '@eggjs/cluster';
    if (isEgg4 && !this.#isReusePortGiven) delete this.options.reusePort;
  }

  #logStart(name, version) {
    this.log(`[master] =================== ${name} start =====================`);
    this.logger.info(`[master] node version ${process.version}`);
    if (process.alinode) this.logger.info(`[master] alinode version ${process.alinode}`);
    this.logger.info(`[master] ${name} version ${version}`);
    if (this.isProduction) {
      this.logger.info('[master] start with options:%s%s', os.EOL, JSON.stringify(this.options, null, 2));
    } else {
      this.log('[master] start with options: %j', this.options);
    }
    this.log('[master] start with env: isProduction: %s, EGG_SERVER_ENV: %s, NODE_ENV: %s',
      this.isProduction, this.options.env, process.env.NODE_ENV);
  }

  /** Where there are fewer than the machine has processors, and nobody has said so. */
  #logWorkers({ workers }) {
    const { options } = this;
    const cpus = os.cpus().length;
    const areCounted = isAuto(workers) && (!this.#hasThreads || options.reusePort);
    if (!areCounted || options.workers === cpus) return;
    this.logger.info('[master] app workers: %s, for this process may use so many of the %s processors, by its quota or affinity',
      options.workers, cpus);
  }

  #writePidFile() {
    const { pidFile } = this.options;
    if (!pidFile) return;
    try {
      fs.mkdirSync(path.dirname(pidFile), { recursive: true });
      fs.writeFileSync(pidFile, String(process.pid));
    } catch (err) {
      // By then the file is there, but empty.
      if (FULL_DISK.includes(err.code)) this.#removePidFile();
      err.message = `options.pidFile: cannot write ${pidFile}: ${err.message}`;
      throw err;
    }
  }

  #removePidFile() {
    const { pidFile } = this.options;
    if (!pidFile) return;
    try {
      const found = fs.lstatSync(pidFile);
      // A device that somebody has named for it stays.
      if (found.isFile() || found.isSymbolicLink()) fs.unlinkSync(pidFile);
    } catch (err) {
      if (err.code === 'ENOENT') return;
      this.logger.error('[master] delete pidfile %s fail with %s', pidFile, err.message);
    }
  }

  #listenToProcess() {
    const close = signal => this.onSignal(signal);
    if (this.#ownsProcess) {
      this.#listeners.closeAtSignals(close);
    } else {
      this.#listeners.closeBeforeSignals(close);
    }
    this.#listeners.on(RELOAD_SIGNAL, () => {
      this.logger.info('[master] reload is asked for by signal SIGUSR2');
      this.#logSender(RELOAD_SIGNAL);
      this.onReload();
    });
    this.#listeners.watchSenders(() => this.#binding.watchSignals());
    this.#listeners.once('exit', code => this.onExit(code));
    this.#listeners.on('uncaughtExceptionMonitor', err => {
      if (process.listenerCount('uncaughtException') === 0) this.#failure.uncaught(err);
    });
    this.messenger.listenToParent();
    // Others may emit it, too; the native master has acted on its own announcement already.
    this.on('reload-worker', data => {
      if (this.#announced !== 'reload-worker') this.onReload(data);
    });
    this.on('agent-start', data => this.onAgentStart(data));
    this.on('agent-exit', data => this.onAgentExit(data));
    this.on('app-start', data => this.onAppStart(data));
    this.on('app-exit', data => this.onAppExit(data));
  }

  /** @return {Object|null} who has sent the signal that is being dealt with, as far as that is known */
  #logSender(signal) {
    const sender = senderOf(this.#binding, signal);
    this.#reporter.signal(signal, sender);
    return sender;
  }

  get #hasThreads() {
    return this.options.startMode === 'worker_threads';
  }

  #reservePorts() {
    const { PortReservation } = this.#binding;
    try {
      this.options.clusterPort = this.#reservePort(PortReservation);
      if (this.options.sticky) this.options.stickyWorkerPort = this.#reservePort(PortReservation);
    } catch (err) {
      // Not before somebody can listen to it; and before the start.
      process.nextTick(() => this.#fail(err));
    }
  }

  #reservePort(PortReservation) {
    const reservation = new PortReservation();
    this.#reservations.push(reservation);
    return reservation.port;
  }

  #start() {
    if (this.#ended) return;
    try {
      const files = {
        agent: this.#workerFile('getAgentWorkerFile', this.agentWorker),
        app: this.#workerFile('getAppWorkerFile', this.appWorker),
      };
      this.#leaveReusePortToConfig();
      const config = nativeConfig({
        options: this.options,
        isProduction: this.isProduction,
        agentWorkerFile: files.agent,
        appWorkerFile: files.app,
        isEgg3Worker: this.#isEgg3Worker(files.app),
        serviceManager: this.#serviceManager(),
        warn: (...args) => this.logger.warn(...args),
      });
      this.#native = new this.#binding.NativeMaster(JSON.stringify(config), text => this.#onEvent(JSON.parse(text), text.length));
      if (this.#hasThreads) this.#threads = this.#threadDriver(files);
      if (this.closed) {
        this.#closeNative();
        return;
      }
      this.#native.start();
    } catch (err) {
      this.#fail(err);
      return;
    }
    for (const { json, fromParent } of this.#pending.splice(0)) this.#native.send(json, fromParent);
  }

  /** Where the process is not the master's own, neither are its variables. */
  #serviceManager() {
    if (!this.#ownsProcess) return {};
    return takeServiceManager({ env: process.env, pid: process.pid, warn: (...args) => this.logger.warn(...args) });
  }

  #threadDriver(files) {
    const ThreadDriver = require('./thread_driver');
    return new ThreadDriver({
      native: this.#native,
      files,
      optionsOf: slot => threadOptions(this.options, slot),
      logger: this.logger,
      log: (...args) => this.log(...args),
    });
  }

  /** The script that the master or a look-alike of a worker names. */
  #workerFile(method, owner) {
    const file = owner[method]();
    if (typeof file !== 'string' || !fs.existsSync(file)) {
      throw new Error(`${method}() must return the path of an existing file, but returned ${JSON.stringify(file)}`);
    }
    return file;
  }

  #route(json, fromParent) {
    if (this.#native === null) {
      this.#pending.push({ json, fromParent });
    } else {
      this.#native.send(json, fromParent);
    }
  }

  #snapshot() {
    return this.#native === null ? IDLE_SNAPSHOT : JSON.parse(this.#native.snapshot());
  }

  #closeNative() {
    try {
      this.#native.close();
    } catch (err) {
      this.logger.error('[master] close with error: ', err);
      this.#failure.failed(err);
      this.#end(1, err);
    }
  }

  #onEvent(event, length) {
    this.#reporter.report(event);
    this.#failure.note(event);
    const effect = Master.#EFFECTS[event.type];
    if (effect) effect(this, event, length);
  }

  /** What native events do here, apart from their log lines. */
  static #EFFECTS = {
    'agent-forked': master => {
      master.agentWorker.startTime = Date.now();
    },
    'agent-exited': (master, { code, signal }) => master.#announce('agent-exit', { code, signal }),
    'agent-replaced': (master, { code, signal }) => master.#announce('agent-exit', { code, signal }),
    'apps-forking': master => {
      master.appWorker.startTime = Date.now();
      // cfork does it, which threads have never had.
      if (!master.#hasThreads) setImmediate(() => master.#handleUncaughtExceptions());
    },
    'app-listening': (master, { pid, address }) => master.#announce('app-start', { workerId: pid, address }),
    'app-exited': (master, { pid, code, signal }) => master.#announce('app-exit', { workerId: pid, code, signal }),
    'thread-spawn': (master, order) => master.#threads.spawn(order),
    'thread-post': (master, order) => master.#threads.post(order),
    'thread-terminate': (master, order) => master.#threads.terminate(order),
    'thread-abandon': (master, order) => master.#threads.abandon(order),
    'ready': master => {
      master.isStarted = true;
      master.#ready.set(true);
    },
    'message': (master, { message }) => master.#announce(message.action, message.data),
    'to-parent': (master, { message }, length) => master.messenger.sendToParent(message, length),
    'reload-started': (master, { slot }) => {
      if (isWhole(slot)) master.#reloads.started();
    },
    'reload-done': (master, { slot }) => {
      if (!isWhole(slot)) return;
      master.#reloads.done();
      master.#announce('reload-done');
    },
    'reload-failed': (master, { reason, slot }) => {
      if (!isWhole(slot)) return;
      master.#reloads.failed(reason);
      master.#announce('reload-failed', { reason });
    },
    'closing-apps': master => {
      master.closed = true;
      master.#reloads.end();
    },
    'closed': (master, { code }) => master.#end(code),
    'fatal': (master, { code }) => master.#end(code),
  };

  /**
   * Emit what the native master has told. What a listener throws becomes an
   * uncaughtException, as it does in any callback, but does not get lost on the way through
   * the binding.
   */
  #announce(action, data) {
    if (action === 'error' && this.listenerCount('error') === 0) {
      this.logger.warn('[master] message with action "error" is ignored, nobody listens to it: %j', data);
      return;
    }
    this.#announced = action;
    try {
      this.emit(action, data);
    } catch (err) {
      process.nextTick(() => {
        throw err;
      });
    } finally {
      this.#announced = null;
    }
  }

  /** As cfork: log and go on, unless the application handles such errors itself. */
  #handleUncaughtExceptions() {
    if (!this.#ownsProcess || process.listenerCount('uncaughtException') > 0) return;
    process.on('uncaughtException', err => this.#reporter.uncaughtException(err));
  }

  /** Nothing runs any more, or what does cannot be helped. */
  #end(code, cause) {
    this.closed = true;
    this.#exits = this.#ownsProcess;
    for (const reservation of this.#reservations.splice(0)) reservation.release();
    if (this.#ownsProcess) {
      this.#onClosed();
      // Node would wait for all threads. This comes after all other listeners.
      if (this.#threads !== null && this.#threads.hasAbandoned) {
        process.once('exit', exitCode => this.#binding.exitAtOnce(exitCode));
      }
      process.exit(code);
    } else if (!this.#ended) {
      this.#ended = true;
      this.#leaveProcess(code, cause);
    }
  }

  /** The process lives on: it gets back all that the master had of it. */
  #leaveProcess(code, cause) {
    if (this.#native !== null && !this.#native.release()) {
      this.logger.error('[master] the native master has not ended within a second');
    }
    this.#reloads.end();
    this.#removePidFile();
    const error = code === 0 && !cause ? null : this.#failure.toError(code, cause);
    if (!this.isStarted) this.#ready.set(error || new Error('the cluster was closed before it was ready'));
    this.#onClosed();
    this.#announce('close', { code, error });
    this.#listeners.removeAll();
  }

  #fail(err) {
    this.logger.error(err);
    this.#failure.failed(err);
    this.#end(1, err);
  }
}

/** Not the restart of one slot, which an operator may ask for. */
function isWhole(slot) {
  return slot === undefined || slot === null;
}

/** Whatever else a `reload-worker` carries, only this asks for a new agent. */
function wantsAgent(options) {
  return Boolean(options) && options.agent === true;
}

module.exports = native.hasTarget() ? Master : require('./fallback_master');
