'use strict';

/**
 * What the master listens to in the process that it runs in, so that all of it can be taken
 * back where the process lives on.
 */

/** Marks listeners of masters for signals: also those of other copies of this module, and in other realms. */
const OF_A_MASTER = Symbol.for('egg-cluster-rs.signalListener');
const ENDING_SIGNALS = [ 'SIGINT', 'SIGQUIT', 'SIGTERM' ];
const RELOAD_SIGNAL = 'SIGUSR2';

class ProcessListeners {
  #added = [];
  /** Had listeners of the program before ours came, which may be of the kind that goes with the first call. */
  #foreignBefore = new Set();
  /** The signal that ends the process once the master is closed. */
  #owedSignal = null;

  on(name, listener) {
    process.on(name, listener);
    this.#added.push([ name, listener ]);
  }

  once(name, listener) {
    process.once(name, listener);
    this.#added.push([ name, listener ]);
  }

  /**
   * Close at a signal, in a process of the master's own: a second signal ends it as signals do
   * by default.
   *
   * @param {function(string): void} close - gets the name of the signal
   */
  closeAtSignals(close) {
    for (const signal of ENDING_SIGNALS) this.once(signal, () => close(signal));
  }

  /**
   * Close at a signal, in a process that belongs to another program. If that has no listener
   * for the signal, it would have ended the process: then it does so after the closing, or
   * when it comes a second time.
   *
   * @param {function(string): void} close - gets the name of the signal
   */
  closeBeforeSignals(close) {
    for (const signal of ENDING_SIGNALS) {
      if (hasForeign(signal)) this.#foreignBefore.add(signal);
      const listener = () => {
        if (this.#owedSignal !== null) {
          this.removeAll();
          return;
        }
        if (!this.#foreignBefore.has(signal) && !hasForeign(signal)) this.#owedSignal = signal;
        close(signal);
      };
      listener[OF_A_MASTER] = true;
      this.on(signal, listener);
    }
  }

  /**
   * Have the senders of signals noted, also where somebody takes all listeners away and adds others.
   *
   * @param {function(): void} watch - to be called when Node has begun to listen to a signal
   */
  watchSenders(watch) {
    watch();
    // Node's own listener for this event came before: it listens already.
    this.on('newListener', name => {
      if (ENDING_SIGNALS.includes(name) || name === RELOAD_SIGNAL) watch();
    });
  }

  /** Take all listeners back, and let a signal that was held back have its effect. */
  removeAll() {
    for (const [ name, listener ] of this.#added.splice(0)) process.removeListener(name, listener);
    const signal = this.#owedSignal;
    this.#owedSignal = null;
    // Another master may still be closing: it is the last one that lets the signal through.
    if (signal !== null && process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  }
}

function hasForeign(signal) {
  return process.listeners(signal).some(listener => !listener[OF_A_MASTER]);
}

module.exports = Object.assign(ProcessListeners, { RELOAD_SIGNAL });
