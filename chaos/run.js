'use strict';

// `npm run chaos -- [SCENARIO...] [--option=value...]`: runs the named scenarios, or all. See docs/chaos.md.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { OURS, PEERS, labelPeers } = require('../bench/lib/peers');
const { formatScenario } = require('./lib/table');
const { Trial } = require('./lib/trial');

const SCENARIOS = [ 'reload', 'terminate', 'kill', 'loop', 'sticky', 'agent' ].map(name => require(`./scenarios/${name}`));
const RESULTS = path.join(__dirname, 'results');
/** Settings and what they are unless given. */
const DEFAULTS = { seed: 1, repeat: 1, peers: '', quick: false, 'no-fail': false };

function parseArguments(args) {
  const settings = { ...DEFAULTS };
  const names = [];
  const rest = [ ...args ];
  while (rest.length > 0) {
    const arg = rest.shift();
    const [ , key, value ] = arg.match(/^--([\w-]+)(?:=(.*))?$/) || [];
    if (key === undefined) {
      names.push(arg);
    } else if (!(key in DEFAULTS)) {
      throw new Error(`no option is called --${key}; there are --${Object.keys(DEFAULTS).join(', --')}`);
    } else {
      settings[key] = typeof DEFAULTS[key] === 'boolean' || parseValue(key, value === undefined ? rest.shift() : value);
    }
  }
  return { settings, scenarios: names.length === 0 ? SCENARIOS : names.map(findScenario), peers: choosePeers(settings) };
}

function parseValue(key, value) {
  if (key === 'peers') return value || '';
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1) throw new Error(`--${key} takes a whole number from 1, not ${value}`);
  return number;
}

function findScenario(name) {
  const scenario = SCENARIOS.find(one => one.name === name);
  if (!scenario) throw new Error(`no scenario is called ${name}; there are ${SCENARIOS.map(one => one.name).join(', ')}`);
  return scenario;
}

/** Those that run Egg's workers; the quick run is there for our promises alone. */
function choosePeers({ peers, quick }) {
  const all = quick ? [ OURS ] : Object.keys(PEERS).filter(name => PEERS[name].egg);
  return labelPeers(peers ? peers.split(',') : all);
}

async function runScenario(scenario, peers, settings) {
  const rows = [];
  for (const peer of peers) {
    const results = [];
    for (let round = 0; round < settings.repeat; round++) results.push(await runTrial(scenario, peer, settings, round));
    rows.push({ label: peer.label, name: peer.name, results });
  }
  write(process.stdout, formatScenario(scenario, rows));
  return { scenario: scenario.name, rows };
}

async function runTrial(scenario, peer, { seed, quick, repeat }, round) {
  write(process.stderr, `  ${scenario.name}: ${peer.label}${repeat > 1 ? ` (${round + 1} of ${repeat})` : ''}`);
  const result = await new Trial({ scenario, peer, seed: seed + round, quick }).run();
  return { ...result, broken: scenario.judge(result) };
}

function write(stream, line) {
  stream.write(line + '\n');
}

/** Everything but the attempts that were answered. */
function writeResults(settings, outcomes) {
  fs.mkdirSync(RESULTS, { recursive: true });
  const when = new Date().toISOString();
  const file = path.join(RESULTS, `${when.replace(/[:.]/g, '-')}.json`);
  const machine = { node: process.version, kernel: os.release(), cores: os.cpus().length, load: os.loadavg()[0] };
  const leaveOut = (key, value) => (key === 'attempts' ? undefined : value);
  fs.writeFileSync(file, JSON.stringify({ when, machine, settings, outcomes }, leaveOut, 2) + '\n');
  write(process.stdout, `\n  written to ${path.relative(process.cwd(), file)}`);
}

async function run() {
  if (process.platform !== 'linux') throw new Error('this harness reads /proc and runs on Linux only');
  const { scenarios, peers, settings } = parseArguments(process.argv.slice(2));
  const outcomes = [];
  for (const scenario of scenarios) outcomes.push(await runScenario(scenario, peers, settings));
  writeResults(settings, outcomes);
  const ours = outcomes.flatMap(({ rows }) => rows.filter(({ name }) => name === OURS).flatMap(({ results }) => results));
  const isBroken = ours.some(({ broken }) => broken.length > 0);
  if (isBroken && !settings['no-fail']) process.exitCode = 1;
}

// Ctrl-C reaches the masters too, as they are in the terminal's process group; leaving by exit() ends what is left.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

run().catch(err => {
  write(process.stderr, `error: ${err.message}`);
  process.exit(1);
});
