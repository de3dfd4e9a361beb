'use strict';

// Starts the example application under egg-cluster-rs: `npm start` in the repository's root, or `node example/start.js`.
//
// PORT     - where to listen, 7001 by default
// WORKERS  - how many app workers, 2 by default

const path = require('path');
const { startCluster } = require('..');

const port = Number(process.env.PORT) || 7001;
const workers = Number(process.env.WORKERS) || 2;

startCluster({
  baseDir: __dirname,
  // Given by path, so that the example starts from any current directory.
  framework: path.dirname(require.resolve('egg/package.json')),
  // Only in production is a dead worker forked anew; in `local` a crash is left for the developer to see.
  env: 'prod',
  port,
  workers,
  masterStartedAt: Date.now(),
}, () => {
  console.log(`\n  Open http://127.0.0.1:${port}/ - stop with Ctrl-C.\n`);
});
