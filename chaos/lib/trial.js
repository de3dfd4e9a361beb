'use strict';

// One scenario on one master, from start to the last process.

const { account } = require('./account');
const { freeze } = require('./freeze');
const { RemoteLoad } = require('./loader');
const { startMaster } = require('./master');
const { createRandom } = require('./random');
const { now, sleep } = require('./time');

const TIMEOUT_MS = 6000;
/** The load before anything happens to it; what the master holds is compared with what it held after this one. */
const WARM_UP_MS = 800;
const LEAD_MS = 400;

/** What a scenario acts upon. */
class Trial {
  constructor({ scenario, peer, seed, quick }) {
    this.scenario = scenario;
    this.peer = peer;
    this.seed = seed;
    this.quick = quick;
    this.random = createRandom(`${seed}/${scenario.name}`);
    /** Processes that were ended from outside, and what was known of each just before. */
    this.killed = new Map();
    /** What happened when, in ms of the monotonic clock. */
    this.events = [];
    /** What the scenario itself has to tell to its judge. */
    this.seen = {};
  }

  /** Notes an event. */
  mark(event, detail) {
    this.events.push({ at: now(), event, detail });
  }

  /**
   * SIGKILL to a child of the master. A worker notes a request some microseconds after it has read it: so that none is
   * taken for unread that was killed in between, the kernel is asked what it had read.
   */
  kill(pid) {
    this.killed.set(pid, freeze(pid, this.master.port));
    this.mark('kill', pid);
    this.master.ledger.remove(pid);
    try {
      process.kill(pid, 'SIGKILL');
    } catch (err) {
      if (err.code !== 'ESRCH') throw err;
    }
  }

  startLoad(name) {
    const { scenario, master } = this;
    const timeoutMs = scenario.timeoutMs || TIMEOUT_MS;
    const manyAddresses = Boolean(scenario.sticky);
    return new RemoteLoad({ port: master.port, seed: `${this.seed}/${name}`, timeoutMs, manyAddresses });
  }

  /** @return {Promise<Object>} everything that was counted */
  async run() {
    const { scenario, peer, random } = this;
    const extra = scenario.options ? scenario.options(peer) : {};
    this.master = await startMaster(peer, { random, extra, sticky: Boolean(scenario.sticky), runName: scenario.name });
    try {
      await this.#warmUp();
      await this.#underLoad();
      this.seen.end = this.master.ended ? null : this.#rest(await this.master.settledHoldings());
    } finally {
      await this.master.stop();
      this.seen.leftovers = await this.master.endLeftovers();
    }
    return this.#result();
  }

  async #warmUp() {
    const load = this.startLoad('warm-up');
    await sleep(WARM_UP_MS);
    await load.stop();
    this.seen.start = this.#rest(await this.master.settledHoldings());
  }

  async #underLoad() {
    const { master } = this;
    master.ledger.serving();
    master.ledger.watchServing();
    const load = this.startLoad('load');
    const sampler = setInterval(() => master.ledger.serving(), 25);
    await sleep(LEAD_MS);
    await this.scenario.act(this);
    this.attempts = await load.stop();
    clearInterval(sampler);
    this.seen.leastServing = master.ledger.leastServing;
  }

  #rest(holdings) {
    const { master } = this;
    const serving = master.ledger.serving().length;
    return { ...holdings, serving, appWorkers: master.appWorkers().length, agents: master.agents().length };
  }

  #result() {
    const { master, seen, events, killed } = this;
    master.ledger.discard();
    const facts = { ...seen, exit: master.ended, killed: killed.size };
    const attempts = this.attempts.map(attempt => ({ ...attempt, ...master.ledger.readerAndTaker(attempt) }));
    return { peer: this.peer.label, seed: this.seed, facts, events, attempts, ...account(attempts, killed) };
  }
}

module.exports = { Trial };
