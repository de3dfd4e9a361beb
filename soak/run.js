'use strict';

// `npm run soak -- --minutes=N [--option=value...]`: load, messages, reloads and kills, round after round, and whether anything
// of the master grows meanwhile. See "Soak" in docs/reliability.md.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { findGrowth, warmUp } = require('./lib/growth');
const { plot } = require('./lib/plot');
const { Soak } = require('./lib/soak');
const { now } = require('../chaos/lib/time');

const RESULTS = path.join(__dirname, 'results');
/** Settings and what they are unless given. */
const DEFAULTS = { minutes: 10, seconds: 10, seed: 1, svg: '' };
/** Fewer rounds say nothing: two warm up, and two halves of two are compared. */
const LEAST_ROUNDS = 6;

function parseArguments(args) {
  const settings = { ...DEFAULTS };
  for (const arg of args) {
    const [ , key, value ] = arg.match(/^--(\w+)=(.+)$/) || [];
    if (!(key in DEFAULTS)) throw new Error(`unknown argument ${arg}; there are --${Object.keys(DEFAULTS).join('=…, --')}=…`);
    settings[key] = key === 'svg' ? value : parseNumber(key, value);
  }
  return settings;
}

function parseNumber(key, value) {
  const number = Number(value);
  if (!(number > 0)) throw new Error(`--${key} takes a number above 0, not ${value}`);
  return number;
}

/** Rounds until the time is over. */
async function play(soak, { minutes }) {
  const end = now() + minutes * 60_000;
  for (let round = 0; now() < end || round < LEAST_ROUNDS; round++) {
    await soak.round(round);
    process.stderr.write(`  ${describe(soak.samples[round])}\n`);
    if (soak.broken.length > 0) return;
  }
}

function describe({ minutes, master, guardian, done }) {
  const mib = bytes => (bytes / 2 ** 20).toFixed(1);
  return `${minutes.toFixed(1)} min: ${done.requests} requests, ${done.messages} messages, ${done.reloads} reloads, ${done.kills} kills; ` +
    `RSS ${mib(master.rss)} MiB, ${master.descriptors} descriptors, ${master.threads} threads, ${master.zombies} zombies, ` +
    `${master.timers} + ${master.coreTimers} timers; guardian ${mib(guardian.rss)} MiB, ${guardian.descriptors} descriptors`;
}

async function run() {
  if (process.platform !== 'linux') throw new Error('this harness reads /proc and runs on Linux only');
  const settings = parseArguments(process.argv.slice(2));
  const soak = await Soak.start(settings);
  try {
    await play(soak, settings);
  } finally {
    await soak.stop();
  }
  report(settings, soak);
}

function report(settings, { samples, broken, failures }) {
  const growth = broken.length > 0 ? [] : findGrowth(samples);
  const when = new Date().toISOString();
  const machine = { node: process.version, kernel: os.release(), cores: os.cpus().length };
  const command = `npm run soak -- --minutes=${settings.minutes}`;
  const result = { when, command, settings, machine, warmUp: warmUp(samples.length), growth, broken, failures, samples };
  fs.mkdirSync(RESULTS, { recursive: true });
  const file = settings.svg ? settings.svg.replace(/(\.svg)?$/, '.json') : path.join(RESULTS, `${when.replace(/[:.]/g, '-')}.json`);
  const picture = file.replace(/\.json$/, '.svg');
  fs.writeFileSync(file, JSON.stringify(result, null, 1) + '\n');
  fs.writeFileSync(picture, plot(result));
  for (const { title, before, after, verdict } of growth) process.stdout.write(`  ${title}: ${before} -> ${after}  ${verdict}\n`);
  for (const text of broken) process.stdout.write(`  BROKEN: ${text}\n`);
  process.stdout.write(`  written to ${path.relative(process.cwd(), file)} and ${path.relative(process.cwd(), picture)}\n`);
  if (broken.length > 0 || growth.some(({ verdict }) => verdict !== 'flat')) process.exitCode = 1;
}

// Leaving by exit() ends the processes that are left.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

run().catch(err => {
  process.stderr.write(`error: ${err.message}\n`);
  process.exit(1);
});
