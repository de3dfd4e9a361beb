'use strict';

// Installs the generations of Egg that the tests start beside Egg 3, each in a directory of its own with a lock
// file of its own: their plugins have the same names, and must not be found by one another.
// `node scripts/eggs.js` does so for the Node that runs it; one that is too old for an Egg leaves it out.

const fs = require('fs');
const path = require('path');
const { ROOT, run, main } = require('./steps');

const EGGS = path.join(ROOT, '__test__', 'fixtures', 'eggs');

/**
 * @param {string} [version] - of Node
 * @return {Array<{name: string, dir: string, node: string, fits: boolean, installed: boolean}>} all of them: `node` is
 *   the lowest version of Node, `fits` whether the given one is as high, `installed` whether the lock file's packages are there
 */
function eggs(version = process.versions.node) {
  return fs.readdirSync(EGGS).sort().map(name => {
    const dir = path.join(EGGS, name);
    const { engines } = JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'));
    const node = engines.node.replace('>=', '');
    return { name, dir, node, fits: isAtLeast(version, node), installed: isInstalled(dir) };
  });
}

/**
 * Installs those that are missing or not what their lock file says.
 *
 * @param {string} [version] - the highest Node that will run them
 */
function installEggs(version) {
  for (const { name, dir, fits, installed } of eggs(version)) {
    if (!fits || installed) continue;
    run(`installing ${name} for the tests (npm ci)`, 'npm',
      [ 'ci', '--prefix', dir, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error' ]);
    fs.copyFileSync(lockFile(dir), stampFile(dir));
  }
}

function isInstalled(dir) {
  const stamp = stampFile(dir);
  return fs.existsSync(stamp) && fs.readFileSync(stamp).equals(fs.readFileSync(lockFile(dir)));
}

function lockFile(dir) {
  return path.join(dir, 'package-lock.json');
}

/** The lock file that node_modules was installed from. Inside it, so that the two vanish together. */
function stampFile(dir) {
  return path.join(dir, 'node_modules', '.setup-lock.json');
}

/** Versions of three numbers. */
function isAtLeast(version, lowest) {
  const [ a, b ] = [ version, lowest ].map(text => text.split('.').map(Number));
  const at = a.findIndex((part, i) => part !== b[i]);
  return at < 0 || a[at] > b[at];
}

module.exports = { eggs, installEggs };

if (require.main === module) main(() => installEggs());
