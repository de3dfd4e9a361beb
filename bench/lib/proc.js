'use strict';

// What Linux tells about a process under /proc (see proc(5) and the kernel's Documentation/scheduler/sched-stats.rst).

const fs = require('fs');

/** The kernel counts utime and stime in these, in ms; USER_HZ is 100 on all our platforms. */
const TICK_MS = 10;

/**
 * CPU time that a process has used so far, all its threads together.
 *
 * `exactNs` adds up what the scheduler counted for each living thread, in ns; 0 where the kernel lacks schedstats.
 * `ticksNs` is utime + stime of the whole process in steps of 10 ms; it also has the threads that have ended.
 * @param {number} pid - the process
 * @return {{exactNs: number, ticksNs: number}} CPU time in ns
 */
function cpuTime(pid) {
  let exactNs = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    exactNs += readSchedstat(pid, task);
  }
  // The name in field 2 may hold spaces and brackets: count from its closing bracket. utime and stime are 14 and 15.
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[11]) + Number(fields[12]);
  return { exactNs, ticksNs: ticks * TICK_MS * 1e6 };
}

/** Time on the CPU of one thread in ns; 0 when the thread ended meanwhile or the kernel keeps no count. */
function readSchedstat(pid, task) {
  try {
    return Number(fs.readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]);
  } catch (err) {
    return 0;
  }
}

/**
 * CPU time between two readings: the exact count when there is one.
 * @param {{exactNs: number, ticksNs: number}} before - first reading
 * @param {{exactNs: number, ticksNs: number}} after - second reading
 * @return {number} ns
 */
function cpuBetween(before, after) {
  return after.exactNs > 0 ? after.exactNs - before.exactNs : after.ticksNs - before.ticksNs;
}

/**
 * Memory of a process in bytes: all that is resident, the part that no file backs, and the highest resident so far.
 * @param {number} pid - the process
 * @return {{rss: number, anon: number, peak: number}} bytes
 */
function memory(pid) {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  const field = name => {
    const match = status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'));
    return match ? Number(match[1]) * 1024 : NaN;
  };
  return { rss: field('VmRSS'), anon: field('RssAnon'), peak: field('VmHWM') };
}

/**
 * Lets the highest resident memory of a process count from now on.
 * @param {number} pid - the process
 */
function resetPeak(pid) {
  fs.writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/**
 * The direct children of a process, whichever of its threads made them.
 * @param {number} pid - the process
 * @return {number[]} process ids
 */
function childPids(pid) {
  return fs.readdirSync(`/proc/${pid}/task`).flatMap(task => {
    const text = fs.readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  });
}

module.exports = { cpuTime, cpuBetween, memory, resetPeak, childPids };
