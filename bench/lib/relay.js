'use strict';

// Measures what masters spend on messages among their children. As with connections, all peers run side by side and
// have their rounds in turn.

const { runMessages } = require('./messages');
const { startMaster } = require('./peers');
const { cpuTime, cpuBetween, memory, resetPeak } = require('./proc');

const MIB = 1024 * 1024;

/** Columns of the table; `better` says which way a ratio to the baseline is good. */
const METRICS = [
  { key: 'masterCpu', title: 'master CPU/message', unit: 'µs', better: 'lower' },
  { key: 'childrenCpu', title: 'children CPU/message', unit: 'µs', better: 'lower' },
  { key: 'rate', title: 'messages', unit: '1/s', better: 'higher' },
  { key: 'peakRss', title: 'RSS peak', unit: 'MiB', better: 'lower' },
];

/**
 * @param {Object} job - what to measure
 * @param {Array<{name: string, label: string}>} job.peers - who takes part
 * @param {string} job.fixture - `relay`, or `relay-egg`, which loads Egg
 * @param {Object} job.load - of runMessages, for each round
 * @param {number} job.workers - app workers of each master
 * @param {number} job.rounds - how many rounds are counted
 * @param {function(string): void} job.progress - told each step
 * @return {Promise<Object>} series by label and metric, and `failed` by label: deliveries that did not happen, or not in order
 */
async function measureRelay({ peers, fixture, load, workers, rounds, progress }) {
  const masters = [];
  try {
    for (const peer of peers) masters.push(await startMaster(peer, { workers, fixture }));
    const rows = {};
    for (const master of masters) {
      rows[master.label] = { failed: 0, series: Object.fromEntries(METRICS.map(({ key }) => [ key, [] ])) };
      await runMessages(master, { ...load, count: Math.ceil(load.count / 4) });
    }
    for (let round = 1; round <= rounds; round++) {
      for (let i = 0; i < masters.length; i++) {
        await measureOnce(masters[(i + round) % masters.length], load, rows);
      }
      progress(`round ${round}/${rounds}: ` + masters.map(({ label }) => {
        const { failed, series } = rows[label];
        return `${label} ${series.masterCpu[round - 1].toFixed(1)} µs/message${failed ? `, ${failed} FAILED` : ''}`;
      }).join(', '));
    }
    return rows;
  } finally {
    await Promise.all(masters.map(master => master.stop()));
  }
}

async function measureOnce(master, load, rows) {
  resetPeak(master.pid);
  const childrenBefore = master.children.map(cpuTime);
  const before = cpuTime(master.pid);
  const begin = process.hrtime.bigint();
  const { failed } = await runMessages(master, load);
  const seconds = Number(process.hrtime.bigint() - begin) / 1e9;
  const masterNs = cpuBetween(before, cpuTime(master.pid));
  const childrenNs = master.children.reduce((sum, pid, i) => sum + cpuBetween(childrenBefore[i], cpuTime(pid)), 0);
  const row = rows[master.label];
  row.failed += failed;
  row.series.masterCpu.push(masterNs / load.count / 1000);
  row.series.childrenCpu.push(childrenNs / load.count / 1000);
  row.series.rate.push(load.count / seconds);
  row.series.peakRss.push(memory(master.pid).peak / MIB);
}

module.exports = { METRICS, measureRelay };
