'use strict';

// Starts the application in the directory of this file, in production: the program of the units, images and pods beside it.
//
// PORT     - where to listen, 7001 by default
// WORKERS  - how many app workers, 2 by default
// PROBES   - where probes and metrics are asked for: a port of 127.0.0.1, or an address with one; 9100 by default
//
// The times belong together with those of the units and manifests: docs/deploy.md.

const path = require('path');
const { startCluster } = require('egg-cluster-rs');

startCluster({
  baseDir: __dirname,
  framework: path.dirname(require.resolve('egg/package.json')),
  env: 'prod',
  port: Number(process.env.PORT) || 7001,
  workers: Number(process.env.WORKERS) || 2,
  drain: { timeout: 15000 },
  control: { tcp: process.env.PROBES || 9100 },
});
