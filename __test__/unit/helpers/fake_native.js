'use strict';

/**
 * A native binding that records what it is asked and emits what a test tells it to.
 */

const native = require('../../../lib/native');

class FakeNativeMaster {
  constructor(configJson, onEvent) {
    this.config = JSON.parse(configJson);
    this.onEvent = onEvent;
    this.calls = [];
    this.state = { phase: 'starting', agent: null, workers: [] };
    FakeNativeMaster.last = this;
    FakeNativeMaster.onCreate(this);
  }

  start() {
    this.calls.push([ 'start' ]);
  }

  send(json, fromParent) {
    this.calls.push([ 'send', JSON.parse(json), fromParent ]);
  }

  reload(agent) {
    this.calls.push([ 'reload', agent ]);
  }

  parentFull(isFull) {
    this.calls.push([ 'parentFull', isFull ]);
  }

  close() {
    this.calls.push([ 'close' ]);
  }

  release() {
    this.calls.push([ 'release' ]);
    return true;
  }

  snapshot() {
    return JSON.stringify(this.state);
  }

  emit(...events) {
    for (const event of events) this.onEvent(JSON.stringify(event));
  }
}
FakeNativeMaster.last = null;
FakeNativeMaster.onCreate = () => {};

class FakePortReservation {
  constructor() {
    this.port = FakePortReservation.nextPort++;
    this.released = false;
    FakePortReservation.all.push(this);
  }

  release() {
    this.released = true;
  }
}
FakePortReservation.nextPort = 40001;
FakePortReservation.all = [];

const duties = { adoptsOrphans: () => false, reapOrphans: () => 0, watchSignals() {}, takeSignalSender: () => null, processors: () => null };

/** From now on the master gets the fake. */
function install() {
  loadSources();
  native.load = () => ({ NativeMaster: FakeNativeMaster, PortReservation: FakePortReservation, ...duties });
}

/** The bundle has a `native` of its own: what would load it gets the sources that it is made of. */
function loadSources() {
  const bundle = require.resolve('../../../lib/bundle');
  require.cache[bundle] = {
    id: bundle,
    loaded: true,
    get exports() {
      return require('../../../lib/native_master');
    },
  };
}

module.exports = { install, FakeNativeMaster, FakePortReservation };
