'use strict';

// Faults of the kernel, injected by a library that is loaded before all others (fixtures/faults/faults.c).

const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');

const source = path.join(__dirname, '../fixtures/faults/faults.c');
const PLACES = { accept: 0, sendHandle: 1, spawn: 2, clock: 6, pid: 7 };
const COUNTERS = { accept: 3, sendHandle: 4, spawn: 5 };

let library;

/** Why nothing can be injected here; false where it can. */
function skipReason() {
  if (process.platform !== 'linux') return 'Linux only';
  return spawnSync('cc', [ '--version' ], { stdio: 'ignore' }).status === 0 ? false : 'needs a C compiler, cc';
}

/** The library, made once per process. */
function build() {
  if (library) return library;
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-faults-'));
  process.once('exit', () => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'faults.so');
  const { status, stderr } = spawnSync('cc', [ '-shared', '-fPIC', '-O1', '-Wall', '-Werror', '-o', file, source, '-ldl' ], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`cannot compile ${source}:\n${stderr}`);
  library = file;
  return library;
}

/** The switches of one master. */
class Faults {
  /** @param {object} t the context of a test, which removes what this makes */
  constructor(t) {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-faults-'));
    t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
    this.file = path.join(dir, 'faults');
    fs.writeFileSync(this.file, Buffer.alloc(32));
  }

  /** For the master's environment. */
  get env() {
    return { LD_PRELOAD: build(), FAULTS_FILE: this.file };
  }

  /** Calls fail in this process. */
  in(pid) {
    this.#write(PLACES.pid, pid);
  }

  /**
   * @param {string} call `accept`, `sendHandle` or `spawn`
   * @param {string|null} code such as `ENFILE`; null ends it
   */
  set(call, code) {
    this.#write(PLACES[call], code === null ? 0 : os.constants.errno[code] || LINUX[code]);
  }

  /** Sets the clock of the wall off, in the master and in what it has started. */
  stepClock(seconds) {
    this.#write(PLACES.clock, seconds);
  }

  /** How many calls have failed so far. */
  count(call) {
    return fs.readFileSync(this.file).readInt32LE(COUNTERS[call] * 4);
  }

  // Not as a whole: the process counts in it.
  #write(place, number) {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(number);
    const fd = fs.openSync(this.file, 'r+');
    fs.writeSync(fd, bytes, 0, 4, place * 4);
    fs.closeSync(fd);
  }
}

/** What Node has no name for. */
const LINUX = { ETOOMANYREFS: 109 };

module.exports = { Faults, skipReason };
