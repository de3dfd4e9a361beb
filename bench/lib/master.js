'use strict';

// The process whose CPU and memory are measured: one peer's master and nothing else.
//
// argv[2]  module to require, or 'node-cluster' / 'node-cluster-none' / 'pm2' / 'bare-start' / 'bare-node'
// argv[3]  JSON options of startCluster
//
// Says {action: 'egg-ready'} over its channel when it serves; the egg masters do so by themselves.

const [ , , name, json ] = process.argv;
const options = JSON.parse(json);

if (name === 'node-cluster') {
  require('./node_primary').start({ ...options, policy: 'SCHED_RR' });
} else if (name === 'node-cluster-none') {
  require('./node_primary').start({ ...options, policy: 'SCHED_NONE' });
} else if (name === 'pm2') {
  require('./pm2_primary').start(options);
} else if (name === 'bare-start') {
  require('./bare_start').start(options);
} else if (name === 'bare-node') {
  // Node and an open channel: the floor under every master's memory.
  process.on('message', () => {});
  process.send({ action: 'egg-ready' });
} else {
  require(name).startCluster(options);
}
