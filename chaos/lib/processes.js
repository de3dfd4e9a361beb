'use strict';

// Looks into /proc: children of a master, what it holds, what is left of it.

const fs = require('fs');
const { childPids, memory } = require('../../bench/lib/proc');

/** Whether a process runs; one that has ended and waits to be reaped does not. */
function isAlive(pid) {
  const state = stateOf(pid);
  return state !== '' && state !== 'Z';
}

/** The state of a process, one letter as in proc(5); empty where there is none. */
function stateOf(pid) {
  const stat = readOrEmpty(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2)[0] || '';
}

/**
 * @param {number} master - its process id
 * @param {string} script - file name of the script that the children run
 * @return {number[]} process ids
 */
function childrenRunning(master, script) {
  if (!isAlive(master)) return [];
  return childPids(master).filter(pid => readOrEmpty(`/proc/${pid}/cmdline`).includes(script));
}

/**
 * What a process holds now.
 * @param {number} pid - the process
 * @return {{descriptors: number, rss: number, zombies: number}} open descriptors, resident bytes, children not reaped
 */
function holdings(pid) {
  const zombies = childPids(pid).filter(child => !isAlive(child)).length;
  return { descriptors: fs.readdirSync(`/proc/${pid}/fd`).length, rss: memory(pid).rss, zombies };
}

/** @return {number[]} the processes that have this `NAME=value` in the environment that they were started with */
function withEnvironment(entry) {
  const pids = fs.readdirSync('/proc').filter(name => /^\d+$/.test(name)).map(Number);
  return pids.filter(pid => isAlive(pid) && readOrEmpty(`/proc/${pid}/environ`).split('\0').includes(entry));
}

/** A process may go while one looks. */
function readOrEmpty(file) {
  try {
    return fs.readFileSync(file, 'latin1');
  } catch (err) {
    return '';
  }
}

module.exports = { isAlive, stateOf, childrenRunning, holdings, withEnvironment };
