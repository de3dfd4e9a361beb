'use strict';

const { METRICS, measureConnections } = require('../lib/connections');

/** Connections that go to the worker which the client's address stands for. 32 addresses, so that all workers get some. */
module.exports = {
  name: 'sticky',
  title: 'Sticky: one HTTP request per connection, worker chosen by the client address',
  peers: [ 'egg-cluster', 'egg-cluster-rs' ],
  metrics: METRICS,
  goals: [
    { metric: 'masterCpu', atMost: 0.3 },
    { metric: 'throughput', atLeast: 0.95 },
  ],
  supports: peer => peer.sticky,
  run: job => measureConnections({ ...job, optionsOf: () => ({ sticky: true }), sources: 32 }),
};
