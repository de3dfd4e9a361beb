'use strict';

/** `doctor`: what of this host could be in the way, and what to do about it. */

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const native = require('../native');
const { allSockets } = require('./find');
const { CliError } = require('./failure');
const { processors } = require('../processors');
const { bytes } = require('./text');

const MARKS = { ok: [ 'green', 'ok  ' ], warn: [ 'yellow', 'warn' ], fail: [ 'red', 'FAIL' ] };
/** What Node listens with where an application says nothing else. */
const BACKLOG = 511;
const FEW_DESCRIPTORS = 4096;

const ok = text => ({ level: 'ok', text });
const warn = (text, todo) => ({ level: 'warn', text, todo });
const fail = (text, todo) => ({ level: 'fail', text, todo });

async function doctor({ out, paint }, { dir, port, json }) {
  const findings = [
    node(), binding(), ...descriptors(), ...memory(), processorCount(), ...backlog(), ...kernel(), directory(path.resolve(dir || '.')), masters(),
    ...(port === undefined ? [] : [ await portState(port) ]),
  ];
  if (json) {
    out(JSON.stringify(findings, null, 2));
  } else {
    for (const { level, text, todo } of findings) {
      out(`${paint(...MARKS[level])}  ${text}${todo ? `\n      ${todo}` : ''}`);
    }
  }
  const failures = findings.filter(({ level }) => level === 'fail').length;
  if (failures > 0) throw new CliError(`${failures} of ${findings.length} checks failed`);
}

function node() {
  const [ major ] = process.versions.node.split('.').map(Number);
  const text = `Node.js ${process.versions.node} on ${native.currentTarget()}`;
  return major >= 16 ? ok(text) : fail(text, 'install Node.js 16 or later');
}

function binding() {
  if (!native.hasTarget()) {
    return warn('there is no native master for this platform', 'the JavaScript egg-cluster does the work, without a control socket');
  }
  try {
    native.load();
    return ok('the native binding can be loaded');
  } catch (err) {
    return fail('the native binding cannot be loaded', err.message);
  }
}

function descriptors() {
  const [ , soft ] = /^Max open files\s+(\S+)/m.exec(read('/proc/self/limits')) || [];
  if (soft === undefined) return [];
  const text = `${soft} file descriptors for each process`;
  return [ Number(soft) < FEW_DESCRIPTORS
    ? warn(text, 'each connection needs one, and on its way two: ulimit -n 65536, or LimitNOFILE= of systemd') : ok(text) ];
}

function memory() {
  const limit = cgroupValue('memory.max', 'memory', 'memory.limit_in_bytes');
  // Version 1 says "no limit" by a huge number.
  if (limit === null || limit === 'max' || Number(limit) > 2 ** 60) return [ ok(`memory: no limit but that of the machine, ${bytes(os.totalmem())}`) ];
  const used = Number(cgroupValue('memory.current', 'memory', 'memory.usage_in_bytes'));
  const text = `memory: the container has ${bytes(Number(limit))}, ${bytes(used)} are in use`;
  return [ used > 0.9 * Number(limit)
    ? warn(text, 'the kernel kills workers where it is exceeded: fewer workers, --max-old-space-size, or a higher limit') : ok(text) ];
}

function processorCount() {
  const cpus = os.cpus().length;
  const count = processors();
  return ok(count === cpus
    ? `processors: ${cpus}; so many app workers there are by default`
    : `processors: ${count} of ${cpus}, by a quota or affinity; so many app workers there are by default`);
}

function backlog() {
  const most = Number(read('/proc/sys/net/core/somaxconn'));
  if (!most) return [];
  const text = `the kernel's queue of a port holds ${most} connections (somaxconn)`;
  return [ most < BACKLOG ? warn(text, `Node asks for ${BACKLOG}: sysctl -w net.core.somaxconn=4096`) : ok(text) ];
}

function kernel() {
  if (process.platform !== 'linux') return [];
  const [ major, minor ] = os.release().split('.').map(Number);
  const text = `Linux ${os.release()}`;
  return [ major > 5 || (major === 5 && minor >= 3) ? ok(text) : warn(text, 'before 5.3 a thread waits for each child: it works, and costs memory') ];
}

function directory(dir) {
  if (!fs.existsSync(path.join(dir, 'package.json'))) return warn(`${dir} has no package.json`, 'name the directory of the application with --dir');
  const run = path.join(dir, 'run');
  try {
    fs.accessSync(fs.existsSync(run) ? run : dir, fs.constants.W_OK);
    return ok(`${run} can be written`);
  } catch {
    return warn(`${run} cannot be written`, 'the master will run without a control socket: name another place by options.control.path');
  }
}

function masters() {
  const sockets = allSockets();
  return ok(sockets.length === 0 ? 'no master is running that can be found' : `masters run: ${sockets.join(', ')}`);
}

/** Whether a port can be had, and who has it. */
async function portState(port) {
  const err = await new Promise(resolve => {
    const server = net.createServer();
    server.once('error', resolve);
    server.listen({ port, exclusive: true }, () => server.close(() => resolve(null)));
  });
  if (err === null) return ok(`port ${port} is free`);
  if (err.code === 'EACCES') {
    return fail(`port ${port} needs a privilege`, 'use a port from 1024, or give node the capability CAP_NET_BIND_SERVICE');
  }
  if (err.code !== 'EADDRINUSE') return fail(`port ${port}: ${err.message}`, '');
  const owner = ownerOf(port);
  return fail(`port ${port} is in use${owner === null ? '' : ` by ${owner}`}`, 'end that process, or choose another port');
}

/** The process that listens on a port; null where that cannot be seen. */
function ownerOf(port) {
  const inode = listeningInode(port);
  if (inode === null) return null;
  for (const pid of fs.readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const holds = fs.readdirSync(`/proc/${pid}/fd`).some(fd => fs.readlinkSync(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`);
      if (holds) return `process ${pid} (${read(`/proc/${pid}/cmdline`).replace(/\0/g, ' ').trim().slice(0, 120)})`;
    } catch {
      // It is gone, or another user's.
    }
  }
  return null;
}

function listeningInode(port) {
  const wanted = port.toString(16).toUpperCase().padStart(4, '0');
  for (const file of [ '/proc/net/tcp', '/proc/net/tcp6' ]) {
    for (const line of read(file).split('\n')) {
      const fields = line.trim().split(/\s+/);
      // 0A: it listens.
      if (fields[3] === '0A' && fields[1].endsWith(`:${wanted}`)) return fields[9];
    }
  }
  return null;
}

/** A value of the control group, by version 2 or 1. */
function cgroupValue(file, controller, oldFile) {
  const text = read('/proc/self/cgroup');
  const [ , unified ] = /^0::(.*)$/m.exec(text) || [];
  const candidates = [];
  if (unified !== undefined) candidates.push(path.join('/sys/fs/cgroup', unified, file), path.join('/sys/fs/cgroup', file));
  candidates.push(path.join('/sys/fs/cgroup', controller, oldFile));
  for (const candidate of candidates) {
    const value = read(candidate).trim();
    if (value !== '') return value;
  }
  return null;
}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

module.exports = { doctor };
