'use strict';

// What the suites about starts, reloads, crashes and stops have in common: a stopwatch, rounds that are interleaved, and
// looks at what a master has logged and which of its children live.

const fs = require('fs');
const { OURS, startMaster } = require('./peers');
const { childPids } = require('./proc');

/** Between two looks. The times that are measured are a hundred times as long. */
const LOOK_MS = 2;
const DEADLINE_MS = 60_000;
/** A master that has just started is still busy with what need not be done before. */
const SETTLE_MS = 1500;

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));

function now() {
  return Number(process.hrtime.bigint()) / 1e6;
}

/**
 * @param {string} what - for the error
 * @param {function(): (boolean|Promise<boolean>)} probe - holds when it is over
 * @return {Promise<number>} the ms that it took
 */
async function timed(what, probe) {
  const begin = now();
  while (!await probe()) {
    if (now() - begin > DEADLINE_MS) throw new Error(`${what} took more than ${DEADLINE_MS} ms`);
    await sleep(LOOK_MS);
  }
  return now() - begin;
}

/**
 * Fresh masters in each round: peers in turn, and each round begins with another one. A round before those that count
 * brings files into memory.
 * @param {Object} job - of a suite
 * @param {Object} kind - what to measure
 * @param {Object} kind.setting - of startMaster, for all peers
 * @param {Object} [kind.ownOptions] - further options of startCluster for our own master
 * @param {string} kind.metric - the key of what is measured
 * @param {function(RunningMaster): Promise<number>} kind.measure - the value of a round; the master is stopped afterwards
 * @param {Object<string, function(RunningMaster): number>} [kind.beside] - further figures, taken right after the value
 * @return {Promise<Object>} rows of a suite
 */
async function measureFreshMasters({ peers, settings, progress }, { setting, ownOptions = {}, metric, measure, beside = {} }) {
  const noSeries = () => Object.fromEntries([ metric, ...Object.keys(beside) ].map(key => [ key, [] ]));
  const rows = Object.fromEntries(peers.map(({ label }) => [ label, { failed: 0, series: noSeries() } ]));
  for (let round = 0; round <= settings.rounds; round++) {
    for (let i = 0; i < peers.length; i++) {
      const peer = peers[(i + round) % peers.length];
      const options = peer.name === OURS ? ownOptions : {};
      const master = await startMaster(peer, { ...setting, options: { ...setting.options, ...options } });
      try {
        const value = await measure(master);
        const figures = { [metric]: value };
        for (const [ key, look ] of Object.entries(beside)) figures[key] = look(master);
        progress(`round ${round}/${settings.rounds} ${peer.label}: ${value.toFixed(0)} ms`);
        if (round > 0) Object.entries(figures).forEach(([ key, figure ]) => rows[peer.label].series[key].push(figure));
      } finally {
        await master.stop();
      }
    }
  }
  return rows;
}

/** The pids of its app workers, as far as the kernel knows them by their script. */
function appWorkers(master) {
  return childPids(master.pid).filter(pid => commandLine(pid).includes('app_worker.js'));
}

function commandLine(pid) {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    // It has ended.
    return '';
  }
}

/** @return {boolean} whether a process is there, and no zombie */
function isAlive(pid) {
  try {
    return !/^\d+ \(.*\) Z /s.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** @return {function(RegExp): boolean} says whether it has been logged since this call */
function logSince(master) {
  const { size } = fs.statSync(master.logFile);
  return regexp => regexp.test(fs.readFileSync(master.logFile).subarray(size).toString());
}

module.exports = { SETTLE_MS, sleep, timed, measureFreshMasters, appWorkers, isAlive, logSince };
