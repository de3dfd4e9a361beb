'use strict';

const { get } = require('./http');

/**
 * Keeps requests going, each on a connection of its own.
 *
 * @param {number} port of the application
 * @param {object} [options] `{ concurrency, path, timeout }`
 * @return {{stop: Function}} `stop()` resolves with `{ served: {pid: count}, ok, errors: string[] }` when the last one is answered
 */
function startLoad(port, { concurrency = 4, path = '/', timeout = 10000 } = {}) {
  const result = { served: {}, ok: 0, errors: [] };
  let going = true;
  const loops = Array.from({ length: concurrency }, async () => {
    while (going) await one();
  });
  async function one() {
    try {
      const { pid } = (await get(port, path, { timeout })).json;
      result.ok++;
      result.served[pid] = (result.served[pid] || 0) + 1;
    } catch (err) {
      result.errors.push(err.code || err.message);
    }
  }
  return {
    result,
    async stop() {
      going = false;
      await Promise.all(loops);
      return result;
    },
  };
}

module.exports = { startLoad };
