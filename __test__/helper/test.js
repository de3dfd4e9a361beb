'use strict';

// `node:test` with what every test here needs: masters that are ended and looked after by the test
// that started them, on every Node that has `node:test` (16.17 has no `t.after`).

const { test: nodeTest } = require('node:test');
const cluster = require('./cluster');

const DEADLINE = 120000;

class Context {
  constructor() {
    this.apps = [];
    this.cleanups = [];
  }

  /** Starts a master; see `cluster.start`. The test need not end it. */
  async start(config) {
    const app = await cluster.start(config);
    this.apps.push(app);
    return app;
  }

  /** Starts a master and awaits its `egg-ready`. */
  async ready(config) {
    const app = await this.start(config);
    await app.ready();
    return app;
  }

  /** Runs when the test is over, whatever its outcome, last come first served. */
  after(cleanup) {
    this.cleanups.push(cleanup);
  }

  /** What a test that passes promises besides its own name: a clean end with nothing left. */
  async endWell() {
    for (const app of this.apps) {
      if (!app.ended) {
        const { code, signal } = await app.close();
        if (code !== 0) throw new Error(`the master ended with code ${code}, signal ${signal}`);
      }
      await app.noLeftovers();
    }
  }

  async dispose() {
    for (const cleanup of this.cleanups.reverse()) await cleanup();
    for (const app of this.apps) await app.destroy();
  }

  transcript() {
    return this.apps.map(app => app.transcript()).join('\n');
  }
}

/**
 * @param {string} name the promise that is tested
 * @param {object} [options] `{ skip: string|false, timeout: number }`
 * @param {Function} body gets a Context
 */
function test(name, options, body) {
  if (typeof options === 'function') [ options, body ] = [ {}, options ];
  nodeTest(name, { timeout: DEADLINE, ...options }, async () => {
    const context = new Context();
    try {
      await body(context);
      await context.endWell();
    } catch (err) {
      if (context.apps.length) err.message += `\n${context.transcript()}`;
      throw err;
    } finally {
      await context.dispose();
    }
  });
}

/**
 * A promise that the original egg-cluster does not keep. `CLUSTER_TEST_ALL=1` runs it there all the
 * same, to see it fail.
 *
 * @param {string} reason what the original does instead
 */
function ownOnly(reason, name, options, body) {
  if (typeof options === 'function') [ options, body ] = [ {}, options ];
  const skip = cluster.isReference && !process.env.CLUSTER_TEST_ALL ? `own only: ${reason}` : options.skip;
  test(name, { ...options, skip }, body);
}

module.exports = { test, ownOnly };
