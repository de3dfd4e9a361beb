'use strict';

const { once } = require('events');
const { SETTLE_MS, sleep, timed, measureFreshMasters, isAlive } = require('../lib/lifecycle');

/** SIGTERM to an idle application. */
module.exports = {
  name: 'stop',
  title: 'Stop of an idle Egg application with 2 workers',
  peers: [ 'egg-cluster', 'egg-cluster-rs' ],
  metrics: [ { key: 'gone', title: 'SIGTERM to nothing left', unit: 'ms', better: 'lower' } ],
  goals: [ { metric: 'gone', atMost: 1 } ],
  supports: peer => peer.egg,
  run: job => measureFreshMasters(job, {
    setting: { workers: 2, fixture: 'egg' },
    metric: 'gone',
    measure: async master => {
      await sleep(SETTLE_MS);
      let exited = false;
      once(master.child, 'exit').then(() => {
        exited = true;
      });
      master.child.kill('SIGTERM');
      return timed('the end', () => exited && !master.children.some(isAlive));
    },
  }),
};
