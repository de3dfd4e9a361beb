'use strict';

// Makes a clone ready to run: installs the dependencies, builds the native part and bundles the JavaScript, each only when it is
// missing or out of date.

const fs = require('fs');
const path = require('path');
const { ROOT, StepError, run, ask, localBin, main } = require('./steps');
const { bundle } = require('./bundle');
const { installEggs } = require('./eggs');
const { listFiles, hash } = require('./sources');

const LOCK_FILE = path.join(ROOT, 'package-lock.json');
const MODULES = path.join(ROOT, 'node_modules');
/** Hash of the lock file that node_modules was installed from. Inside it, so that the two vanish together. */
const INSTALL_STAMP = path.join(MODULES, '.setup-stamp');
/** What the native build was made from, and which file it made. */
const BUILD_STAMP = path.join(ROOT, 'target', 'setup-stamp.json');
/** Everything that decides what the native build yields. Missing ones are skipped. */
const BUILD_INPUTS = [ 'Cargo.toml', 'Cargo.lock', 'build.rs', 'rust-toolchain.toml', '.cargo/config.toml', 'src' ];
const BUILD_ARGS = [
  'build', '--platform', '--release', '--js', 'binding.js', '--dts', 'binding.d.ts', '--no-const-enum',
];
/** The lowest Node that @napi-rs/cli runs on. Higher than what the built package needs. */
const BUILD_NODE = [ 20, 17 ];

/**
 * Brings the clone up to date.
 * @param {{forceBuild?: boolean}} [options] - forceBuild: build even when nothing changed
 * @throws {StepError} when a tool is missing or a step failed
 */
function setup({ forceBuild = false } = {}) {
  installDependencies();
  buildNative(forceBuild);
  bundle();
}

function installDependencies() {
  const wanted = hash([ LOCK_FILE ]);
  if (readText(INSTALL_STAMP) === wanted) return;
  if (!installedByHand()) {
    // --include=dev: with NODE_ENV=production npm would leave out what builds and tests need.
    // Engine warnings concern tools for publishing only.
    run('installing dependencies (npm ci)', 'npm',
      [ 'ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error' ]);
  }
  fs.writeFileSync(INSTALL_STAMP, wanted);
}

/** Whether somebody ran npm after the lock file last changed; npm leaves a file of its own behind. */
function installedByHand() {
  const npmStamp = statOrNull(path.join(MODULES, '.package-lock.json'));
  return npmStamp !== null && !fs.existsSync(INSTALL_STAMP) && npmStamp.mtimeMs >= fs.statSync(LOCK_FILE).mtimeMs
    && fs.existsSync(localBin('napi'));
}

function buildNative(force) {
  const fingerprint = buildFingerprint();
  if (!force && isBuilt(fingerprint)) return;
  checkBuildTools();
  run('building the native part (release; the first time takes a minute or two)', localBin('napi'), BUILD_ARGS);
  const addon = newestAddon();
  if (!addon || !fs.existsSync(path.join(ROOT, 'binding.js'))) {
    throw new StepError('the build left no binding.js or no .node file behind: does src/binding.rs export anything?');
  }
  fs.mkdirSync(path.dirname(BUILD_STAMP), { recursive: true });
  fs.writeFileSync(BUILD_STAMP, JSON.stringify({ fingerprint, addon: describe(addon) }, null, 2));
}

/** Whether the addon that stands there is the one that was built from these sources, untouched since. */
function isBuilt(fingerprint) {
  const stamp = readJson(BUILD_STAMP);
  if (!stamp || !stamp.addon || stamp.fingerprint !== fingerprint) return false;
  const now = describe(stamp.addon.name);
  return now !== null && now.size === stamp.addon.size && now.mtimeMs === stamp.addon.mtimeMs
    && fs.existsSync(path.join(ROOT, 'binding.js'));
}

function buildFingerprint() {
  const napiConfig = readJson(path.join(ROOT, 'package.json')).napi;
  const files = BUILD_INPUTS.flatMap(name => listFiles(path.join(ROOT, name)));
  return hash(files, JSON.stringify([ process.platform, process.arch, napiConfig, BUILD_ARGS ]));
}

function checkBuildTools() {
  const [ major, minor ] = process.versions.node.split('.').map(Number);
  if (major < BUILD_NODE[0] || (major === BUILD_NODE[0] && minor < BUILD_NODE[1])) {
    throw new StepError(`building needs Node ${BUILD_NODE.join('.')} or later, this is ${process.version} `
      + '(the built package runs on Node 16 and later)');
  }
  const wanted = readText(path.join(ROOT, 'Cargo.toml')).match(/^rust-version = "(\d+)\.(\d+)/m);
  const needs = `Rust ${wanted[1]}.${wanted[2]} or later`;
  if (!ask('cargo', [ '--version' ])) {
    throw new StepError(`cargo was not found. Building the native part needs ${needs}: `
      + 'install it from https://rustup.rs, open a new terminal and run this again');
  }
  const rustc = ask('rustc', [ '--version' ]);
  const found = rustc && rustc.match(/^rustc (\d+)\.(\d+)/);
  if (!found) {
    throw new StepError(`rustc did not tell its version. Building the native part needs ${needs}: run 'rustup default stable'`);
  }
  if (Number(found[1]) * 1000 + Number(found[2]) < Number(wanted[1]) * 1000 + Number(wanted[2])) {
    throw new StepError(`${rustc} is too old. Building the native part needs ${needs}: run 'rustup update stable'`);
  }
}

/** Name of the addon for this platform that was written last, or null. */
function newestAddon() {
  const prefix = `egg-cluster-rs.${process.platform}-${process.arch}`;
  const addons = fs.readdirSync(ROOT).filter(name => name.startsWith(prefix) && name.endsWith('.node'));
  addons.sort((a, b) => describe(b).mtimeMs - describe(a).mtimeMs);
  return addons[0] || null;
}

function describe(name) {
  const stat = statOrNull(path.join(ROOT, name));
  return stat && { name, size: stat.size, mtimeMs: stat.mtimeMs };
}

function statOrNull(file) {
  return fs.statSync(file, { throwIfNoEntry: false }) || null;
}

function readText(file) {
  return statOrNull(file) ? fs.readFileSync(file, 'utf8') : null;
}

/** A stamp that cannot be read counts as missing: the step is then done again. */
function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (err) {
    return null;
  }
}

module.exports = { setup };

if (require.main === module) {
  main(() => {
    setup({ forceBuild: process.argv.includes('--force-build') });
    installEggs();
  });
}
