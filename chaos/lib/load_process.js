'use strict';

// The load in a process of its own, so that its moments and those of the kills have nothing to do with each other.
//
// argv[2] JSON: the settings of a Load. Any message stops it; it then sends its attempts and ends.

const { Load } = require('./load');

const load = new Load(JSON.parse(process.argv[2]));
load.start();

process.once('message', async () => {
  await load.stop();
  process.send(load.attempts, () => process.disconnect());
});

// Whoever asked is gone: nobody will read the answer.
process.once('disconnect', () => process.exit());
