'use strict';

// npx jest --config example/jest.config.js

// In an application: require('egg-cluster-rs').
const { startCluster } = require('../../..');
const options = require('../options');
const get = require('../get');

jest.setTimeout(60000);

describe.each([ 1, 2 ])('the application with %i worker(s)', workers => {
  let master;

  beforeAll(async () => {
    master = await startCluster({ ...options, workers });
  });

  afterAll(async () => {
    if (master) await master.close();
  });

  test('serves the page', async () => {
    const { status, body } = await get(options.port, '/');
    expect(status).toBe(200);
    expect(body).toMatch(/<html/);
  });

  test('has the workers that were asked for', () => {
    expect(master.workerManager.getListeningWorkerIds()).toHaveLength(workers);
  });
});
