'use strict';

// `npm run bench -- [NAME...] [--option=value...]`: runs the named suites, or all. See README.md beside this file.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { parseArguments } = require('./lib/arguments');
const { writeChart } = require('./lib/chart');
const { PEERS, preparePeers, labelPeers } = require('./lib/peers');
const { readRecorded, writeRecorded, toRecord, checkSuite } = require('./lib/record');
const { summariseSuite, formatSuite } = require('./lib/report');
const { loadSuites, chooseSuites } = require('./lib/suites');

const RESULTS = path.join(__dirname, 'results');

async function runSuite(suite, settings) {
  const wanted = settings.peers ? settings.peers.split(',') : suite.peers;
  const supports = suite.supports || (() => true);
  // A name that no peer has stays in, for labelPeers to refuse.
  const names = preparePeers(wanted.filter(name => !PEERS[name] || supports(PEERS[name])));
  const progress = line => console.error(`  ${suite.name}: ${line}`);
  const rows = await suite.run({ peers: labelPeers(names), settings, progress });
  const summary = summariseSuite(suite, rows);
  console.log(formatSuite(suite, summary));
  return { suite, ...summary };
}

/** What the figures were taken on. */
function describeMachine() {
  const { version: node, platform, arch } = process;
  return { node, platform, arch, kernel: os.release(), cores: os.cpus().length, loadBefore: os.loadavg()[0] };
}

function writeResults(run, results) {
  fs.mkdirSync(RESULTS, { recursive: true });
  const file = path.join(RESULTS, `${run.when.replace(/[:.]/g, '-')}.json`);
  const named = results.map(({ suite, ...summary }) => ({ suite: suite.name, ...summary }));
  fs.writeFileSync(file, JSON.stringify({ ...run, results: named }, null, 2) + '\n');
  console.log(`\n  written to ${path.relative(process.cwd(), file)}`);
}

/** Suites that did not run keep what was recorded of them. */
function record(run, results) {
  const recorded = readRecorded();
  for (const { suite, ...summary } of results) recorded[suite.name] = toRecord(summary, run);
  writeRecorded(recorded);
  writeChart(recorded);
  console.log('  recorded in bench/recorded.json and docs/images/benchmark.svg');
}

/** @return {boolean} whether anything is worse than recorded */
function check(run, results) {
  const recorded = readRecorded();
  const checks = results.map(({ suite, ...summary }) => checkSuite(suite, toRecord(summary, run), recorded[suite.name]));
  console.log([ '', ...checks.flatMap(({ lines }) => lines) ].join('\n'));
  return checks.some(({ worse }) => worse);
}

async function run() {
  if (process.platform !== 'linux') throw new Error('the benchmarks read /proc and run on Linux only');
  const { names, settings } = parseArguments(process.argv.slice(2));
  const suites = chooseSuites(loadSuites(), names);
  const started = { when: new Date().toISOString(), machine: describeMachine(), settings };
  const { loadBefore } = started.machine;
  if (loadBefore > 0.5) {
    console.error(`  note: other programs keep this machine busy (load ${loadBefore.toFixed(1)}); trust ratios only`);
  }
  const results = [];
  for (const suite of suites) results.push(await runSuite(suite, settings));
  writeResults(started, results);
  const failed = results.some(result => result.rows.some(row => row.failed > 0));
  if (settings.record && failed) throw new Error('nothing is recorded: connections went without a full answer');
  if (settings.record) record(started, results);
  if (failed || (settings.check && check(started, results))) process.exitCode = 1;
}

// Ctrl-C reaches the masters too, as they are in the terminal's process group; leaving by exit() ends what is left.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

run().catch(err => {
  console.error(`error: ${err.message}`);
  process.exit(1);
});
