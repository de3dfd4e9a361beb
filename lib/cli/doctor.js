'use strict';

/** `doctor`: what of this host could be in the way, and what to do about it. */

const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { version } = require('../../package.json');
const native = require('../native');
const { statusOf } = require('./client');
const { allSockets } = require('./find');
const { CliError } = require('./failure');
const { processors } = require('../processors');
const { bytes, clean, wrap } = require('./text');

const MARKS = { ok: [ 'green', 'ok  ' ], warn: [ 'yellow', 'warn' ], fail: [ 'red', 'FAIL' ] };
/** What Node listens with where an application says nothing else. */
const BACKLOG = 511;
const FEW_DESCRIPTORS = 4096;
/** Tasks of the kernel that a cluster needs without doubt: a Node process has about eleven threads. */
const FEW_TASKS = 200;
const INDENT = '      ';

const MORE_DESCRIPTORS = 'each connection needs one, and on its way two: ulimit -n 65536, or LimitNOFILE= of systemd';

const ok = text => ({ level: 'ok', text });
const warn = (text, todo) => ({ level: 'warn', text, todo });
const fail = (text, todo) => ({ level: 'fail', text, todo });

async function doctor({ out, paint, columns }, { dir, port, json }) {
  const findings = [
    node(), binding(), ...platformPackage(), ...descriptors(), ...tasks(), ...memory(), processorCount(), ...backlog(), ...kernel(),
    directory(path.resolve(dir || '.')), ...await masters(),
    ...(port === undefined ? [] : [ await portState(port) ]),
  ];
  if (json) {
    out(JSON.stringify(findings, null, 2));
  } else {
    for (const { level, text, todo } of findings) {
      const [ first, ...more ] = wrap(clean(text), columns - INDENT.length);
      const below = [ ...more, ...(todo ? wrap(clean(todo), columns - INDENT.length) : []) ];
      out([ `${paint(...MARKS[level])}  ${first}`, ...below.map(line => INDENT + line) ].join('\n'));
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

/** Where the addon comes from: the package of this platform, or a build in a checkout. */
function platformPackage() {
  if (!native.hasTarget()) return [];
  const name = native.PACKAGE_PREFIX + native.currentTarget();
  let found;
  try {
    found = require(`${name}/package.json`).version;
  } catch {
    const built = path.join(__dirname, '../..', `egg-cluster-rs.${native.currentTarget()}.node`);
    return [ fs.existsSync(built) ? ok('the binding is one built here, without its platform package')
      : fail(`the platform package ${name} is not installed`, 'npm install without --omit=optional, on this platform') ];
  }
  return [ found === version ? ok(`platform package ${name} ${found}`)
    : warn(`platform package ${name} is of version ${found}, and this is ${version}`, 'install again: rm -rf node_modules && npm ci') ];
}

function descriptors() {
  const soft = openFiles('self');
  if (soft === null) return [];
  const text = `${soft} file descriptors for each process started from here`;
  return [ soft < FEW_DESCRIPTORS ? warn(text, MORE_DESCRIPTORS) : ok(text) ];
}

function openFiles(pid) {
  const [ , soft ] = /^Max open files\s+(\S+)/m.exec(read(`/proc/${pid}/limits`)) || [];
  return soft === undefined ? null : Number(soft);
}

/** Processes and threads that the container may have. */
function tasks() {
  const limit = cgroupValue('pids.max', 'pids', 'pids.max');
  if (limit === null || limit === 'max') return [];
  const used = Number(cgroupValue('pids.current', 'pids', 'pids.current'));
  const text = `tasks: the container may have ${limit}, ${used} are there`;
  return [ Number(limit) - used < FEW_TASKS ? warn(text, 'each worker has about eleven threads: raise --pids-limit, or TasksMax= of systemd') : ok(text) ];
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

/** How the masters of this host are. */
async function masters() {
  const sockets = allSockets();
  if (sockets.length === 0) return [ ok('no master is running that can be found') ];
  return [].concat(...await Promise.all(sockets.map(masterFindings)));
}

async function masterFindings(socket) {
  let report;
  try {
    report = await statusOf(socket);
  } catch (err) {
    return [ warn(err.message, err.hint) ];
  }
  const { pid, version: running, baseDir, ready, notReady, phase } = report;
  const text = `master ${pid} of ${baseDir} is ${phase}${ready ? '' : `, not ready: ${notReady}`}`;
  const findings = [ ready ? ok(text) : warn(text, `egg-cluster-rs status --socket ${socket}`) ];
  if (running !== version) {
    findings.push(warn(`master ${pid} is of version ${running}, and this is ${version}`, 'it goes on with its own version until it is started again'));
  }
  const soft = openFiles(pid);
  if (soft !== null && soft < FEW_DESCRIPTORS) findings.push(warn(`master ${pid} may have ${soft} file descriptors`, MORE_DESCRIPTORS));
  return findings;
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
