'use strict';

// Starts real Egg applications, of whatever generation, and has their messengers speak.

const { get } = require('./http');

/**
 * @param {object} t the context of a test
 * @param {string} framework the directory of an Egg
 * @param {object} [config] see `cluster.start`; the application is a copy of `egg`, with two workers, in production
 * @return {Promise<{app, pids: number[], agent: number}>} as soon as every messenger has had egg-ready
 */
async function startEgg(t, framework, { options, ...config } = {}) {
  const app = await t.ready({ app: 'egg', copy: true, ...config, options: { framework, workers: 2, env: 'prod', ...options } });
  const isReady = m => m.action === 'egg:heard' && m.data.action === 'egg-ready';
  await app.until('egg-ready everywhere', () => app.found(isReady).length >= app.options.workers + 1);
  const heard = app.found(isReady).map(m => m.data);
  return {
    app,
    pids: heard.filter(h => h.role === 'app').map(h => h.pid).sort(),
    agent: heard.find(h => h.role === 'agent').pid,
  };
}

/** @return {number[]} pids of the processes in which `action` was heard */
function heardBy(app, action, since) {
  return app.found(m => m.action === 'egg:heard' && m.data.action === action, since).map(m => m.data.pid).sort();
}

/**
 * Has the worker that answers, or by it the agent, send `news`.
 *
 * @param {object} app the master
 * @param {string} query `how` a messenger's method, `to` its receiver, `by=agent`
 * @param {number} count how many have to hear it
 * @return {Promise<{sender: number, receivers: number[]}>} pids
 */
async function sendNews(app, query, count) {
  const since = app.mark();
  const { json } = await get(app.port, `/send?${query}`);
  await app.until(`${count} receiver(s) of ${query}`, () => heardBy(app, 'news', since).length >= count);
  return { sender: json.pid, receivers: heardBy(app, 'news', since) };
}

module.exports = { startEgg, sendNews, heardBy };
