'use strict';

// Free TCP ports below the range from which the kernel takes ports for clients, so that no outgoing
// connection of anybody can take one between the probe and its use.

const net = require('net');
const fs = require('fs');
const os = require('os');
const path = require('path');

const FIRST = 20000;
const LAST = 31999;
const locks = path.join(os.tmpdir(), 'egg-cluster-test-ports');
const mine = [];
let next = FIRST + (process.pid * 41) % (LAST - FIRST);

/**
 * @return {Promise<number>} a port on which nothing listens, and that no other test file running now is given
 */
async function freePort() {
  for (let tries = 0; tries < LAST - FIRST; tries++) {
    next = next >= LAST ? FIRST : next + 1;
    // Others may ask while this one waits.
    const port = next;
    if (lock(port)) {
      if (await isFree(port)) return port;
    }
  }
  throw new Error(`no free port between ${FIRST} and ${LAST}`);
}

/** @return {Promise<number>} the first of `count` free ports in a row */
async function freePortRun(count) {
  let run = [ await freePort() ];
  while (run.length < count) {
    const port = await freePort();
    run = port === run[run.length - 1] + 1 ? [ ...run, port ] : [ port ];
  }
  return run[0];
}

// The lock holds the owner's pid: one that is left over from a killed test run does not count.
function lock(port) {
  fs.mkdirSync(locks, { recursive: true });
  const file = path.join(locks, String(port));
  try {
    fs.writeFileSync(file, String(process.pid), { flag: 'wx' });
  } catch (_) {
    const owner = ownerOf(file);
    if (owner === process.pid || isRunning(owner)) return false;
    fs.writeFileSync(file, String(process.pid));
  }
  mine.push(file);
  return true;
}

function ownerOf(file) {
  try {
    return Number(fs.readFileSync(file, 'utf8')) || 0;
  } catch (_) {
    return 0;
  }
}

function isRunning(pid) {
  if (!pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return err.code === 'EPERM';
  }
}

function isFree(port) {
  return new Promise(resolve => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

process.once('exit', () => {
  for (const file of mine) {
    try {
      fs.unlinkSync(file);
    } catch (_) {
      // Nothing depends on it.
    }
  }
  try {
    fs.rmdirSync(locks);
  } catch (_) {
    // Other test files still have theirs in it.
  }
});

module.exports = { freePort, freePortRun };
