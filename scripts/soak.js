'use strict';

// `npm run soak -- --minutes=N`: set-up, then the soak in this process. See "Soak" in docs/reliability.md.

const { main } = require('./steps');
const { setup } = require('./setup');

main(() => {
  setup();
  require('../soak/run');
});
