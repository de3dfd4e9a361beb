'use strict';

// Options of startCluster for tests: the whole application, in the process of the test runner.

const path = require('path');

module.exports = {
  baseDir: path.join(__dirname, '..'),
  framework: path.dirname(require.resolve('egg/package.json')),
  env: 'unittest',
  port: Number(process.env.PORT) || 7101,
  // The process belongs to the test runner: close() leaves it running.
  exitProcess: false,
};
