'use strict';

// Who listens on a port, and whether more than one can.

const fs = require('fs');

const LISTEN = '0A';

/** Why workers do not bind one port together here; false where they do. */
function skipReason() {
  if (process.platform !== 'linux') return 'looks into /proc';
  const [ major, minor ] = process.versions.node.split('.').map(Number);
  const has = major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12);
  return !has && `Node.js ${process.versions.node} has no reusePort for TCP; 22.12 has`;
}

/** @return {string[]} the inodes of the sockets that listen on a port, as in /proc */
function listeningSockets(port) {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return [ '/proc/net/tcp', '/proc/net/tcp6' ].flatMap(file => {
    if (!fs.existsSync(file)) return [];
    const rows = fs.readFileSync(file, 'utf8').trim().split('\n').slice(1).map(line => line.trim().split(/\s+/));
    return rows.filter(row => row[1].endsWith(suffix) && row[3] === LISTEN).map(row => row[9]);
  });
}

/** Whether a process has a socket. */
function holds(pid, inode) {
  const dir = `/proc/${pid}/fd`;
  return fs.readdirSync(dir).some(fd => {
    try {
      return fs.readlinkSync(`${dir}/${fd}`) === `socket:[${inode}]`;
    } catch (_) {
      return false;
    }
  });
}

/**
 * @param {number} port
 * @param {number[]} pids
 * @return {number[][]} for each socket that listens on the port, those of the processes that have it
 */
function holders(port, pids) {
  return listeningSockets(port).map(inode => pids.filter(pid => holds(pid, inode)));
}

module.exports = { skipReason, listeningSockets, holders };
