'use strict';

// `npm run bench -- NAME`: set-up, then the benchmarks in this process. See bench/README.md.

const { main } = require('./steps');
const { setup } = require('./setup');

main(() => {
  setup();
  require('../bench/run');
});
