'use strict';

// What single peers need beyond the dependencies of the repository: made on first use, and again when out of date.

const fs = require('fs');
const path = require('path');
const { ROOT, StepError, run } = require('../../scripts/steps');

/** pm2 has a directory and a lock file of its own: 77 packages that nothing else needs. */
const PM2 = path.join(ROOT, 'bench', 'pm2');
const FLOOR = path.join(ROOT, 'target', 'release', 'examples', 'floor');

/** @return {string|null} why pm2 cannot take part, or null */
function preparePm2() {
  const lock = path.join(PM2, 'package-lock.json');
  const stamp = path.join(PM2, 'node_modules', '.bench-lock.json');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp).equals(fs.readFileSync(lock))) return null;
  return attempt(() => {
    run('installing pm2 for the benchmark (npm ci)', 'npm',
      [ 'ci', '--prefix', PM2, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error' ]);
    fs.copyFileSync(lock, stamp);
  });
}

/** @return {string|null} why the floor cannot take part, or null; cargo knows whether there is anything to build */
function prepareFloor() {
  return attempt(() => run('', 'cargo', [ 'build', '--release', '--quiet', '--example', 'floor' ]));
}

function attempt(step) {
  try {
    step();
    return null;
  } catch (err) {
    if (!(err instanceof StepError)) throw err;
    return err.message;
  }
}

/**
 * @param {{port: number, workers: number}} options - where to serve and with how many workers
 * @param {...string} further - arguments of the program
 * @return {{command: string, args: string[], env: Object}} how to start it, with the workers of node-cluster
 */
function floorCommand({ port, workers }, ...further) {
  const args = [ String(port), String(workers), path.join(__dirname, 'node_primary.js'), ...further ];
  return { command: FLOOR, args, env: { NODE: process.execPath } };
}

module.exports = { preparePm2, prepareFloor, floorCommand };
