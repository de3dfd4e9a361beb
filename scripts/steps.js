'use strict';

// What the scripts of this folder share: where the repository is, how to run a program, how to fail.
// Node builtins only: these files run before anything is installed.

const { spawnSync } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const ROOT = path.resolve(__dirname, '..');

/** An error whose message is all that the reader needs; printed without a stack. */
class StepError extends Error {}

/**
 * The environment for child programs. Adds the folder where rustup puts cargo when PATH lacks it,
 * which is so in a shell that was open while Rust was installed.
 * @return {Object<string, string>} a copy of process.env
 */
function toolEnv() {
  const env = { ...process.env };
  const cargoBin = path.join(env.CARGO_HOME || path.join(os.homedir(), '.cargo'), 'bin');
  const dirs = (env.PATH || '').split(path.delimiter);
  if (!dirs.includes(cargoBin) && fs.existsSync(cargoBin)) {
    env.PATH = [ ...dirs, cargoBin ].join(path.delimiter);
  }
  return env;
}

/**
 * Runs a program in the repository with the terminal's own streams and waits for it.
 * @param {string} title - one line for the reader, or '' to print none
 * @param {string} command - program name or path
 * @param {string[]} args - its arguments
 * @throws {StepError} when it cannot be started, fails, or is ended by a signal
 */
function run(title, command, args) {
  if (title) console.log(`> ${title}`);
  const result = spawnSync(command, args, { cwd: ROOT, env: toolEnv(), stdio: 'inherit' });
  if (result.error) throw new StepError(`cannot run ${command}: ${result.error.message}`);
  if (result.signal) throw new StepError(`${title || command} was ended by ${result.signal}`);
  if (result.status !== 0) throw new StepError(`${title || command} failed (exit code ${result.status})`);
}

/**
 * Asks a program for something short, such as its version.
 * @param {string} command - program name
 * @param {string[]} args - its arguments
 * @return {string|null} what it printed, trimmed; null when it is missing or failed
 */
function ask(command, args) {
  const result = spawnSync(command, args, { cwd: ROOT, env: toolEnv(), encoding: 'utf8' });
  return !result.error && result.status === 0 ? result.stdout.trim() : null;
}

/**
 * Path of a program that a development dependency installed.
 * @param {string} name - its name
 * @return {string} absolute path
 */
function localBin(name) {
  return path.join(ROOT, 'node_modules', '.bin', name);
}

/**
 * Runs a script's body. A StepError ends the process with code 1 and its message alone.
 * @param {function(): (void|Promise<void>)} body - the script
 */
async function main(body) {
  try {
    await body();
  } catch (err) {
    console.error(err instanceof StepError ? `error: ${err.message}` : err);
    process.exitCode = 1;
  }
}

module.exports = { ROOT, StepError, run, ask, localBin, main };
