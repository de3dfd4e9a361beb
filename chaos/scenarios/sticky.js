'use strict';

const { nothingLostBut, atRest } = require('../lib/promises');
const { killTimes } = require('./kill');
const { reloadTimes, reloaded } = require('./reload');

module.exports = {
  name: 'sticky',
  title: 'Sticky mode: SIGKILL of workers, then a reload, under load',
  promise: 'as for both alone',
  sticky: true,
  act: async trial => {
    await killTimes(trial, trial.quick ? 3 : 5);
    await reloadTimes(trial, 1);
  },
  judge: result => [ ...nothingLostBut(result), ...reloaded(result), ...atRest(result) ],
};
