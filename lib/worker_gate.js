'use strict';

/**
 * Where an app worker waits that was started ahead of time: see lib/worker_preload.js.
 *
 * The process stands still in a read from a pipe, so nothing of the application runs, and no
 * timer, socket or signal handler of what it has loaded does either.
 */

const { readSync, closeSync, statSync, realpathSync } = require('fs');
const Module = require('module');

/** The kernel's clock for files may be behind by so much, in ms. */
const FILE_CLOCK_LAG = 20;

/**
 * Loads what app_worker.js of egg-cluster will load first, and returns when the master has a
 * place for this worker. If the master does not want it any more, the process ends here.
 *
 * @param {number} gate - the descriptor of the pipe
 */
function waitAt(gate) {
  const ahead = new LoadedAhead();
  const answer = Buffer.alloc(16);
  let length = 0;
  try {
    length = readSync(gate, answer, 0, answer.length, null);
    closeSync(gate);
  } catch {
    // Nobody can say when to go on: the master starts another one.
  }
  if (length === 0) process.exit(0);
  // The number of workers may have changed while this one waited.
  const [ index, count ] = answer.toString('latin1', 0, length).trim().split(' ');
  process.env.CFORK_WORKER_INDEX = index;
  process.env.CFORK_WORKER_COUNT = count;
  if (ahead.hasChanged()) ahead.forget();
}

/** The modules that were loaded ahead of time. */
class LoadedAhead {
  constructor() {
    this.since = Date.now() - FILE_CLOCK_LAG;
    const before = new Set(Object.keys(require.cache));
    /** What the script will ask for, and the file that it was. */
    this.wanted = [];
    try {
      this.load();
    } catch {
      // It fails in the script once more, and is told there.
    }
    this.files = Object.keys(require.cache).filter(file => !before.has(file));
    this.states = this.files.map(file => this.stateOf(file));
  }

  load() {
    const [ , script, json ] = process.argv;
    const { require: modules, framework } = JSON.parse(json);
    this.require = Module.createRequire(realpathSync(script));
    for (const name of [ ...(modules || []), framework ]) {
      this.wanted.push([ name, this.require.resolve(name) ]);
      this.require(name);
    }
  }

  /** A file is not what it was when it was loaded, or another one is meant now. */
  hasChanged() {
    forgetPaths();
    try {
      return this.wanted.some(([ name, file ]) => this.require.resolve(name) !== file) ||
        this.files.some((file, i) => this.states[i] === null || this.stateOf(file) !== this.states[i]);
    } catch {
      return true;
    }
  }

  /** Null for a file that is gone, or was written while it was loaded: what of it was read is not known. */
  stateOf(file) {
    const stat = statSync(file, { throwIfNoEntry: false });
    return stat && stat.ctimeMs < this.since ? `${stat.ino} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}` : null;
  }

  /** The script loads all of it anew. */
  forget() {
    for (const file of this.files) delete require.cache[file];
  }
}

/** Node remembers which file a name stood for. */
function forgetPaths() {
  const paths = Module._pathCache;
  for (const key of Object.keys(paths || {})) delete paths[key];
}

module.exports = { waitAt };
