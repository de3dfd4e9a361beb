'use strict';

// The load: clients of five kinds that ask one request after the other until they are told to stop.

const http = require('http');
const { bodyFor, newChecksum } = require('../fixture/framework/body');
const { exchange } = require('./exchange');
const { createRandom } = require('./random');
const { holdSession } = require('./session');
const { now, sleep } = require('./time');

/** How many clients there are of each kind. */
const CLIENTS = { keepAlive: 6, close: 6, slow: 8, upload: 4, session: 4 };
const SLOW_MS = { least: 100, most: 800 };
const PAUSE_MS = { least: 2, most: 30 };
const UPLOAD = { pieces: 8, pieceBytes: 2048, gapMs: { least: 10, most: 50 } };
/** At most about a second: shorter than what a leaving worker gets to finish. */
const SESSION = { frames: { least: 5, most: 20 }, gapMs: 40 };
/** Sticky masters choose by address: as many as there are client addresses. */
const ADDRESSES = 16;
/** A load never goes on for longer, whatever a scenario does. */
const LONGEST_MS = 60_000;

/** All clients on one master. */
class Load {
  #isStopped = false;
  #clients = [];
  #nextId = 0;

  /**
   * @param {{port: number, seed: string, timeoutMs: number, manyAddresses: boolean}} setting - where to, and limits
   */
  constructor({ port, seed, timeoutMs, manyAddresses }) {
    this.port = port;
    this.seed = seed;
    this.timeoutMs = timeoutMs;
    this.manyAddresses = manyAddresses;
    /** Every attempt: an exchange with `id` and `kind`, and `retryOf` where it repeats another. */
    this.attempts = [];
  }

  start() {
    this.deadline = now() + LONGEST_MS;
    for (const [ kind, count ] of Object.entries(CLIENTS)) {
      for (let i = 0; i < count; i++) this.#clients.push(this.#run(kind, i));
    }
  }

  /** Starts nothing more and resolves when every attempt has ended. */
  async stop() {
    this.#isStopped = true;
    await Promise.all(this.#clients);
  }

  async #run(kind, index) {
    const random = createRandom(`${this.seed}/${kind}/${index}`);
    const isKeepAlive = kind === 'keepAlive' || (kind === 'slow' && index % 2 === 0);
    const client = {
      kind, random,
      agent: isKeepAlive && new http.Agent({ keepAlive: true, maxSockets: 1 }),
      localAddress: this.manyAddresses ? `127.0.0.${1 + (this.#clients.length % ADDRESSES)}` : undefined,
    };
    while (!this.#isStopped && now() < this.deadline) {
      const first = await this.#attempt(client);
      if (first.outcome === 'reuse') await this.#attempt(client, first.id);
      await sleep(random.between(PAUSE_MS.least, PAUSE_MS.most));
    }
    if (client.agent) client.agent.destroy();
  }

  async #attempt(client, retryOf) {
    const id = `${this.seed.replace(/\W/g, '_')}.${this.#nextId++}`;
    const { agent, localAddress } = client;
    const common = { port: this.port, timeoutMs: this.timeoutMs, agent, localAddress };
    const result = await KINDS[client.kind](id, client.random, common);
    const attempt = { id, kind: client.kind, retryOf, ...result };
    this.attempts.push(attempt);
    return attempt;
  }
}

/** What clients of each kind do once. */
const KINDS = {
  keepAlive: getFast,
  close: getFast,
  slow: (id, random, common) =>
    exchange({ ...common, path: `/slow/${id}/${random.between(SLOW_MS.least, SLOW_MS.most)}`, expected: bodyFor(id) }),
  upload,
  session: (id, random, common) => {
    const frames = random.between(SESSION.frames.least, SESSION.frames.most);
    return holdSession({ ...common, path: `/echo/${id}`, frames, gapMs: SESSION.gapMs });
  },
};

function getFast(id, random, common) {
  return exchange({ ...common, path: `/fast/${id}`, expected: bodyFor(id) });
}

function upload(id, random, common) {
  const pieces = [];
  for (let i = 0; i < UPLOAD.pieces; i++) pieces.push(Buffer.alloc(UPLOAD.pieceBytes, random.between(0, 255)));
  const checksum = newChecksum();
  pieces.forEach(piece => checksum.update(piece));
  const gapMs = random.between(UPLOAD.gapMs.least, UPLOAD.gapMs.most);
  const send = async request => {
    for (const piece of pieces) {
      if (request.destroyed) return;
      request.write(piece);
      await sleep(gapMs);
    }
    request.end();
  };
  return exchange({ ...common, path: `/upload/${id}`, expected: Buffer.from(checksum.digest('hex')), send });
}

module.exports = { Load };
