'use strict';

const os = require('os');
const { measureFreshMasters } = require('../lib/lifecycle');
const { childPids, cpuTime } = require('../lib/proc');

const ready = { key: 'ready', title: 'spawn of node to egg-ready', unit: 'ms', better: 'lower' };

/** No master, however fast, can be ready sooner: agent and app workers need so much CPU to boot. */
const bound = { key: 'bound', title: 'CPU of agent and workers by then, per core', unit: 'ms', better: 'lower' };

function childrenCpu({ pid }) {
  return childPids(pid).reduce((sum, child) => sum + cpuTime(child).exactNs, 0) / 1e6 / os.cpus().length;
}

/** The start of a real Egg application, by the number of its workers. */
function startOf(workers, prestart) {
  return {
    name: `start/${workers}${prestart ? '-prestart' : ''}`,
    title: `Start of an Egg application with ${workers} workers${prestart ? ', ours with prestart' : ''}`,
    peers: [ 'egg-cluster', 'egg-cluster-rs', 'bare-start' ],
    metrics: [ ready, bound ],
    goals: [ { metric: 'ready', atMost: prestart ? 0.65 : 0.8 }, { metric: 'ready', of: 'bare-start', atMost: 1.05 } ],
    supports: peer => peer.egg || peer.boots,
    run: job => measureFreshMasters(job, {
      setting: { workers, fixture: 'egg' },
      ownOptions: { prestart },
      metric: 'ready',
      measure: master => Promise.resolve(master.readyMs),
      beside: { bound: childrenCpu },
    }),
  };
}

module.exports = [ startOf(2, false), startOf(4, false), startOf(2, true), startOf(4, true) ];
