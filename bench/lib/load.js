'use strict';

// Runs the load generator against a port and returns what it saw.

const { fork } = require('child_process');
const path = require('path');

/** No round lasts longer; what was not tried by then is counted as such. */
const DEADLINE_MS = 60_000;

/**
 * @param {Object} load - what to do
 * @param {number} load.port - TCP port on 127.0.0.1
 * @param {number} load.connections - how many in all
 * @param {number} load.concurrency - how many at once
 * @param {number} [load.rate] - how many to open per second, whatever is answered; without it as fast as answers come
 * @param {number} [load.sources] - from how many loopback addresses
 * @param {string} [load.header] - a further line of the requests, in which # is the number of the source
 * @return {Promise<{seconds: number, answered: number, failed: number, outcomes: Object, latencyMs: Object, workers: Object}>}
 *   the outcome; `workers`: answers by process id
 */
function runLoad({ port, connections, concurrency, rate = 0, sources = 1, header = '' }) {
  return new Promise((resolve, reject) => {
    const order = JSON.stringify({ port, connections, concurrency, rate, sources, header, deadlineMs: DEADLINE_MS });
    const child = fork(path.join(__dirname, 'client.js'), [ order ], { execArgv: [] });
    let result = null;
    child.once('message', message => { result = message; });
    child.once('exit', (code, signal) => {
      if (!result) return reject(new Error(`the load generator ended without a result (${signal || `exit code ${code}`})`));
      const answered = result.outcomes.ok;
      resolve({ ...result, answered, failed: connections - answered });
    });
  });
}

module.exports = { runLoad };
