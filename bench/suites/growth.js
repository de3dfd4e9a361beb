'use strict';

const { runLoad } = require('../lib/load');
const { runMessages } = require('../lib/messages');
const { startMaster } = require('../lib/peers');
const { memory } = require('../lib/proc');
const { slope } = require('../lib/stats');

const MIB = 1024 * 1024;
/** In all, in blocks; memory is looked at after each. */
const CONNECTIONS = 1_000_000;
const MESSAGES = 100_000;
const BLOCKS = 40;
/** Blocks that the slope is of: by the first ones, heaps come to the size that they keep. */
const STEADY_BLOCKS = 20;
const WORKERS = 2;

/**
 * Resident memory of the master during a million connections and a hundred thousand messages. A run takes four minutes or more.
 */
module.exports = {
  name: 'growth',
  title: `Growth of the master over ${CONNECTIONS} connections and ${MESSAGES} messages`,
  peers: [ 'egg-cluster', 'egg-cluster-rs' ],
  metrics: [
    { key: 'firstRss', title: 'RSS after the first tenth', unit: 'MiB', better: 'lower' },
    { key: 'middleRss', title: 'after half', unit: 'MiB', better: 'lower' },
    { key: 'lastRss', title: 'after all', unit: 'MiB', better: 'lower' },
    { key: 'slope', title: 'slope of the second half', unit: 'KiB per 100,000 conn', better: 'lower' },
  ],
  goals: [
    { metric: 'lastRss', atMost: 0.7 },
    { metric: 'slope', of: null, atMost: 64 },
  ],
  supports: peer => peer.egg,
  run: measureGrowth,
};

async function measureGrowth({ peers, settings, progress }) {
  const masters = [];
  try {
    for (const peer of peers) masters.push(await startMaster(peer, { workers: WORKERS, fixture: 'relay-egg' }));
    const points = Object.fromEntries(masters.map(({ label }) => [ label, { failed: 0, rss: [] } ]));
    for (let block = 1; block <= BLOCKS; block++) {
      for (const master of masters) await runBlock(master, settings, points[master.label], progress);
      progress(`${block * (CONNECTIONS / BLOCKS)} connections: `
        + masters.map(({ label }) => `${label} ${points[label].rss[block - 1].toFixed(1)} MiB`).join(', '));
    }
    return Object.fromEntries(masters.map(({ label }) => [ label, rowOf(points[label]) ]));
  } finally {
    await Promise.all(masters.map(master => master.stop()));
  }
}

async function runBlock(master, { concurrency }, point, progress) {
  const connections = CONNECTIONS / BLOCKS;
  const load = await runLoad({ port: master.port, connections, concurrency });
  if (load.failed > 0) progress(`${master.label}: ${JSON.stringify(load.outcomes)}`);
  const count = MESSAGES / BLOCKS / 2;
  const down = await runMessages(master, { route: 'agentToApps', count, bytes: 1000 });
  const up = await runMessages(master, { route: 'appToAgent', count, bytes: 1000 });
  point.failed += load.failed + down.failed + up.failed;
  point.rss.push(memory(master.pid).rss / MIB);
}

function rowOf({ failed, rss }) {
  const perBlock = slope(rss.slice(-STEADY_BLOCKS)) * 1024;
  return {
    failed,
    series: {
      firstRss: [ rss[BLOCKS / 10 - 1] ],
      middleRss: [ rss[BLOCKS / 2 - 1] ],
      lastRss: [ rss[BLOCKS - 1] ],
      slope: [ perBlock * BLOCKS / (CONNECTIONS / 100_000) ],
    },
  };
}
