'use strict';

const { METRICS, measureConnections } = require('../lib/connections');

/** Connections that the master accepts and hands to workers in turn. */
module.exports = {
  name: 'handoff',
  title: 'Handoff: one HTTP request per connection, handed to a worker by the master',
  peers: [ 'egg-cluster', 'egg-cluster-rs', 'node-cluster' ],
  metrics: METRICS,
  goals: [
    { metric: 'masterCpu', atMost: 0.5 },
    { metric: 'throughput', atLeast: 0.95 },
  ],
  supports: peer => peer.serves,
  run: job => measureConnections({ ...job, sticky: false, sources: 1 }),
};
