'use strict';

// Measures what masters spend on connections: all peers run side by side, and rounds of load go to one at a time,
// in turn, so that a slow moment of the machine hits every peer alike.

const { cpuTime, cpuBetween } = require('./proc');
const { runLoad } = require('./load');
const { startMaster } = require('./peers');

/** Columns of the table; `better` says which way a ratio to the baseline is good. */
const METRICS = [
  { key: 'masterCpu', title: 'master CPU/conn', unit: 'µs', better: 'lower' },
  { key: 'workersCpu', title: 'workers CPU/conn', unit: 'µs', better: 'lower' },
  { key: 'throughput', title: 'throughput', unit: 'conn/s', better: 'higher' },
  { key: 'p99', title: 'p99 latency', unit: 'ms', better: 'lower' },
];

/**
 * @param {Object} job - what to measure
 * @param {Array<{name: string, label: string}>} job.peers - who takes part
 * @param {{workers: number, connections: number, concurrency: number, rounds: number}} job.settings - how much
 * @param {function({name: string}): Object} [job.optionsOf] - options of startCluster for a peer
 * @param {number} job.sources - from how many loopback addresses the clients come
 * @param {string} [job.header] - a further line of the requests, see client.js
 * @param {function(string): void} job.progress - told each step
 * @return {Promise<Object>} series by label and metric, and `failed` by label: connections without a full answer
 */
async function measureConnections({ peers, settings, sources, header, progress, optionsOf = () => ({}) }) {
  const setting = peer => ({ workers: settings.workers, options: optionsOf(peer) });
  return withMasters({ peers, setting, progress }, masters => measureRounds(masters, { ...settings, sources, header }, progress));
}

/**
 * Starts all peers and ends them whatever happens.
 * @param {{peers: Object[], setting: function(Object): Object, progress: function(string): void}} job - who, and how to start each
 * @param {function(RunningMaster[]): Promise<Object>} measure - what to do with them
 * @return {Promise<Object>} what `measure` returned
 */
async function withMasters({ peers, setting, progress }, measure) {
  const masters = [];
  try {
    for (const peer of peers) {
      progress(`starting ${peer.label}`);
      masters.push(await startMaster(peer, setting(peer)));
    }
    return await measure(masters);
  } finally {
    await Promise.all(masters.map(master => master.stop()));
  }
}

async function measureRounds(masters, settings, progress) {
  const rows = {};
  for (const master of masters) {
    progress(`warming up ${master.label}`);
    rows[master.label] = { failed: 0, series: { masterCpu: [], workersCpu: [], throughput: [], p99: [] } };
    await measureOnce(master, { ...settings, connections: Math.ceil(settings.connections / 4) });
  }
  await inTurn(masters, settings.rounds, async (master, round) => {
    const { failed, ...figures } = await measureOnce(master, settings);
    rows[master.label].failed += failed;
    for (const [ key, value ] of Object.entries(figures)) rows[master.label].series[key].push(value);
    progress(`round ${round}/${settings.rounds} ${master.label}: ${figures.masterCpu.toFixed(1)} µs/conn, `
      + `${Math.round(figures.throughput)} conn/s${failed ? `, ${failed} FAILED` : ''}`);
  });
  return rows;
}

/**
 * Each round begins with another peer: whoever comes first after a pause may meet a colder machine.
 * @param {RunningMaster[]} masters - who
 * @param {number} rounds - how often
 * @param {function(RunningMaster, number): Promise<void>} measure - a master's turn in a round
 */
async function inTurn(masters, rounds, measure) {
  for (let round = 1; round <= rounds; round++) {
    for (let i = 0; i < masters.length; i++) await measure(masters[(i + round) % masters.length], round);
  }
}

async function measureOnce(master, { connections, concurrency, sources, header }) {
  const masterBefore = cpuTime(master.pid);
  const childrenBefore = master.children.map(cpuTime);
  const load = await runLoad({ port: master.port, connections, concurrency, sources, header });
  const masterAfter = cpuTime(master.pid);
  const childrenNs = master.children.map((pid, i) => cpuBetween(childrenBefore[i], cpuTime(pid)));
  if (load.answered === 0) throw new Error(`${master.label} answered no connection: ${JSON.stringify(load.outcomes)}`);
  return {
    masterCpu: cpuBetween(masterBefore, masterAfter) / load.answered / 1000,
    workersCpu: childrenNs.reduce((sum, ns) => sum + ns, 0) / load.answered / 1000,
    throughput: load.answered / load.seconds,
    p99: load.latencyMs.p99,
    failed: load.failed,
  };
}

module.exports = { METRICS, measureConnections, withMasters, inTurn };
