'use strict';

// Node's own cluster with round robin: what a master costs that only hands connections on.

const cluster = require('cluster');
const http = require('http');
const { respond } = require('../fixture/framework/respond');

/** @param {{port: number, workers: number}} options - where to serve and with how many workers */
function start({ port, workers }) {
  cluster.setupPrimary({ exec: __filename, args: [ String(port) ] });
  cluster.schedulingPolicy = cluster.SCHED_RR;
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
