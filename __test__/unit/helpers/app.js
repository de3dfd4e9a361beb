'use strict';

const fs = require('fs');
const os = require('os');
const path = require('path');

/**
 * Write files below a new directory, which goes when the test ends.
 * @param {Object} t - the context of the test
 * @param {Object<string, string|Object>} files - path -> text, or an object to be written as JSON
 * @return {string} the directory
 */
function tree(t, files) {
  const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-rs-')));
  t.after(() => fs.rmSync(root, { recursive: true, force: true }));
  for (const [ name, content ] of Object.entries(files)) {
    const file = path.join(root, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  }
  return root;
}

const FRAMEWORK = 'exports.Application = class {}; exports.Agent = class {};';

/** An application with a framework named egg, and the scripts of an egg-cluster. */
function app(t, files = {}) {
  return tree(t, {
    'package.json': { name: 'app' },
    'node_modules/egg/package.json': { name: 'egg', version: '3.0.0', dependencies: { 'egg-cluster': '*' } },
    'node_modules/egg/index.js': FRAMEWORK,
    'node_modules/egg-cluster/package.json': { name: 'egg-cluster', version: '2.5.0' },
    'node_modules/egg-cluster/lib/agent_worker.js': '',
    'node_modules/egg-cluster/lib/app_worker.js': '',
    ...files,
  });
}

/** Set environment variables for the length of a test; undefined takes one away. */
function withEnv(t, env) {
  for (const [ name, value ] of Object.entries(env)) {
    const before = process.env[name];
    t.after(() => setEnv(name, before));
    setEnv(name, value);
  }
}

function setEnv(name, value) {
  if (value === undefined) {
    delete process.env[name];
  } else {
    process.env[name] = value;
  }
}

module.exports = { tree, app, withEnv, FRAMEWORK };
