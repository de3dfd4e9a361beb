'use strict';

// Node's own cluster. With round robin: what a master costs that only hands connections on. With SCHED_NONE the
// workers accept by themselves from the one socket: no master at all in the way of a connection.

const cluster = require('cluster');
const http = require('http');
const { respond } = require('../fixture/framework/respond');

/** @param {{port: number, workers: number, policy: string}} options - where to serve, with how many workers, and how they get connections */
function start({ port, workers, policy }) {
  // Before setupPrimary, which takes it for good.
  cluster.schedulingPolicy = cluster[policy];
  cluster.setupPrimary({ exec: __filename, args: [ String(port) ] });
  let listening = 0;
  cluster.on('listening', () => {
    listening++;
    if (listening === workers) process.send({ action: 'egg-ready' });
  });
  process.once('SIGTERM', () => cluster.disconnect(() => process.exit(0)));
  for (let i = 0; i < workers; i++) cluster.fork();
}

module.exports = { start };

if (cluster.isWorker && require.main === module) {
  http.createServer(respond).listen(Number(process.argv[2]));
}
