'use strict';

// Stops a process at an arbitrary moment and looks at what had come for it by then.

const fs = require('fs');
const { stateOf } = require('./processes');
const { now } = require('./time');

/** How often it is looked whether a process has stopped; each look takes some microseconds. */
const LOOKS = 100_000;

/**
 * Stops a process by SIGSTOP; the caller kills it.
 * @param {number} pid - the process
 * @param {number} port - where it or its master listens
 * @return {{at: number, unread: Map<string, number>}|null} when it stood still, and how many bytes of each connection to
 *   the port waited unread then, by the client's address and port; null where it has ended
 */
function freeze(pid, port) {
  try {
    process.kill(pid, 'SIGSTOP');
  } catch (err) {
    if (err.code === 'ESRCH') return null;
    throw err;
  }
  for (let look = 0; look < LOOKS; look++) {
    const state = stateOf(pid);
    if (state === 'T') return { at: now(), unread: unreadAt(port) };
    if (state === '' || state === 'Z') return null;
  }
  throw new Error(`process ${pid} does not stop`);
}

/** The rows of /proc/net/tcp are described in the kernel's Documentation/networking/proc_net_tcp.rst. */
function unreadAt(port) {
  const unread = new Map();
  for (const file of [ '/proc/net/tcp', '/proc/net/tcp6' ]) {
    const rows = fs.readFileSync(file, 'latin1').trim().split('\n').slice(1);
    for (const row of rows) {
      const [ , local, remote, , queues ] = row.trim().split(/\s+/);
      if (portOf(local) === port) unread.set(endpoint(remote), parseInt(queues.split(':')[1], 16));
    }
  }
  return unread;
}

function portOf(place) {
  return parseInt(place.slice(place.lastIndexOf(':') + 1), 16);
}

/** The last four bytes are the IPv4 address, also of one in IPv6; they are written as a number of this machine. */
function endpoint(place) {
  const digits = place.slice(0, place.lastIndexOf(':')).slice(-8);
  const address = Buffer.alloc(4);
  address.writeUInt32LE(parseInt(digits, 16));
  return `${address.join('.')}:${portOf(place)}`;
}

module.exports = { freeze };
