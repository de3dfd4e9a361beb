'use strict';

const { measureFreshMasters } = require('../lib/lifecycle');

const ready = { key: 'ready', title: 'spawn of node to egg-ready', unit: 'ms', better: 'lower' };

/** The start of a real Egg application, by the number of its workers. */
function startOf(workers, prestart) {
  return {
    name: `start/${workers}${prestart ? '-prestart' : ''}`,
    title: `Start of an Egg application with ${workers} workers${prestart ? ', ours with prestart' : ''}`,
    peers: [ 'egg-cluster', 'egg-cluster-rs' ],
    metrics: [ ready ],
    goals: [ { metric: 'ready', atMost: prestart ? 0.65 : 0.8 } ],
    supports: peer => peer.egg,
    run: job => measureFreshMasters(job, {
      setting: { workers, fixture: 'egg' },
      ownOptions: { prestart },
      metric: 'ready',
      measure: master => Promise.resolve(master.readyMs),
    }),
  };
}

module.exports = [ startOf(2, false), startOf(4, false), startOf(2, true), startOf(4, true) ];
