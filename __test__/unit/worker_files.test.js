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

function check(t, files, framework, expected) {
  const root = tree(t, files);
  const dir = expected === ALIAS ? ALIAS : path.join(root, expected);
  assert.deepStrictEqual(resolveWorkerFiles(path.join(root, framework)), {
    agent: path.join(dir, 'lib/agent_worker.js'),
    app: path.join(dir, 'lib/app_worker.js'),
  });
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
