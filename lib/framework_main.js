'use strict';

/**
 * Finds the file that a framework's directory stands for, also where `require` would not:
 * a framework of ES modules only, or one that is TypeScript and compiled by a hook that the
 * workers load.
 */

const fs = require('fs');
const path = require('path');

/** Names of a main file that `require` does not try by itself. */
const INDEX_FILES = [ 'index.mjs', 'index.cjs', 'index.ts', 'index.mts', 'index.cts' ];

/**
 * @param {string} dir - the framework's directory
 * @return {string} the absolute path of its main file
 * @throws {Error} with `code` MODULE_NOT_FOUND, as `require` has it, when there is none
 */
function frameworkMain(dir) {
  try {
    return require.resolve(dir);
  } catch (err) {
    const file = candidates(dir).map(name => path.join(dir, name)).find(isFile);
    if (file === undefined) throw err;
    return file;
  }
}

function candidates(dir) {
  const pkg = readPackage(dir);
  const named = [ pkg.module, ...targets(pkg.exports), pkg.tshy && targets(pkg.tshy.exports) ].flat();
  return [ ...named.filter(name => typeof name === 'string'), ...INDEX_FILES ];
}

/** What `exports` names for the package itself, under whatever condition. */
function targets(exports) {
  const root = isObject(exports) && '.' in exports ? exports['.'] : exports;
  if (!isObject(root)) return [ root ];
  return Object.keys(root).filter(key => !key.startsWith('.') && key !== 'types').flatMap(key => targets(root[key]));
}

function isObject(value) {
  return typeof value === 'object' && value !== null;
}

function isFile(file) {
  const stat = fs.statSync(file, { throwIfNoEntry: false });
  return stat !== undefined && stat.isFile();
}

/** Options are checked elsewhere: what cannot be read names no file. */
function readPackage(dir) {
  try {
    return Object(JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8')));
  } catch {
    return {};
  }
}

module.exports = { frameworkMain };
