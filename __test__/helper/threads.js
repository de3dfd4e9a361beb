'use strict';

// Masters with `startMode: 'worker_threads'`, and what their threads do and hear. Threads of the mini
// framework are named by their thread ids.

const assert = require('assert');
const { get } = require('./http');
const { freePort } = require('./ports');

async function launch(t, { options, ...config } = {}) {
  const ports = [ await freePort(), await freePort() ];
  const app = await t.start({ ...config, options: { startMode: 'worker_threads', ports, port: ports[0], ...options } });
  return { app, ports };
}

async function start(t, config) {
  const started = await launch(t, config);
  await started.app.ready();
  return started;
}

/** Has the thread at a port do something: the outcome of it. */
async function doAt(port, name, args) {
  const { json } = await get(port, '/do', { body: JSON.stringify({ name, args }) });
  if (json.error) throw Object.assign(new Error(json.error.message), json.error);
  return json.result;
}

/** The same where nobody will answer. */
function failAt(port, name, args) {
  return assert.rejects(get(port, '/do', { body: JSON.stringify({ name, args }) }));
}

const threadAt = port => doAt(port, 'info');

async function idsAt(ports) {
  const infos = await Promise.all(ports.map(threadAt));
  return infos.map(info => info.threadId);
}

const isAction = action => ({ message }) => message.action === action;

/** What a thread has heard of one kind since then, oldest first. */
function heard(app, action, threadId, since) {
  return app.allGot(got => got.threadId === threadId && isAction(action)(got), since).map(got => got.message);
}

/** All threads have heard what was sent before this resolves. */
async function fence(app) {
  const since = app.mark();
  app.send({ action: 'fence', to: 'app' });
  app.send({ action: 'fence', to: 'agent' });
  await app.until('the fence', () => app.allGot(isAction('fence'), since).length === 3);
}

/** The threads that have heard of it, once all have heard what was sent before. */
async function receivers(app, action) {
  await fence(app);
  return app.allGot(isAction(action)).map(got => got.threadId).sort();
}

module.exports = { launch, start, doAt, failAt, threadAt, idsAt, isAction, heard, fence, receivers };
