'use strict';

// The generations of Egg that are installed below fixtures/eggs.

const path = require('path');
const { eggs } = require('../../scripts/eggs');

/**
 * @param {string} name a directory of fixtures/eggs
 * @return {{framework: string, cwd: string, skip: string|false}} where it is, and why it is left out under this Node
 * @throws {Error} when it should be installed and is not: that is no reason to leave it out
 */
function egg(name) {
  const { dir, node, fits, installed } = eggs().find(each => each.name === name);
  const skip = fits ? false : `needs Node ${node}, this is ${process.versions.node}`;
  if (fits && !installed) throw new Error(`${name} is not installed for the tests: run node scripts/eggs.js with this Node`);
  // From its own directory, so that none of its plugins are looked for beside those of Egg 3.
  return { framework: path.join(dir, 'node_modules', 'egg'), cwd: dir, skip };
}

module.exports = { egg };
