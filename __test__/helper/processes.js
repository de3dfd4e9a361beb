'use strict';

// Finds the processes a test has started, however deep and however orphaned, by a marker in their
// environment: a child inherits it, and losing its parent does not take it away.

const fs = require('fs');
const { execFileSync } = require('child_process');

const MASTER_MARKER = 'EGG_CLUSTER_TEST_ID';
const RUN_MARKER = 'EGG_CLUSTER_TEST_RUN';

/**
 * @param {string} name the environment variable
 * @param {string} value its value
 * @return {number[]} pids of living processes that have it, zombies and the caller left out
 */
function marked(name, value) {
  const pids = fs.existsSync('/proc/self/environ') ? markedInProc(`${name}=${value}`) : markedByPs(`${name}=${value}`);
  return pids.filter(pid => pid !== process.pid);
}

function markedInProc(pair) {
  return fs.readdirSync('/proc').filter(entry => {
    if (!/^\d+$/.test(entry)) return false;
    return readProc(entry, 'environ').split('\0').includes(pair);
  }).map(Number);
}

function markedByPs(pair) {
  return execFileSync('ps', [ '-axEww', '-o', 'pid=,command=' ], { encoding: 'utf8', maxBuffer: 1 << 26 })
    .split('\n')
    .filter(line => line.includes(pair))
    .map(line => parseInt(line, 10));
}

// A process that has just gone reads as empty, and so does a zombie's environment.
function readProc(pid, file) {
  try {
    return fs.readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (_) {
    return '';
  }
}

function describe(pid) {
  const argv = readProc(pid, 'cmdline').split('\0').join(' ').slice(0, 160);
  return `${pid} ${argv}`;
}

/** Whether this is what ends the children of a killed master, and no part of the cluster itself. */
function isGuardian(pid) {
  return readProc(pid, 'cmdline').split('\0')[0] === 'egg-cluster-rs-guardian';
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
  } catch (err) {
    return err.code === 'EPERM';
  }
  // A zombie still takes signals.
  return !/^\d+ \(.*\) Z /s.test(readProc(pid, 'stat'));
}

function kill(pid, signal) {
  try {
    process.kill(pid, signal);
  } catch (_) {
    // It has gone by itself.
  }
}

/**
 * Resolves when `probe()` holds. Only for what the kernel does not tell anybody but the parent,
 * such as the end of somebody else's child.
 *
 * @param {Function} probe returns true when done
 * @param {number} deadline in ms
 * @return {Promise<boolean>} false when the deadline came first
 */
async function poll(probe, deadline) {
  const end = Date.now() + deadline;
  while (!await probe()) {
    if (Date.now() > end) return false;
    await new Promise(resolve => setTimeout(resolve, 25));
  }
  return true;
}

module.exports = { MASTER_MARKER, RUN_MARKER, marked, describe, isGuardian, isAlive, kill, poll };
