'use strict';

// The suites: what the files in bench/suites export, one suite or an array of them.

const fs = require('fs');
const path = require('path');

const DIRECTORY = path.resolve(__dirname, '..', 'suites');

/** @return {Object[]} all suites, in the order of their files' names */
function loadSuites() {
  const files = fs.readdirSync(DIRECTORY).filter(name => name.endsWith('.js')).sort();
  return files.flatMap(name => require(path.join(DIRECTORY, name)));
}

/**
 * The suites that a name stands for: `relay` for the suite of that name and for its cases `relay/100B`, `relay/1kB`.
 * @param {Object[]} suites - of loadSuites
 * @param {string[]} names - none for all
 * @return {Object[]} suites in the order asked for
 */
function chooseSuites(suites, names) {
  if (names.length === 0) return suites;
  return [ ...new Set(names.flatMap(name => matching(suites, name))) ];
}

function matching(suites, name) {
  const found = suites.filter(suite => suite.name === name || suite.name.startsWith(`${name}/`));
  if (found.length === 0) {
    throw new Error(`no benchmark is called ${name}; there are ${suites.map(suite => suite.name).join(', ')}`);
  }
  return found;
}

module.exports = { loadSuites, chooseSuites };
