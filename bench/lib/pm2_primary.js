'use strict';

// pm2 in cluster mode. What is its daemon elsewhere runs here in this process, so that its CPU is what is measured. It has
// a home of its own, which goes when it ends: a pm2 that the user runs is not touched.

const fs = require('fs');
const os = require('os');
const path = require('path');

/** @param {{port: number, workers: number}} options - where to serve and with how many workers */
function start({ port, workers }) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-pm2-'));
  process.on('exit', () => fs.rmSync(home, { recursive: true, force: true }));
  process.env.PM2_HOME = home;
  // Not as an argument: workers would get those of this process before it.
  process.env.BENCH_PORT = String(port);
  const pm2 = require('../pm2/node_modules/pm2');
  process.once('SIGTERM', () => pm2.delete('all', () => process.exit()));
  pm2.connect(true, err => {
    if (err) return fail(err);
    const app = { name: 'bench', script: path.join(__dirname, 'pm2_worker.js'), exec_mode: 'cluster', instances: workers, wait_ready: true };
    pm2.start(app, err => (err ? fail(err) : process.send({ action: 'egg-ready' })));
  });
}

function fail(err) {
  console.error(err);
  process.exit(1);
}

module.exports = { start };
