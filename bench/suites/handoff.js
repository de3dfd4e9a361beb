'use strict';

const { METRICS, measureConnections } = require('../lib/connections');

/** Connections that the master accepts and hands to workers in turn. */
module.exports = {
  name: 'handoff',
  title: 'Handoff: one HTTP request per connection, handed to a worker by the master',
  peers: [ 'egg-cluster', 'egg-cluster-rs', 'node-cluster', 'node-cluster-none', 'pm2', 'floor', 'floor-paced' ],
  metrics: METRICS,
  goals: [
    { metric: 'masterCpu', atMost: 0.5 },
    { metric: 'masterCpu', of: 'node-cluster', atMost: 0.45 },
    { metric: 'masterCpu', of: 'floor', atMost: 1.25 },
    { metric: 'throughput', of: 'node-cluster-none', atLeast: 0.95 },
    // What hands connections on without any logic.
    { metric: 'throughput', of: 'floor', atLeast: 0.85 },
  ],
  supports: peer => peer.serves,
  run: job => measureConnections({ ...job, sources: 1 }),
};
