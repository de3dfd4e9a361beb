'use strict';

// npx mocha example/test/mocha

const assert = require('assert');
// In an application: require('egg-cluster-rs').
const { startCluster } = require('../../..');
const options = require('../options');
const get = require('../get');

for (const workers of [ 1, 2 ]) {
  describe(`the application with ${workers} worker(s)`, function() {
    this.timeout(60000);
    let master;

    before(async () => {
      master = await startCluster({ ...options, workers });
    });

    after(async () => {
      if (master) await master.close();
    });

    it('serves the page', async () => {
      const { status, body } = await get(options.port, '/');
      assert.strictEqual(status, 200);
      assert.match(body, /<html/);
    });

    it('has the workers that were asked for', () => {
      assert.strictEqual(master.workerManager.getListeningWorkerIds().length, workers);
    });
  });
}
