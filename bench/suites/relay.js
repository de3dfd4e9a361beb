'use strict';

const { METRICS, measureRelay } = require('../lib/relay');

/** App workers of every case: a message to all of them is relayed four times. */
const WORKERS = 4;

/**
 * The cases. Their counts give the master of egg-cluster some tenths of a second of work for each round.
 * `paced`: one message at a time, as of a cache that is cleared now and then. The others come as fast as they can be sent.
 */
const CASES = [
  { name: 'apps-100B', title: 'agent to all apps, 100 bytes', route: 'agentToApps', count: 10000, bytes: 100, cpu: 0.2 },
  { name: 'apps-1kB', title: 'agent to all apps, 1 kB', route: 'agentToApps', count: 10000, bytes: 1000, cpu: 0.2 },
  {
    name: 'apps-10kB', title: 'agent to all apps, 10 kB that are not ASCII', route: 'agentToApps', count: 2000, bytes: 10000,
    ascii: false, cpu: 0.35, peak: 0.5,
  },
  {
    name: 'apps-100kB', title: 'agent to all apps, 100 kB', route: 'agentToApps', count: 1000, bytes: 100000,
    cpu: 0.35, peak: 0.5,
  },
  {
    // egg-cluster's master loads the framework, and an ordinary application has Egg.
    name: 'apps-100kB-egg', title: 'agent to all apps, 100 kB, of a framework that loads Egg', route: 'agentToApps', count: 1000, bytes: 100000,
    fixture: 'relay-egg', cpu: 0.35, peak: 0.5,
  },
  { name: 'agent-1kB', title: 'app to agent, 1 kB', route: 'appToAgent', count: 10000, bytes: 1000, cpu: 0.3 },
  { name: 'pid-1kB', title: 'app to one app by its process id, 1 kB', route: 'appToApp', count: 10000, bytes: 1000, cpu: 0.3 },
  { name: 'paced-1kB', title: 'agent to all apps, 1 kB every 2 ms', route: 'agentToApps', count: 500, bytes: 1000, pauseMs: 2 },
];

/** Messages that one process sends to others through the master: the way of Egg's `app.messenger`. */
module.exports = CASES.map(({ name, title, fixture = 'relay', cpu, peak, ...load }) => ({
  name: `relay/${name}`,
  title: `Relay of messages: ${title}`,
  peers: [ 'egg-cluster', 'egg-cluster-rs' ],
  metrics: METRICS,
  goals: [
    ...(cpu ? [{ metric: 'masterCpu', atMost: cpu }] : []),
    ...(peak ? [{ metric: 'peakRss', atMost: peak }] : []),
  ],
  supports: peer => peer.egg,
  run: ({ peers, settings, progress }) => measureRelay({ peers, fixture, load, workers: WORKERS, rounds: settings.rounds, progress }),
}));
