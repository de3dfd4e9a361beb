'use strict';

const { memory } = require('../lib/proc');
const { runLoad } = require('../lib/load');
const { PEERS, startMaster } = require('../lib/peers');

const MIB = 1024 * 1024;
/** Memory counts as settled when it moved by less than this between two looks. */
const SETTLED_BYTES = 256 * 1024;
const LOOK_EVERY_MS = 500;
/** The longest wait for that. */
const SETTLE_LOOKS = 20;

/** Resident memory of the master: freshly started, and after a round of connections. Every round is a fresh start. */
module.exports = {
  name: 'memory',
  title: "Memory of the master under a real Egg application (Node's own: under a minimal server)",
  peers: [ 'egg-cluster', 'egg-cluster-rs', 'node-cluster', 'bare-node' ],
  metrics: [
    { key: 'idleRss', title: 'RSS idle', unit: 'MiB', better: 'lower' },
    { key: 'idleAnon', title: 'of it anonymous', unit: 'MiB', better: 'lower' },
    { key: 'loadedRss', title: 'RSS after load', unit: 'MiB', better: 'lower' },
    { key: 'peakRss', title: 'RSS peak', unit: 'MiB', better: 'lower' },
  ],
  goals: [
    { metric: 'idleRss', atMost: 0.7 },
    { metric: 'loadedRss', atMost: 0.7 },
  ],
  run: measureMemory,
};

async function measureMemory({ peers, settings, progress }) {
  const rows = {};
  for (const { label } of peers) {
    rows[label] = { failed: 0, series: { idleRss: [], idleAnon: [], loadedRss: [], peakRss: [] } };
  }
  for (let round = 1; round <= settings.rounds; round++) {
    for (const peer of peers) {
      const { failed, ...figures } = await measureOnce(peer, settings);
      rows[peer.label].failed += failed;
      for (const [ key, bytes ] of Object.entries(figures)) rows[peer.label].series[key].push(bytes / MIB);
      progress(`round ${round}/${settings.rounds} ${peer.label}: ${(figures.idleRss / MIB).toFixed(1)} MiB idle, `
        + `${(figures.loadedRss / MIB).toFixed(1)} MiB after load`);
    }
  }
  return rows;
}

async function measureOnce(peer, { workers, connections, concurrency }) {
  const { egg, serves } = PEERS[peer.name];
  const master = await startMaster(peer, { workers, fixture: egg ? 'egg' : 'minimal' });
  try {
    const idle = await settledMemory(master.pid);
    // Half the load of the other suites: an Egg application takes longer to answer than the minimal one.
    const half = Math.ceil(connections / 2);
    const failed = serves ? (await runLoad({ port: master.port, connections: half, concurrency })).failed : 0;
    const after = await settledMemory(master.pid);
    return { idleRss: idle.rss, idleAnon: idle.anon, loadedRss: after.rss, peakRss: after.peak, failed };
  } finally {
    await master.stop();
  }
}

/** Waits until a process's memory stands still, since V8 tidies up for a while after the last work. */
async function settledMemory(pid) {
  let last = memory(pid);
  for (let look = 0; look < SETTLE_LOOKS; look++) {
    await new Promise(resolve => setTimeout(resolve, LOOK_EVERY_MS));
    const now = memory(pid);
    if (Math.abs(now.rss - last.rss) < SETTLED_BYTES) return now;
    last = now;
  }
  return last;
}
