'use strict';

/**
 * The promises of reloads. A reload that is asked for during another one is done after it,
 * together with all others that were asked for meanwhile.
 */
class Reloads {
  /** Asked for, not started yet. */
  #waiting = [];
  /** Of the reload under way. */
  #active = [];

  /** @return {Promise<void>} settles with the reload that the caller is about to ask for */
  add() {
    const promise = new Promise((resolve, reject) => this.#waiting.push({ resolve, reject }));
    // Whoever does not look at the promise has the log line and the event.
    promise.catch(() => {});
    return promise;
  }

  started() {
    this.#active = this.#waiting.splice(0);
  }

  done() {
    for (const { resolve } of this.#active.splice(0)) resolve();
  }

  /** @param {string} reason - why the old workers go on serving */
  failed(reason) {
    for (const { reject } of this.#active.splice(0)) reject(new Error(`reload failed: ${reason}`));
  }

  /** The master closes: nothing of it will be done. */
  end() {
    for (const { reject } of [ ...this.#active.splice(0), ...this.#waiting.splice(0) ]) {
      reject(new Error('reload failed: the master is closing'));
    }
  }
}

module.exports = Reloads;
