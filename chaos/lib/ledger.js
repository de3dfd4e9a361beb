'use strict';

// Reads what the workers have noted (fixture/framework/note.js): which worker began which request, and who serves.

const fs = require('fs');
const { isAlive } = require('./processes');

/** The account of all workers of one master. */
class Ledger {
  #file;
  #offset = 0;
  #rest = '';
  #serving = new Set();

  /** @param {string} file - made anew */
  constructor(file) {
    this.#file = file;
    fs.writeFileSync(file, '');
    /** By the id of a request: the process that began it, and when. */
    this.begun = new Map();
    /** By address and port of a client: the processes that were given its connections, and when. */
    this.taken = new Map();
    /** Processes that have ever served, in their order. */
    this.served = [];
    /** The least number that served at once since {@link watchServing}. */
    this.leastServing = Infinity;
  }

  /** Removes the file; what has been read stays. */
  discard() {
    this.read();
    fs.rmSync(this.#file);
  }

  /** Drops the account of requests that are done with; who serves stays. */
  forget() {
    this.read();
    this.begun.clear();
    this.taken.clear();
  }

  /** Who began a request, and who was given its connection, most recently: `{pid, at}` each, if anybody. */
  readerAndTaker({ id, client, startedAt, endedAt }) {
    const takers = (this.taken.get(client) || []).filter(({ at }) => at >= startedAt && at <= endedAt);
    return { reader: this.begun.get(id), taker: takers.pop() };
  }

  /** Begins to count the least number of serving workers anew. */
  watchServing() {
    this.leastServing = this.serving().length;
  }

  /** @return {number[]} the processes that serve now: they listen, were not told to leave, and live */
  serving() {
    this.read();
    for (const pid of this.#serving) if (!isAlive(pid)) this.remove(pid);
    return [ ...this.#serving ];
  }

  /** Takes in what has been written since the last time. */
  read() {
    const fd = fs.openSync(this.#file, 'r');
    const buffer = Buffer.alloc(1 << 16);
    for (;;) {
      const count = fs.readSync(fd, buffer, 0, buffer.length, this.#offset);
      if (count === 0) break;
      this.#offset += count;
      this.#rest += buffer.latin1Slice(0, count);
    }
    fs.closeSync(fd);
    const lines = this.#rest.split('\n');
    this.#rest = lines.pop();
    lines.forEach(line => this.#take(line));
  }

  #take(line) {
    const [ at, pid, word, id ] = line.split(' ');
    if (word === 'begun') {
      this.begun.set(id, { pid: Number(pid), at: Number(at) });
    } else if (word === 'taken') {
      const takers = this.taken.get(id) || [];
      this.taken.set(id, [ ...takers, { pid: Number(pid), at: Number(at) } ]);
    } else if (word === 'serving') {
      this.#serving.add(Number(pid));
      this.served.push(Number(pid));
    } else if (word === 'leaving') {
      this.remove(Number(pid));
    }
  }

  /** It is known to be gone. */
  remove(pid) {
    this.#serving.delete(pid);
    this.leastServing = Math.min(this.leastServing, this.#serving.size);
  }
}

module.exports = { Ledger };
