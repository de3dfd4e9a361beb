'use strict';

// `npm run chaos -- NAME`: set-up, then the scenarios in this process. See docs/chaos.md.

const { main } = require('./steps');
const { setup } = require('./setup');

main(() => {
  setup();
  require('../chaos/run');
});
