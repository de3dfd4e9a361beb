'use strict';

const assert = require('assert');
const path = require('path');
const test = require('./helpers/test');

const { resolveWorkerFiles } = require('../../lib/worker_files');
const { tree } = require('./helpers/app');

const ALIAS = path.dirname(require.resolve('@egg-cluster-rs/egg-cluster/package.json'));

/** The files of a package below `at`. */
function pkg(at, name, dependencies = [], extra = {}) {
  return { [`${at}/package.json`]: { name, dependencies: Object.fromEntries(dependencies.map(dep => [ dep, '*' ])), ...extra } };
}

function eggCluster(at, name = 'egg-cluster') {
  return { ...pkg(at, name), [`${at}/lib/agent_worker.js`]: '', [`${at}/lib/app_worker.js`]: '' };
}

function check(t, files, framework, expected, { scripts = 'lib', baseDir, name = 'egg-cluster' } = {}) {
  const root = tree(t, files);
  const dir = expected === ALIAS ? ALIAS : path.join(root, expected);
  assert.deepStrictEqual(resolveWorkerFiles(path.join(root, framework), baseDir && path.join(root, baseDir)), {
    agent: path.join(dir, scripts, 'agent_worker.js'),
    app: path.join(dir, scripts, 'app_worker.js'),
    package: name,
  });
}

/** Egg 4 below node_modules, with an @eggjs/cluster that has its scripts in these directories. */
function egg4(...scriptDirs) {
  const at = 'node_modules/@eggjs/cluster';
  const scripts = scriptDirs.flatMap(dir => [ `${at}/${dir}/agent_worker.js`, `${at}/${dir}/app_worker.js` ]);
  return {
    ...pkg('node_modules/egg', 'egg', [ '@eggjs/cluster' ]),
    ...pkg(at, '@eggjs/cluster', [], { type: 'module', exports: { '.': './index.js' } }),
    ...Object.fromEntries(scripts.map(file => [ file, '' ])),
  };
}

test('the egg-cluster inside the framework goes before the one beside it', t => {
  check(t, {
    ...pkg('node_modules/fw', 'fw', [ 'egg-cluster' ]),
    ...eggCluster('node_modules/fw/node_modules/egg-cluster'),
    ...eggCluster('node_modules/egg-cluster'),
  }, 'node_modules/fw', 'node_modules/fw/node_modules/egg-cluster');
});

test('the egg-cluster beside the framework', t => {
  check(t, { ...pkg('node_modules/fw', 'fw'), ...eggCluster('node_modules/egg-cluster') },
    'node_modules/fw', 'node_modules/egg-cluster');
});

test('framework -> egg -> egg-cluster in nested installations', t => {
  check(t, {
    ...pkg('fw', 'fw', [ 'aaa', 'egg' ]),
    ...pkg('fw/node_modules/aaa', 'aaa'),
    ...pkg('fw/node_modules/egg', 'egg', [ 'egg-cluster' ], { exports: { '.': './index.js' } }),
    ...eggCluster('fw/node_modules/egg/node_modules/egg-cluster'),
  }, 'fw', 'fw/node_modules/egg/node_modules/egg-cluster');
});

test('framework -> framework -> egg -> egg-cluster', t => {
  check(t, {
    ...pkg('fw', 'fw', [ 'base' ]),
    ...pkg('fw/node_modules/base', 'base', [ 'egg' ]),
    ...pkg('fw/node_modules/base/node_modules/egg', 'egg', [ 'egg-cluster' ]),
    ...eggCluster('fw/node_modules/base/node_modules/egg/node_modules/egg-cluster'),
  }, 'fw', 'fw/node_modules/base/node_modules/egg/node_modules/egg-cluster');
});

test('Egg 4: the scripts of CommonJS for an application of CommonJS', t => {
  check(t, { ...egg4('dist/commonjs', 'dist/esm'), ...pkg('app', 'app') },
    'node_modules/egg', 'node_modules/@eggjs/cluster', { baseDir: 'app', scripts: 'dist/commonjs', name: '@eggjs/cluster' });
});

test('Egg 4: the scripts of ES modules for an application of ES modules', t => {
  check(t, { ...egg4('dist/commonjs', 'dist/esm'), ...pkg('app', 'app', [], { type: 'module' }) },
    'node_modules/egg', 'node_modules/@eggjs/cluster', { baseDir: 'app', scripts: 'dist/esm', name: '@eggjs/cluster' });
});

test('@eggjs/cluster 4 has one form only, for every application', t => {
  check(t, { ...egg4('dist'), ...pkg('app', 'app') },
    'node_modules/egg', 'node_modules/@eggjs/cluster', { baseDir: 'app', scripts: 'dist', name: '@eggjs/cluster' });
});

test('what somebody depends on goes before what merely lies there', t => {
  check(t, { ...egg4('dist/commonjs'), ...pkg('node_modules/fw', 'fw', [ 'egg' ]), ...eggCluster('node_modules/egg-cluster') },
    'node_modules/fw', 'node_modules/@eggjs/cluster', { scripts: 'dist/commonjs', name: '@eggjs/cluster' });
});

test('a framework that uses egg without saying so', t => {
  check(t, { ...egg4('dist/commonjs'), ...pkg('fw', 'fw'), ...eggCluster('node_modules/egg-cluster') },
    'fw', 'node_modules/@eggjs/cluster', { scripts: 'dist/commonjs', name: '@eggjs/cluster' });
});

test('an override of @eggjs/cluster is refused, for no other scripts fit Egg 4', t => {
  const root = tree(t, { ...egg4(), ...eggCluster('node_modules/@eggjs/cluster', 'egg-cluster-rs') });
  assert.throws(() => resolveWorkerFiles(path.join(root, 'node_modules/egg')), /is of Egg 4, .* remove the override/);
});

test('an override that puts another package into the place of egg-cluster is skipped', t => {
  check(t, { ...pkg('node_modules/egg', 'egg', [ 'egg-cluster' ]), ...eggCluster('node_modules/egg-cluster', 'egg-cluster-rs') },
    'node_modules/egg', ALIAS);
});

test('an egg-cluster without scripts is skipped', t => {
  check(t, { ...pkg('node_modules/egg', 'egg'), ...pkg('node_modules/egg-cluster', 'egg-cluster') }, 'node_modules/egg', ALIAS);
});

test('the alias, where the framework has none', t => {
  check(t, pkg('node_modules/egg', 'egg', [ 'not-installed' ]), 'node_modules/egg', ALIAS);
});

test('the path of the alias shows egg-cluster/lib, for which tools look', () => {
  assert.match(ALIAS.split(path.sep).join('/'), /\/@egg-cluster-rs\/egg-cluster$/);
});

test('dependencies in a circle end', t => {
  check(t, {
    ...pkg('node_modules/a', 'a', [ 'b' ]),
    ...pkg('node_modules/b', 'b', [ 'a' ]),
  }, 'node_modules/a', ALIAS);
});
