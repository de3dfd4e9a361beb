'use strict';

// Control groups with a limit, of either version, where this user may make one.

const fs = require('fs');
const path = require('path');
const processes = require('./processes');

const ROOT = '/sys/fs/cgroup';
/** Controller -> the files of a limit, by version, and what is written for it. */
const LIMITS = {
  memory: { files: [ 'memory.limit_in_bytes', 'memory.max' ], text: String },
  // In processors, of the period that both versions have by default.
  cpu: { files: [ 'cpu.cfs_quota_us', 'cpu.max' ], text: processors => String(processors * 100000) },
};
let made = 0;

/** Directories in which one could be made, and the names of its files. */
function candidates(controller) {
  if (!fs.existsSync('/proc/self/cgroup')) return [];
  const [ first, second ] = LIMITS[controller].files;
  return fs.readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n').flatMap(line => {
    const [ , controllers, own ] = line.split(':');
    if (controllers.split(',').includes(controller)) return [{ dir: path.join(ROOT, controllers, own), limit: first }];
    if (controllers !== '') return [];
    // A group with processes cannot hand its controllers down, but the one above it may.
    return [ own, path.dirname(own) ].map(each => ({ dir: path.join(ROOT, each), limit: second }));
  });
}

/** @return {{dir: string, limit: string}|null} a new group, if there can be one */
function make(controller) {
  for (const { dir, limit } of candidates(controller)) {
    const own = path.join(dir, `egg-cluster-test-${process.pid}-${made++}`);
    try {
      fs.mkdirSync(own);
    } catch (_) {
      continue;
    }
    if (fs.existsSync(path.join(own, limit))) return { dir: own, limit };
    fs.rmdirSync(own);
  }
  return null;
}

/** Why there is none; false where there is. */
function skipReason(controller) {
  const group = make(controller);
  if (group === null) return `needs the right to make a control group with a limit of ${controller}`;
  fs.rmdirSync(group.dir);
  return false;
}

/**
 * @param {object} t the context of a test
 * @param {string} controller `memory` or `cpu`
 * @param {number} amount the limit, in bytes or in processors
 * @return {string[]} what starts a program in the group: a wrapper for `cluster.start`
 */
function enter(t, controller, amount) {
  const { dir, limit } = make(controller);
  t.after(() => remove(dir));
  fs.writeFileSync(path.join(dir, limit), LIMITS[controller].text(amount));
  return [ 'sh', '-c', 'echo $$ > "$0/cgroup.procs" && exec "$@"', dir ];
}

/** With whatever a test that failed has left in it. The kernel lets go of a group a moment after its last process. */
async function remove(dir) {
  await processes.poll(() => {
    fs.readFileSync(path.join(dir, 'cgroup.procs'), 'utf8').split('\n').filter(Boolean).forEach(pid => processes.kill(Number(pid), 'SIGKILL'));
    try {
      fs.rmdirSync(dir);
      return true;
    } catch (_) {
      return false;
    }
  }, 10000);
}

module.exports = { enter, skipReason };
