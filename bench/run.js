'use strict';

// `npm run bench -- [NAME...] [--option=value...]`: runs the named suites, or all. See README.md beside this file.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { parseArguments } = require('./lib/arguments');
const { PEERS, labelPeers } = require('./lib/peers');
const { summariseSuite, formatSuite } = require('./lib/report');
const { loadSuites, chooseSuites } = require('./lib/suites');

const RESULTS = path.join(__dirname, 'results');

async function runSuite(suite, settings) {
  const wanted = settings.peers ? settings.peers.split(',') : suite.peers;
  const supports = suite.supports || (() => true);
  // A name that no peer has stays in, for labelPeers to refuse.
  const names = wanted.filter(name => !PEERS[name] || supports(PEERS[name]));
  const progress = line => console.error(`  ${suite.name}: ${line}`);
  const rows = await suite.run({ peers: labelPeers(names), settings, progress });
  const summary = summariseSuite(suite, rows);
  console.log(formatSuite(suite, summary));
  return { suite: suite.name, ...summary };
}

/** What the figures were taken on. */
function describeMachine() {
  const { version: node, platform, arch } = process;
  return { node, platform, arch, kernel: os.release(), cores: os.cpus().length, loadBefore: os.loadavg()[0] };
}

function writeResults(settings, machine, results) {
  fs.mkdirSync(RESULTS, { recursive: true });
  const when = new Date().toISOString();
  const file = path.join(RESULTS, `${when.replace(/[:.]/g, '-')}.json`);
  fs.writeFileSync(file, JSON.stringify({ when, machine, settings, results }, null, 2) + '\n');
  console.log(`\n  written to ${path.relative(process.cwd(), file)}`);
}

async function run() {
  if (process.platform !== 'linux') throw new Error('the benchmarks read /proc and run on Linux only');
  const { names, settings } = parseArguments(process.argv.slice(2));
  const suites = chooseSuites(loadSuites(), names);
  const machine = describeMachine();
  if (machine.loadBefore > 0.5) {
    console.error(`  note: other programs keep this machine busy (load ${machine.loadBefore.toFixed(1)}); trust ratios only`);
  }
  const results = [];
  for (const suite of suites) results.push(await runSuite(suite, settings));
  writeResults(settings, machine, results);
  const failed = results.some(result => result.rows.some(row => row.failed > 0));
  const missed = results.some(result => result.goals.some(goal => goal.met === false));
  if (failed || (settings.check && missed)) process.exitCode = 1;
}

// Ctrl-C reaches the masters too, as they are in the terminal's process group; leaving by exit() ends what is left.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

run().catch(err => {
  console.error(`error: ${err.message}`);
  process.exit(1);
});
