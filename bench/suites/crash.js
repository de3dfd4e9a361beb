'use strict';

const { SETTLE_MS, sleep, timed, measureFreshMasters, appWorkers, logSince } = require('../lib/lifecycle');

const replaced = { key: 'replaced', title: 'SIGKILL to the replacement listening', unit: 'ms', better: 'lower' };
/** A spare is started a second after the application is ready, and has to load the framework. */
const SPARE_MS = 4000;

/** A worker is killed, in production. */
function crashWith(spares) {
  return {
    name: spares ? 'crash/spare' : 'crash',
    title: `Crash of one of two workers${spares ? ', ours with a spare' : ''}`,
    peers: [ 'egg-cluster', 'egg-cluster-rs' ],
    metrics: [ replaced ],
    goals: [ { metric: 'replaced', atMost: spares ? 0.85 : 1.05 } ],
    supports: peer => peer.egg,
    run: job => measureFreshMasters(job, {
      setting: { workers: 2, fixture: 'egg' },
      ownOptions: { prestart: spares ? { atStart: false, spares } : false },
      metric: 'replaced',
      measure: async master => {
        const [ victim ] = appWorkers(master);
        await sleep(spares ? SPARE_MS : SETTLE_MS);
        const logged = logSince(master);
        process.kill(victim, 'SIGKILL');
        return timed('the replacement', () => logged(/app_worker#\d+:\d+ listening on/));
      },
    }),
  };
}

module.exports = [ crashWith(0), crashWith(1) ];
