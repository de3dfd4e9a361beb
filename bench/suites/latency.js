'use strict';

const { withMasters, inTurn } = require('../lib/connections');
const { runLoad } = require('../lib/load');

/**
 * The load, as a share of what the slowest peer answers at most. Below saturation, where a master's way of handing on shows in
 * the latency: with all cores busy, latency is the number of connections in flight divided by the throughput, and says nothing new.
 */
const LOAD = 0.4;
const ROUND_SECONDS = 3;
/** More in flight than this, and a peer has fallen behind for good. */
const IN_FLIGHT = 512;

/**
 * The time from connect to the end of the answer when connections come at a fixed rate, and how evenly they are spread. The rate is
 * the same for all peers.
 */
function latencyWith(workers, peers) {
  return {
    name: `latency/${workers}-workers`,
    title: `Latency and spread: one HTTP request per connection at a fixed rate, ${workers} workers`,
    peers,
    metrics: [
      { key: 'p50', title: 'p50 latency', unit: 'ms', better: 'lower' },
      { key: 'p99', title: 'p99 latency', unit: 'ms', better: 'lower' },
      { key: 'deviation', title: 'deviation over workers', unit: '%', better: 'lower', absolute: true },
    ],
    goals: [
      { metric: 'p99', of: 'node-cluster-none', atMost: 1.1 },
      // What hands connections on without any logic.
      { metric: 'p99', of: 'floor', atMost: 1.1 },
      // A bound of its own, since Node's round robin is near nothing and a ratio to that would be noise. What is within it is meant:
      // a worker that is slow to take its connections gets fewer.
      { metric: 'deviation', of: null, atMost: 5 },
    ],
    supports: peer => peer.serves,
    run: ({ peers, settings, progress }) => {
      const setting = () => ({ workers });
      return withMasters({ peers, setting, progress }, masters => measureRounds(masters, { ...settings, workers }, progress));
    },
  };
}

async function measureRounds(masters, settings, progress) {
  const rate = await findRate(masters, settings, progress);
  progress(`${rate} connections per second`);
  const rows = {};
  for (const { label } of masters) rows[label] = { failed: 0, series: { p50: [], p99: [], deviation: [] } };
  await inTurn(masters, settings.rounds, async ({ label, port }, round) => {
    const load = await runLoad({ port, rate, connections: rate * ROUND_SECONDS, concurrency: IN_FLIGHT });
    if (load.answered === 0) throw new Error(`${label} answered no connection: ${JSON.stringify(load.outcomes)}`);
    const { p50, p99 } = load.latencyMs;
    const { series } = rows[label];
    rows[label].failed += load.failed;
    series.p50.push(p50);
    series.p99.push(p99);
    series.deviation.push(deviation(Object.values(load.workers), settings.workers));
    progress(`round ${round}/${settings.rounds} ${label}: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`);
  });
  return rows;
}

/** Also warms up. */
async function findRate(masters, { connections, concurrency }, progress) {
  const most = [];
  for (const { label, port } of masters) {
    progress(`warming up ${label}`);
    const load = await runLoad({ port, connections: Math.ceil(connections / 4), concurrency });
    most.push(load.answered / load.seconds);
  }
  return Math.max(1, Math.round(Math.min(...most) * LOAD));
}

/** Standard deviation of what each worker got, in percent of the mean; a worker that got nothing is not in `counts`. */
function deviation(counts, workers) {
  const mean = counts.reduce((sum, count) => sum + count, 0) / workers;
  const all = [ ...counts, ...Array(workers - counts.length).fill(0) ];
  return Math.sqrt(all.reduce((sum, count) => sum + (count - mean) ** 2, 0) / workers) / mean * 100;
}

const PEERS = [ 'egg-cluster', 'egg-cluster-rs', 'node-cluster', 'node-cluster-none', 'floor', 'floor-paced' ];

module.exports = [ latencyWith(2, PEERS), latencyWith(8, PEERS) ];
