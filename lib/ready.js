'use strict';

const { isNativeError } = require('util').types;

/**
 * A flag that is set once, and those who wait for it. Callbacks registered before the
 * flag is set run in the next tick after it; later ones run at once.
 */
class Ready {
  #isReady = false;
  #error = undefined;
  #waiting = [];

  /**
   * Call `callback()` when the flag is set, or `callback(error)` when it was set with an Error.
   * @param {function(Error=): void} callback
   */
  onReady(callback) {
    if (this.#isReady) {
      this.#notify(callback);
    } else {
      this.#waiting.push(callback);
    }
  }

  /** @return {Promise<void>} settles when the flag is set */
  promise() {
    return new Promise((resolve, reject) => {
      this.onReady(error => (error ? reject(error) : resolve()));
    });
  }

  /**
   * @param {*} flag - `false` takes the flag back, an Error sets it as failed, all else sets it
   */
  set(flag) {
    this.#isReady = flag !== false;
    // An Error of another realm is none by instanceof: test runners load modules in realms of their own.
    this.#error = flag instanceof Error || isNativeError(flag) ? flag : undefined;
    if (!this.#isReady) return;
    for (const callback of this.#waiting.splice(0)) {
      process.nextTick(() => this.#notify(callback));
    }
  }

  #notify(callback) {
    // Callers look at arguments.length: success has none.
    if (this.#error) {
      callback(this.#error);
    } else {
      callback();
    }
  }
}

module.exports = Ready;
