'use strict';

// `npm run fuzz -- TARGET --seconds N`: one fuzz target, or all of them, for a bounded time. See docs/reliability.md.
// Nothing is installed: what is missing is named.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { ROOT, StepError, run, ask, main } = require('./steps');

const FUZZ = path.join(ROOT, 'fuzz');
const DEFAULT_SECONDS = 60;

function targets() {
  return fs.readdirSync(path.join(FUZZ, 'fuzz_targets')).map(file => path.basename(file, '.rs')).sort();
}

/**
 * @param {string[]} args - of the command line
 * @return {{chosen: string[], seconds: number}} what to run
 */
function parse(args) {
  const known = targets();
  const chosen = [];
  let seconds = DEFAULT_SECONDS;
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--seconds') {
      seconds = Number(args[++i]);
      if (!Number.isInteger(seconds) || seconds < 1) throw new StepError('--seconds should be followed by a whole number of at least 1');
    } else if (known.includes(args[i])) {
      chosen.push(args[i]);
    } else {
      throw new StepError(`there is no target ${args[i]}; the targets are ${known.join(', ')}`);
    }
  }
  return { chosen: chosen.length > 0 ? chosen : known, seconds };
}

function checkTools() {
  if (ask('cargo', [ '+nightly', '--version' ]) === null) {
    throw new StepError('fuzzing needs the nightly toolchain: rustup toolchain install nightly');
  }
  if (ask('cargo', [ '+nightly', 'fuzz', '--version' ]) === null) {
    throw new StepError('fuzzing needs cargo-fuzz: cargo install cargo-fuzz --locked');
  }
}

/** New inputs go into a folder of their own: the corpus that is committed stays small. */
function fuzz(target, seconds, scratch) {
  const found = path.join(scratch, target);
  fs.mkdirSync(found);
  run(`${target}, ${seconds} s`, 'cargo', [
    '+nightly', 'fuzz', 'run', target, found, path.join(FUZZ, 'corpus', target), '--',
    `-max_total_time=${seconds}`, '-timeout=20', '-rss_limit_mb=3000', '-print_final_stats=1',
  ]);
}

main(() => {
  const { chosen, seconds } = parse(process.argv.slice(2));
  checkTools();
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-fuzz-'));
  try {
    for (const target of chosen) fuzz(target, seconds, scratch);
  } catch (err) {
    if (!(err instanceof StepError)) throw err;
    throw new StepError(`${err.message}; an input that breaks a promise is under fuzz/artifacts: add it to fuzz/corpus with the fix`);
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
});
