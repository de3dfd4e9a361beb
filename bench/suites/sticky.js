'use strict';

const { METRICS, measureConnections } = require('../lib/connections');
const { OURS } = require('../lib/peers');

/** As many client addresses, so that all workers get some. */
const SOURCES = 32;

const common = {
  peers: [ 'egg-cluster', OURS ],
  metrics: METRICS,
  supports: peer => peer.sticky,
};

/** Connections that go to the worker which the client's address stands for. */
const byAddress = {
  ...common,
  name: 'sticky',
  title: 'Sticky: one HTTP request per connection, worker chosen by the client address',
  goals: [
    { metric: 'masterCpu', atMost: 0.3 },
    { metric: 'throughput', atLeast: 0.95 },
  ],
  run: job => measureConnections({ ...job, optionsOf: () => ({ sticky: true }), sources: SOURCES }),
};

/** Ours looks into the request; egg-cluster, which cannot, gets the same requests and goes by the address. */
function byHeader(name, sticky, header) {
  const optionsOf = peer => ({ sticky: peer.name === OURS ? sticky : true });
  return {
    ...common,
    name: `sticky-header/${name}`,
    title: `Sticky by a header: worker chosen by ${header.split(':')[0]} (egg-cluster: by the address)`,
    goals: [
      { metric: 'masterCpu', atMost: 0.45 },
      { metric: 'throughput', atLeast: 0.95 },
    ],
    run: job => measureConnections({ ...job, optionsOf, sources: SOURCES, header }),
  };
}

module.exports = [
  byAddress,
  byHeader('forwarded', { by: 'forwarded' }, 'X-Forwarded-For: 198.51.100.#'),
  byHeader('cookie', { by: 'cookie', name: 'uid' }, 'Cookie: theme=dark; uid=client-#'),
];
