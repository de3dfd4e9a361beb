'use strict';

/**
 * Finds the scripts that the agent and the app workers run. They belong to the
 * `egg-cluster` that the framework in use would resolve, so that they fit it; where there
 * is none, to the release that this package depends on under the name of an alias.
 */

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const ALIAS = '@egg-cluster-rs/egg-cluster';
/** Bounds of the search through the framework's dependencies. */
const MAX_DEPTH = 3;
const MAX_PACKAGES = 100;

/**
 * @param {string} frameworkDir - the directory of the framework
 * @return {{agent: string, app: string}} absolute paths, both of one package
 * @throws {Error} when neither the framework nor this package brings egg-cluster
 */
function resolveWorkerFiles(frameworkDir) {
  const files = filesOf(findFrameworksOwn(frameworkDir)) || filesOf(findPackage(ALIAS, __dirname));
  if (files) return files;
  throw new Error(`cannot find the worker scripts of egg-cluster: neither ${frameworkDir} nor a package it depends on ` +
    `brings egg-cluster, and ${ALIAS}, a dependency of egg-cluster-rs, is not installed. ` +
    'Install egg-cluster-rs again, or add egg-cluster to the dependencies of the application.');
}

/**
 * The first package found under the name `egg-cluster`. Where that is another package by
 * an override of the package manager, the true one is nowhere in this installation.
 */
function findFrameworksOwn(frameworkDir) {
  for (const dir of packagesBelow(realpath(frameworkDir))) {
    const found = findPackage('egg-cluster', dir);
    if (found) return found;
  }
  return null;
}

/** The framework's directory, then those of its dependencies, nearest first and egg before others. */
function* packagesBelow(frameworkDir) {
  const seen = new Set([ frameworkDir ]);
  let level = [ frameworkDir ];
  for (let depth = 0; depth <= MAX_DEPTH && level.length > 0; depth++) {
    yield* level;
    const next = [];
    const dependencies = level.flatMap(from => dependenciesOf(from).map(name => ({ from, name }))).sort(eggFirst);
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
 * The scripts of a package, if it is the true egg-cluster: an override can put another
 * package, even egg-cluster-rs, into its place.
 */
function filesOf(dir) {
  const pkg = dir && readPackage(dir);
  if (!pkg || pkg.name !== 'egg-cluster') return null;
  const files = {
    agent: path.join(dir, 'lib', 'agent_worker.js'),
    app: path.join(dir, 'lib', 'app_worker.js'),
  };
  return fs.existsSync(files.agent) && fs.existsSync(files.app) ? files : null;
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
