'use strict';

// An application as npm would install it with the packed package in the place of egg-cluster
// (`"overrides": { "egg-cluster": "npm:egg-cluster-rs@…" }`), made without a registry: the package
// from its tarball, the addon in its platform package, and all that nobody changes as links.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { execFileSync } = require('child_process');
const { root, fixtures } = require('./cluster');

/** What must be found at its own place in the application, and not where it is linked from. */
const COPIED = [ 'egg', '@egg-cluster-rs/egg-cluster' ];
/** What the installation is about. */
const OWN = [ 'egg-cluster', 'egg-cluster-rs', '.bin', '.package-lock.json', '.setup-stamp' ];

/**
 * @param {object} [options] `{ binary: false }` leaves the platform package out
 * @return {{baseDir: string, modules: string, remove: Function}} the application
 */
function installApp({ binary = true } = {}) {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-install-')));
  const baseDir = path.join(dir, 'app');
  const modules = path.join(baseDir, 'node_modules');
  fs.cpSync(path.join(fixtures, 'apps/egg'), baseDir, { recursive: true });
  link(path.join(root, 'node_modules'), modules);
  for (const name of COPIED) fs.cpSync(path.join(root, 'node_modules', name), path.join(modules, name), { recursive: true });
  unpack(dir, path.join(modules, 'egg-cluster'));
  if (binary) installBinary(path.join(modules, '@egg-cluster-rs'));
  return { baseDir, modules, remove: () => fs.rmSync(dir, { recursive: true, force: true, maxRetries: 3 }) };
}

function link(from, to, scope = '') {
  fs.mkdirSync(to, { recursive: true });
  for (const entry of fs.readdirSync(from)) {
    const name = scope + entry;
    if (OWN.includes(name) || COPIED.includes(name)) continue;
    const [ source, target ] = [ path.join(from, entry), path.join(to, entry) ];
    if (entry.startsWith('@')) link(source, target, `${entry}/`);
    else fs.symlinkSync(source, target);
  }
}

function unpack(dir, to) {
  // The Node under test may be too old for the npm that is there: EGG_CLUSTER_TEST_NPM_PATH has the one that goes with it.
  const PATH = [ process.env.EGG_CLUSTER_TEST_NPM_PATH, process.env.PATH ].filter(Boolean).join(path.delimiter);
  execFileSync('npm', [ 'pack', '--ignore-scripts', '--pack-destination', dir ], {
    cwd: root, stdio: [ 'ignore', 'pipe', 'pipe' ], env: { ...process.env, PATH },
  });
  const tarball = fs.readdirSync(dir).find(name => name.endsWith('.tgz'));
  fs.mkdirSync(to);
  execFileSync('tar', [ '-xzf', path.join(dir, tarball), '-C', to, '--strip-components=1' ]);
}

/** The platform package as the release workflow makes it. */
function installBinary(scope) {
  const { currentTarget } = require('../../lib/native');
  const target = currentTarget();
  const to = path.join(scope, `binding-${target}`);
  const addon = `egg-cluster-rs.${target}.node`;
  fs.mkdirSync(to);
  fs.copyFileSync(path.join(root, 'npm', target, 'package.json'), path.join(to, 'package.json'));
  fs.copyFileSync(path.join(root, addon), path.join(to, addon));
}

module.exports = { installApp };
