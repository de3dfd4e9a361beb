'use strict';

// `npm start`: set-up, then the example application in this very process. With the `exec` in package.json a signal to npm
// reaches the master; without it the shell in between would die alone.

const { main } = require('./steps');
const { setup } = require('./setup');

main(() => {
  setup();
  require('../example/start');
});
