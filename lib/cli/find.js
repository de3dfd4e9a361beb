'use strict';

/** Finds the control sockets of masters: by a directory, by a pid file, or all of this host. */

const fs = require('fs');
const path = require('path');
const { execFileSync } = require('child_process');
const { CONTROL_ENV, DEFAULT_PATH } = require('../control');
const { request } = require('./client');
const { CliError, EXIT } = require('./failure');

/** `egg-cluster-rs.sock`, and that of a second master in the same directory. */
const NAME = /^egg-cluster-rs(\.[\d-]+)?\.sock$/;

/**
 * @param {Object} options - of the command line: `socket`, `pidFile`, `dir`
 * @return {Promise<string>} the path of the one socket that is meant
 * @throws {CliError} where there is none, or more than one
 */
async function findSocket({ socket, pidFile, dir }) {
  if (socket !== undefined) return path.resolve(socket);
  if (pidFile !== undefined) return socketOfPid(readPid(path.resolve(pidFile)));
  if (dir !== undefined) return socketOfDirectory(path.resolve(dir));
  // As the master itself reads it.
  const { [CONTROL_ENV]: fromEnv } = process.env;
  return fromEnv && fromEnv !== 'false' ? path.resolve(fromEnv) : socketOfDirectory(path.resolve('.'));
}

async function socketOfDirectory(dir) {
  const run = path.join(dir, path.dirname(DEFAULT_PATH));
  const living = await livingAmong(socketsIn(run));
  if (living.length === 1) return living[0];
  if (living.length > 1) {
    throw new CliError(`${living.length} masters run in ${dir}: ${living.join(', ')}`,
      { hint: 'choose one with --socket', exitCode: EXIT.usage });
  }
  throw new CliError(`no master is found in ${dir}: nobody listens on ${path.join(dir, DEFAULT_PATH)}`,
    { hint: 'name the directory of the application with --dir, or the socket with --socket; egg-cluster-rs list shows the masters of this host',
      exitCode: EXIT.unreachable });
}

function socketsIn(dir) {
  try {
    return fs.readdirSync(dir).filter(name => NAME.test(name)).map(name => path.join(dir, name));
  } catch {
    return [];
  }
}

/** Those without permission count: the command then says so. */
async function livingAmong(sockets) {
  const asked = await Promise.all(sockets.map(async socket => {
    try {
      await request(socket, 'GET', '/healthz');
      return true;
    } catch (err) {
      return err.code !== 'ECONNREFUSED' && err.code !== 'ENOENT';
    }
  }));
  return sockets.filter((_, i) => asked[i]);
}

function readPid(file) {
  let text;
  try {
    text = fs.readFileSync(file, 'utf8').trim();
  } catch (err) {
    throw new CliError(`cannot read the pid file ${file}: ${err.message}`, { exitCode: EXIT.unreachable });
  }
  if (/^[1-9]\d*$/.test(text)) return Number(text);
  throw new CliError(`the pid file ${file} holds no process id`, { exitCode: EXIT.unreachable });
}

async function socketOfPid(pid) {
  for (const socket of socketsHeldBy(pid)) {
    try {
      const { json } = await request(socket, 'GET', '/status');
      if (json.pid === pid && typeof json.phase === 'string') return socket;
    } catch {
      // Another of its sockets.
    }
  }
  throw new CliError(`process ${pid} has no control socket, or is not yours to ask`,
    { hint: 'is it running, and was it started with control: false?', exitCode: EXIT.unreachable });
}

function socketsHeldBy(pid) {
  return process.platform === 'linux' ? socketsByProc(pid) : socketsByLsof([ '-a', '-U', '-p', String(pid) ]);
}

function socketsByProc(pid) {
  let names;
  try {
    names = fs.readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
  const inodes = new Set(names.map(name => inodeOf(`/proc/${pid}/fd/${name}`)));
  return boundSockets().filter(({ inode }) => inodes.has(inode)).map(({ file }) => file);
}

function inodeOf(link) {
  try {
    const [ , inode ] = /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(link)) || [];
    return inode;
  } catch {
    return undefined;
  }
}

/** The unix sockets of this host that have a path: `Num RefCount Protocol Flags Type St Inode Path`. */
function boundSockets() {
  let text;
  try {
    text = fs.readFileSync('/proc/net/unix', 'utf8');
  } catch {
    return [];
  }
  const lines = text.split('\n').map(line => /^(?:\S+\s+){3}(\S+)\s+\S+\s+\S+\s+(\d+)\s+(\/.*)$/.exec(line));
  // 0x10000: it is listened on.
  return lines.filter(match => match !== null && parseInt(match[1], 16) & 0x10000)
    .map(([ , , inode, file ]) => ({ inode, file }));
}

function socketsByLsof(args) {
  try {
    const text = execFileSync('lsof', [ ...args, '-Fn' ], { encoding: 'utf8', stdio: [ 'ignore', 'pipe', 'ignore' ] });
    return text.split('\n').filter(line => line.startsWith('n/')).map(line => line.slice(1));
  } catch {
    return [];
  }
}

/**
 * @return {string[]} the sockets of all masters of this host that have the usual name
 */
function allSockets() {
  const files = process.platform === 'linux' ? boundSockets().map(({ file }) => file) : socketsByLsof([ '-U' ]);
  return [ ...new Set(files.filter(file => NAME.test(path.basename(file)))) ].sort();
}

module.exports = { findSocket, allSockets };
