'use strict';

// `node:test` with `t.after` and `t.mock.method`, which Node 16 does not have.

const nodeTest = require('node:test');

class Context {
  #cleanups = [];
  mock = { method: (object, name, implementation) => this.#replace(object, name, implementation) };

  /** Runs when the test is over, whatever its outcome, last come first served. */
  after(cleanup) {
    this.#cleanups.push(cleanup);
  }

  /** Replaces a method until the test is over; `mock.calls` of the new one has the arguments of each call. */
  #replace(object, name, implementation) {
    const before = Object.getOwnPropertyDescriptor(object, name);
    const calls = [];
    const replaced = function(...args) {
      calls.push({ arguments: args });
      return implementation.apply(this, args);
    };
    const restore = () => {
      if (before) Object.defineProperty(object, name, before);
      else delete object[name];
    };
    replaced.mock = { calls, restore };
    Object.defineProperty(object, name, { value: replaced, configurable: true, writable: true, enumerable: true });
    this.after(restore);
    return replaced;
  }

  async dispose() {
    for (const cleanup of this.#cleanups.reverse()) await cleanup();
  }
}

/**
 * @param {string} name - the promise that is tested
 * @param {Object} [options] - those of node:test
 * @param {function(Context): (void|Promise<void>)} body - the test
 */
module.exports = function test(name, options, body) {
  if (typeof options === 'function') [ options, body ] = [ {}, options ];
  nodeTest(name, options, async () => {
    const context = new Context();
    try {
      await body(context);
    } finally {
      await context.dispose();
    }
  });
};
