'use strict';

// What a good run has shown (bench/recorded.json, in git), and whether another is worse.

const fs = require('fs');
const path = require('path');
const { BASELINE, OURS } = require('./peers');
const { metricOf, suffixOf } = require('./report');

const FILE = path.resolve(__dirname, '..', 'recorded.json');
/** Settings without which two runs cannot be compared. */
const DECISIVE = [ 'workers', 'connections', 'concurrency' ];
const DIGITS = 4;

/** @return {Object} what was recorded, by the name of the suite */
function readRecorded() {
  return fs.existsSync(FILE) ? JSON.parse(fs.readFileSync(FILE, 'utf8')) : {};
}

/** @param {Object} recorded - by the name of the suite */
function writeRecorded(recorded) {
  const sorted = Object.fromEntries(Object.entries(recorded).sort(([ a ], [ b ]) => (a < b ? -1 : 1)));
  fs.writeFileSync(FILE, JSON.stringify(sorted, null, 2) + '\n');
}

/**
 * @param {{rows: Object[], goals: Object[]}} summary - of summariseSuite
 * @param {{when: string, machine: Object, settings: Object}} run - when, where and how
 * @return {Object} what is kept: `peers`: ratios to the baseline by peer and metric, `goals`: what our goals name
 */
function toRecord(summary, { when, machine, settings }) {
  const peers = {};
  for (const { label, metrics } of summary.rows) {
    if (label === BASELINE) continue;
    const ratios = Object.entries(metrics).filter(([ , figures ]) => figures && isFinite(figures.ratio));
    peers[label] = Object.fromEntries(ratios.map(([ key, { ratio } ]) => [ key, extent(ratio) ]));
  }
  const goals = summary.goals.filter(goal => isFinite(goal.seen)).map(({ metric, of, seen }) => ({ metric, of, ...extent(seen) }));
  const { node, arch, cores, loadBefore } = machine;
  return { when, machine: { node, arch, cores, loadBefore }, settings: pick(settings), peers, goals };
}

/** Whether there is a ratio at all; something beside nothing has none. */
function isFinite(figures) {
  return Boolean(figures) && figures.values.every(Number.isFinite);
}

function extent({ median, min, max }) {
  const [ middle, least, most ] = [ median, min, max ].map(value => Number(value.toPrecision(DIGITS)));
  return { median: middle, min: least, max: most };
}

function pick(settings) {
  return Object.fromEntries(DECISIVE.map(key => [ key, settings[key] ]));
}

/**
 * Compares our ratios of a run with the recorded ones.
 * @param {Object} suite - the suite that ran
 * @param {Object} now - toRecord of this run
 * @param {Object} [then] - what was recorded of it
 * @return {{lines: string[], worse: boolean}} what is worse by more than the spread, for the terminal
 */
function checkSuite(suite, now, then) {
  if (!then) return { lines: [ `  check: ${suite.name} is not recorded` ], worse: false };
  const pairs = pairUp(now, then);
  const worse = pairs.filter(pair => isWorse(metricOf(suite, pair), pair));
  const lines = worse.map(pair => `  check: ${describe(suite, pair)}, WORSE`);
  const different = DECISIVE.filter(key => now.settings[key] !== then.settings[key]);
  if (different.length > 0) lines.unshift(`  check: recorded with other settings (${different.join(', ')})`);
  lines.push(`  check: ${pairs.length - worse.length} of ${pairs.length} recorded figures of ${suite.name} are no worse`);
  return { lines, worse: worse.length > 0 };
}

/** Our figures that both have: ratios to the baseline, and what goals name. */
function pairUp(now, then) {
  const figures = record => {
    const ratios = Object.entries(record.peers[OURS] || {}).map(([ metric, ratio ]) => ({ metric, of: BASELINE, ...ratio }));
    return [ ...ratios, ...record.goals.filter(goal => goal.of !== BASELINE) ];
  };
  const recorded = figures(then);
  return figures(now).flatMap(seen => {
    const before = recorded.find(({ metric, of }) => metric === seen.metric && of === seen.of);
    return before ? [{ metric: seen.metric, of: seen.of, seen, before }] : [];
  });
}

/** What lies within the spread of either run cannot be told from noise. */
function isWorse({ better }, { seen, before }) {
  const loss = better === 'lower' ? seen.median - before.median : before.median - seen.median;
  return loss > spreadOf({ seen, before });
}

function spreadOf({ seen, before }) {
  return Math.max(seen.max - seen.min, before.max - before.min);
}

function describe(suite, pair) {
  const { of, seen, before } = pair;
  const metric = metricOf(suite, pair);
  const suffix = suffixOf(of, metric);
  return `${metric.title} ${seen.median.toFixed(2)}${suffix}${of === null ? '' : ` of ${of}`}, recorded ${before.median.toFixed(2)}${suffix}, `
    + `spread ${spreadOf(pair).toFixed(2)}`;
}

module.exports = { readRecorded, writeRecorded, toRecord, checkSuite };
