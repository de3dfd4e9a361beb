'use strict';

/**
 * Makes, feeds and ends the threads of `startMode: 'worker_threads'` as the native master
 * orders, and tells it what becomes of them. It decides nothing.
 *
 * Orders and reports name a thread by the key that the native master has given it.
 */

const path = require('path');
const { inspect } = require('util');
const { Worker } = require('worker_threads');

const ENTRY = path.join(__dirname, 'thread_entry.js');
const ERROR_NAMES = { agent: 'AgentWorkerError', app: 'AppWorkerError' };

class ThreadDriver {
  #native;
  #files;
  #optionsOf;
  #logger;
  #log;
  #threads = new Map();
  /** Threads that could not be ended. */
  #abandoned = new Set();

  /**
   * @param {Object} context
   * @param {Object} context.native - the NativeMaster
   * @param {{agent: string, app: string}} context.files - the scripts
   * @param {function(number|null): Object} context.optionsOf - what the thread of a slot is told
   * @param {Object} context.logger - has `warn` and `error`
   * @param {function(...*): void} context.log - for lines that are of interest in development only at level DEBUG
   */
  constructor({ native, files, optionsOf, logger, log }) {
    this.#native = native;
    this.#files = files;
    this.#optionsOf = optionsOf;
    this.#logger = logger;
    this.#log = log;
  }

  /** Some thread could not be ended: the end of the process must not wait for it. */
  get hasAbandoned() {
    return this.#abandoned.size > 0;
  }

  spawn({ key, role, id, slot }) {
    const name = `${role}_worker#${id}`;
    let worker;
    try {
      worker = new Worker(ENTRY, { argv: [ this.#files[role], JSON.stringify(this.#optionsOf(slot)) ] });
    } catch (err) {
      this.#native.threadFailed(key, err.message);
      return;
    }
    const { threadId } = worker;
    const title = role === 'agent' ? `agent worker#${id}` : `${name} (tid:${threadId})`;
    const thread = { worker, title };
    this.#threads.set(key, thread);
    worker.on('message', message => this.#report(key, name, message));
    worker.on('messageerror', err => this.#logger.warn('[master] message of %s is ignored: %s', name, err.message));
    worker.on('error', err => this.#logger.error(workerError(err, { name: ERROR_NAMES[role], id, pid: threadId })));
    worker.once('exit', code => {
      this.#threads.delete(key);
      this.#abandoned.delete(thread);
      this.#native.threadExited(key, code);
    });
    this.#native.threadStarted(key, threadId);
  }

  post({ key, message }) {
    const thread = this.#threads.get(key);
    if (thread) thread.worker.postMessage(message);
  }

  terminate({ key }) {
    const thread = this.#threads.get(key);
    if (!thread) return;
    this.#log('[master] kill %s (worker_threads) by worker.terminate()', thread.title);
    thread.worker.terminate();
  }

  abandon({ key }) {
    const thread = this.#threads.get(key);
    if (thread) this.#abandoned.add(thread);
  }

  /** Messages travel as JSON, as they do between processes. */
  #report(key, name, message) {
    let json;
    try {
      json = JSON.stringify(message);
    } catch (err) {
      this.#logger.warn('[master] message of %s is ignored, it cannot be JSON: %s', name, err.message);
      return;
    }
    // What JSON has no word for is nothing that could be routed.
    this.#native.threadMessage(key, json === undefined ? 'null' : json);
  }
}

/** The error that has ended a thread, with the thread's name on it; anything can be thrown. */
function workerError(thrown, properties) {
  const err = thrown instanceof Error ? thrown : new Error(`thrown in a thread: ${inspect(thrown)}`);
  return Object.assign(err, properties);
}

module.exports = ThreadDriver;
