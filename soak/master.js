'use strict';

// The master that is soaked; it tells what it holds when its parent asks.
//
// argv[2] module of the cluster
// argv[3] JSON options of startCluster
//
// Needs --expose-gc, so that its memory is what it keeps and not what it has not yet thrown away.

const path = require('path');

const [ , , cluster, json ] = process.argv;
const { NativeMaster } = require(path.join(cluster, 'lib', 'native')).load();

/** The native master: nothing public has its timers. */
let native = null;
const { start } = NativeMaster.prototype;
NativeMaster.prototype.start = function() {
  native = this;
  return start.call(this);
};

const { Master } = require(cluster);
const master = new Master(JSON.parse(json));

master.on('soak:look', () => {
  global.gc();
  const resources = process.getActiveResourcesInfo ? process.getActiveResourcesInfo() : [];
  const data = {
    heap: process.memoryUsage().heapUsed,
    timers: resources.filter(name => name === 'Timeout' || name === 'Immediate').length,
    coreTimers: JSON.parse(native.snapshot()).timers,
  };
  master.messenger.send({ action: 'soak:looked', to: 'parent', data });
});
