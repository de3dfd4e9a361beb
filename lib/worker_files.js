'use strict';

/**
 * Finds the scripts that the agent and the app workers run. They belong to the
 * `egg-cluster`, or in Egg 4 the `@eggjs/cluster`, that the framework in use would resolve,
 * so that they fit it; where there is none, to the release of egg-cluster that this package
 * depends on under the name of an alias.
 *
 * `egg-scripts stop` and `eggctl stop` know the workers of a master that is gone by their
 * path: `egg-cluster/lib/app_worker.js`, or `@eggjs/cluster/dist/commonjs/app_worker.js` and
 * `dist/esm`. The scripts found here have such paths, the one of the alias too.
 */

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const ALIAS = '@egg-cluster-rs/egg-cluster';
const EGG_4 = '@eggjs/cluster';
/** Bounds of the search through the framework's dependencies. */
const MAX_DEPTH = 3;
const MAX_PACKAGES = 100;

/** The packages that have worker scripts, with the directories to look in, best first. */
const SCRIPT_DIRS = {
  'egg-cluster': () => [ 'lib' ],
  // 3.x has each script twice; 4.x has ES modules only.
  [EGG_4]: isEsm => (isEsm ? [ 'dist/esm', 'dist', 'dist/commonjs' ] : [ 'dist/commonjs', 'dist', 'dist/esm' ]),
};

/**
 * @param {string} frameworkDir - the directory of the framework
 * @param {string} [baseDir] - the application: whether it is of ES modules decides which of
 *   two forms of a script is run
 * @return {{agent: string, app: string, package: string}} absolute paths, both of one package, and its name
 * @throws {Error} when neither the framework nor this package brings worker scripts that fit
 */
function resolveWorkerFiles(frameworkDir, baseDir) {
  const own = findFrameworksOwn(frameworkDir);
  const files = own && filesOf(own.dir, isEsmPackage(baseDir));
  if (files) return files;
  if (own && own.name === EGG_4) {
    throw new Error(`${frameworkDir} is of Egg 4, whose worker scripts are in ${EGG_4}, but ${own.dir} has none: ` +
      'remove the override of it from package.json, and let a framework of your own export startCluster of egg-cluster-rs.');
  }
  const ofAlias = filesOf(findPackage(ALIAS, __dirname), false);
  if (ofAlias) return ofAlias;
  throw new Error(`cannot find the worker scripts of egg-cluster: neither ${frameworkDir} nor a package it depends on ` +
    `brings egg-cluster or @eggjs/cluster, and ${ALIAS}, a dependency of egg-cluster-rs, is not installed. ` +
    'Install egg-cluster-rs again, or add egg-cluster to the dependencies of the application.');
}

/** As the tools of Egg 4 decide which of their start scripts they run. */
function isEsmPackage(dir) {
  const pkg = dir ? readPackage(dir) : null;
  return pkg !== null && pkg.type === 'module';
}

/**
 * The first package found under the name of one with worker scripts, those that somebody
 * depends on before those that are merely reachable. Where that is another package by an
 * override of the package manager, the true one is nowhere in this installation.
 *
 * @return {{name: string, dir: string}|null} the name it goes by, and its directory
 */
function findFrameworksOwn(frameworkDir) {
  const dirs = [];
  for (const dir of packagesBelow(realpath(frameworkDir))) {
    const found = findOneOf(dependenciesOf(dir), dir);
    if (found) return found;
    dirs.push(dir);
  }
  for (const dir of dirs) {
    const found = findOneOf(Object.keys(SCRIPT_DIRS), dir);
    if (found) return found;
  }
  return null;
}

/** The first package with worker scripts that is among `names` and that code in `dir` would find. */
function findOneOf(names, dir) {
  for (const name of Object.keys(SCRIPT_DIRS)) {
    const found = names.includes(name) ? findPackage(name, dir) : null;
    if (found) return { name, dir: found };
  }
  return null;
}

/**
 * The framework's directory, then those of its dependencies, nearest first and egg before
 * others. The framework may use egg without saying so.
 */
function* packagesBelow(frameworkDir) {
  const seen = new Set([ frameworkDir ]);
  let level = [ frameworkDir ];
  for (let depth = 0; depth <= MAX_DEPTH && level.length > 0; depth++) {
    yield* level;
    const next = [];
    const namesIn = from => (depth === 0 ? [ ...dependenciesOf(from), 'egg' ] : dependenciesOf(from));
    const dependencies = level.flatMap(from => namesIn(from).map(name => ({ from, name }))).sort(eggFirst);
    for (const { from, name } of dependencies) {
      if (seen.size >= MAX_PACKAGES) break;
      const dir = findPackage(name, from);
      if (!dir || seen.has(dir)) continue;
      seen.add(dir);
      next.push(dir);
    }
    level = next;
  }
}

function eggFirst(a, b) {
  return Number(b.name === 'egg') - Number(a.name === 'egg');
}

function dependenciesOf(dir) {
  const pkg = readPackage(dir);
  return pkg ? Object.keys({ ...pkg.dependencies, ...pkg.peerDependencies }) : [];
}

/**
 * The scripts of a package, if it truly is one that has them: an override can put another
 * package, even egg-cluster-rs, into its place.
 */
function filesOf(packageDir, isEsm) {
  const pkg = packageDir && readPackage(packageDir);
  if (!pkg || !Object.prototype.hasOwnProperty.call(SCRIPT_DIRS, pkg.name)) return null;
  for (const dir of SCRIPT_DIRS[pkg.name](isEsm)) {
    const files = {
      agent: path.join(packageDir, dir, 'agent_worker.js'),
      app: path.join(packageDir, dir, 'app_worker.js'),
      package: pkg.name,
    };
    if (fs.existsSync(files.agent) && fs.existsSync(files.app)) return files;
  }
  return null;
}

/** @return {string|null} the real directory of a package as code in `fromDir` would find it */
function findPackage(name, fromDir) {
  const { resolve } = createRequire(path.join(fromDir, 'package.json'));
  try {
    return path.dirname(resolve(`${name}/package.json`));
  } catch {
    return findInNodeModules(name, resolve.paths(name) || []);
  }
}

/** For packages whose `exports` hide their package.json. */
function findInNodeModules(name, moduleDirs) {
  for (const moduleDir of moduleDirs) {
    const dir = path.join(moduleDir, name);
    if (fs.existsSync(path.join(dir, 'package.json'))) return realpath(dir);
  }
  return null;
}

function realpath(dir) {
  try {
    return fs.realpathSync(dir);
  } catch {
    return dir;
  }
}

function readPackage(dir) {
  try {
    return JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'));
  } catch {
    return null;
  }
}

module.exports = { resolveWorkerFiles };
