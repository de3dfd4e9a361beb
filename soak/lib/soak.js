'use strict';

// One master that lives through round after round of load, messages, reloads and kills.

const fs = require('fs');
const path = require('path');
const { childPids, memory } = require('../../bench/lib/proc');
const { OURS } = require('../../bench/lib/peers');
const { account } = require('../../chaos/lib/account');
const { RemoteLoad } = require('../../chaos/lib/loader');
const { startMaster, WORKERS } = require('../../chaos/lib/master');
const { holdings, isAlive } = require('../../chaos/lib/processes');
const { nothingLostBut } = require('../../chaos/lib/promises');
const { createRandom } = require('../../chaos/lib/random');
const { now, sleep, until } = require('../../chaos/lib/time');

const SOAK = path.resolve(__dirname, '..');
const STARTER = [ '--expose-gc', path.join(SOAK, 'master.js') ];
/** Long, for a machine that has much else to do: what is looked for here is growth, not speed. */
const TIMEOUT_MS = 120_000;
const SOAK_GRACE_MS = 20_000;
/** Messages of a round: each goes to all workers, from each to the agent, and from there to the parent. */
const MESSAGES = [ { count: 500, bytes: 200 }, { count: 10, bytes: 100_000 } ];
/** Every so many rounds the agent is killed as well. */
const AGENT_EVERY = 3;

class Soak {
  /** One entry per round. */
  samples = [];
  /** Broken promises, in words. */
  broken = [];
  /** How many requests have failed, by verdict (see docs/chaos.md). */
  failures = {};
  #told = 0;
  #looked = null;
  #done = { requests: 0, messages: 0, reloads: 0, kills: 0 };

  static async start({ seed, seconds }) {
    const random = createRandom(`${seed}/soak`);
    const extra = { baseDir: path.join(SOAK, 'fixture'), framework: path.join(SOAK, 'fixture', 'framework') };
    const master = await startMaster({ name: OURS, label: OURS }, { random, extra, sticky: false, runName: 'soak', starter: STARTER, graceMs: SOAK_GRACE_MS });
    return new Soak(master, { seed, random, roundMs: seconds * 1000 });
  }

  constructor(master, { seed, random, roundMs }) {
    this.master = master;
    this.seed = seed;
    this.random = random;
    this.roundMs = roundMs;
    this.startedAt = now();
    master.child.on('message', ({ action, data }) => {
      if (action === 'soak:told') this.#told++;
      if (action === 'soak:looked') this.#looked = data;
    });
    master.ledger.serving();
  }

  /** Plays a round and takes a sample when all is at rest again. */
  async round(number) {
    await this.#messages();
    await this.#underLoad(number);
    await this.#sample();
  }

  async #messages() {
    const before = this.#told;
    let expected = 0;
    for (const { count, bytes } of MESSAGES) {
      const data = 'x'.repeat(bytes);
      for (let i = 0; i < count; i++) this.master.child.send({ action: 'soak:ask', to: 'app', data });
      expected += count * WORKERS;
    }
    await until(() => this.master.ended || this.#told - before >= expected, TIMEOUT_MS);
    const told = this.#told - before;
    if (told !== expected) this.broken.push(`${told} of ${expected} messages arrived`);
    this.#done.messages += told;
  }

  async #underLoad(number) {
    const { master, seed, roundMs } = this;
    const killed = new Set();
    const end = now() + roundMs;
    const load = new RemoteLoad({ port: master.port, seed: `${seed}/${number}`, timeoutMs: TIMEOUT_MS, manyAddresses: false });
    await sleep(roundMs / 10);
    await this.#reload();
    await this.#kill(killed, this.random.pick(master.appWorkers()));
    if (number % AGENT_EVERY === 0) await this.#kill(killed, master.agents()[0]);
    await sleep(Math.max(0, end - now()));
    this.#judge(await load.stop(), killed);
  }

  async #reload() {
    const { master } = this;
    const before = master.ledger.served.length;
    master.tell('reload-worker');
    const isReplaced = () => {
      const serving = master.ledger.serving().length;
      return master.ended || (master.ledger.served.length >= before + WORKERS && serving === WORKERS);
    };
    const isOver = await until(isReplaced, TIMEOUT_MS) && await until(() => master.appWorkers().length === WORKERS, 2 * SOAK_GRACE_MS);
    if (!isOver) this.broken.push('a reload did not end');
    this.#done.reloads++;
  }

  async #kill(killed, pid) {
    const { master } = this;
    killed.add(pid);
    process.kill(pid, 'SIGKILL');
    master.ledger.remove(pid);
    const isReplaced = () => master.ended ||
      (master.ledger.serving().length === WORKERS && master.agents().length === 1 && ![ ...master.agents(), ...master.appWorkers() ].includes(pid));
    if (!await until(isReplaced, TIMEOUT_MS)) this.broken.push(`process ${pid} was killed and not replaced`);
    this.#done.kills++;
  }

  /**
   * Only requests of a killed worker may fail: those that it had begun, and on a machine that is short of CPU time those of
   * connections that it had taken longer before than the master keeps its duplicate.
   */
  #judge(attempts, killed) {
    const { ledger } = this.master;
    ledger.read();
    const result = account(attempts.map(attempt => ({ ...attempt, ...ledger.readerAndTaker(attempt) })), killed);
    ledger.forget();
    for (const { verdict } of result.failures) this.failures[verdict] = (this.failures[verdict] || 0) + 1;
    const failures = result.failures.filter(({ verdict }) => verdict !== 'takenByDead');
    this.broken.push(...nothingLostBut({ ...result, failures }));
    this.#done.requests += result.counts.answered;
  }

  async #sample() {
    const { master } = this;
    if (master.ended) {
      this.broken.push('the master ended');
      throw new Error(`the master ended; see ${master.logFile}`);
    }
    await master.settledHoldings();
    await until(() => holdings(master.pid).zombies === 0 && childPids(master.pid).length === WORKERS + 2, TIMEOUT_MS);
    this.#looked = null;
    master.tell('soak:look');
    if (!await until(() => this.#looked !== null, TIMEOUT_MS)) throw new Error('the master does not answer');
    const guardian = childPids(master.pid).find(pid => nameOf(pid) === 'egg-cluster-rs-guardian');
    this.samples.push({
      minutes: (now() - this.startedAt) / 60_000,
      master: { ...holdings(master.pid), ...this.#looked, threads: threads(master.pid), children: childPids(master.pid).filter(isAlive).length },
      guardian: { rss: memory(guardian).rss, descriptors: fs.readdirSync(`/proc/${guardian}/fd`).length },
      done: { ...this.#done },
    });
  }

  /** Ends everything; what is left then is a broken promise. */
  async stop() {
    await this.master.stop();
    const left = await this.master.endLeftovers();
    this.master.ledger.discard();
    if (left > 0) this.broken.push(`${left} processes left behind`);
    const { code, signal } = await this.master.exit;
    if (code !== 0) this.broken.push(`the master ended with ${signal || `code ${code}`}`);
  }
}

function nameOf(pid) {
  return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0];
}

function threads(pid) {
  return fs.readdirSync(`/proc/${pid}/task`).length;
}

module.exports = { Soak };
