'use strict';

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const { pathToFileURL } = require('url');
const { test } = require('./helper/test');
const { get } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { isAlive, poll } = require('./helper/processes');

const FOR_EVER = { ms: 600000 };
const commands = require.resolve('./fixtures/framework-mini/commands');
const lineOfLoop = 1 + fs.readFileSync(commands, 'utf8').split('\n').findIndex(line => line.includes('while (Date.now() < end)'));
/** Where `busy` loops. Which of the columns V8 stops at is its own affair. */
const place = `busy \\(${escape(pathToFileURL(commands).href)}:${lineOfLoop}:\\d+\\)`;
const skip = process.platform !== 'linux' && 'the port of the inspector can be found on Linux only';

/** @return {Promise<{app: Object, pids: number[], debugPort: number}>} whose workers would open their inspectors at one port */
async function start(t, workers, watchdog) {
  const debugPort = await freePort();
  const app = await t.ready({ options: { env: 'prod', workers, watchdog: { timeout: 1500, interval: 200, ...watchdog } } });
  const pids = await app.workerPids();
  for (const pid of pids) await app.ask('app', 'debugPort', { port: debugPort }, pid);
  return { app, pids, debugPort };
}

/** When the log says that a worker will be killed, and that it has died, in ms. */
async function killTime(app, pid, since) {
  await app.stderr(new RegExp(`app_worker#\\d+:${pid} has not answered for \\d+ms and will be killed\n`), since);
  const doomedAt = Date.now();
  await app.stderr(new RegExp(`app_worker#\\d+:${pid} died \\(code: null, signal: SIGKILL`), since);
  return Date.now() - doomedAt;
}

test('the log says in which function and line a hung worker hangs, and it is replaced', { skip }, async t => {
  const { app, pids: [ pid, other ], debugPort } = await start(t, 2, { stack: true });
  const before = app.mark();
  app.tell('app', 'busy', FOR_EVER, pid);
  const [ killMs, [ text ] ] = await Promise.all([
    killTime(app, pid, before),
    app.stderr(new RegExp(`\\[master\\] app_worker#1:${pid} hangs in ${place}\n(    at .*\n)+`), before),
  ]);
  assert.ok(killMs < 3000, `${killMs} ms`);
  assert.ok(text.split('\n').length <= 11, text);
  // The line comes while the worker still lives.
  assert.ok(app.err.indexOf(' hangs in ') < app.err.indexOf(`app_worker#1:${pid} died`));

  const [ , replacement ] = await app.stdout(/app_worker#3:(\d+) started at/, before);
  assert.ok(await poll(() => !isAlive(pid), 5000));
  assert.ok(!await isOpen(debugPort), `port ${debugPort} is still open`);
  const serving = new Set();
  for (let i = 0; i < 10; i++) serving.add((await get(app.port)).json.pid);
  assert.deepStrictEqual([ ...serving ].sort(), [ other, Number(replacement) ].sort());
});

test('a regular expression that never ends is found, too', { skip }, async t => {
  const { app, pids: [ pid ] } = await start(t, 2, { stack: true });
  const before = app.mark();
  app.tell('app', 'backtrack', {}, pid);
  assert.ok(await killTime(app, pid, before) < 3000);
  assert.match(app.err, new RegExp(`app_worker#1:${pid} hangs in backtrack \\(file:.*commands\\.js:\\d+:\\d+\\)\n`));
});

test('two that hang at the same time, and want the same port, are both told', { skip }, async t => {
  const { app, pids } = await start(t, 2, { stack: true });
  const before = app.mark();
  for (const pid of pids) app.tell('app', 'busy', FOR_EVER, pid);
  for (const killMs of await Promise.all(pids.map(pid => killTime(app, pid, before)))) {
    assert.ok(killMs < 3000, `${killMs} ms`);
  }
  for (const pid of pids) assert.match(app.err, new RegExp(`app_worker#\\d:${pid} hangs in ${place}\n`));
});

test('a worker that hangs outside of JavaScript is killed without a stack', { skip }, async t => {
  const { app, pids: [ pid ] } = await start(t, 2, { stack: true });
  const before = app.mark();
  app.tell('app', 'block', FOR_EVER, pid);
  assert.ok(await killTime(app, pid, before) < 3000);
  assert.match(app.err, new RegExp(`app_worker#1:${pid} no stack: its inspector did not open .* within 1800ms\n`));
});

test('where the port is taken by somebody else, a hung worker is killed without a stack', { skip }, async t => {
  const { app, pids: [ pid ], debugPort } = await start(t, 2, { stack: true });
  const server = net.createServer().listen(debugPort, '127.0.0.1');
  t.after(() => server.close());
  await new Promise(resolve => server.once('listening', resolve));
  const before = app.mark();
  app.tell('app', 'busy', FOR_EVER, pid);
  assert.ok(await killTime(app, pid, before) < 3000);
  assert.match(app.err, new RegExp(`app_worker#1:${pid} no stack: `));
  assert.match(app.err, /address already in use/);
});

test('by default no inspector is opened', { skip }, async t => {
  const { app, pids: [ pid ] } = await start(t, 2, {});
  const before = app.mark();
  app.tell('app', 'busy', FOR_EVER, pid);
  await killTime(app, pid, before);
  assert.doesNotMatch(app.err, /Debugger listening|hangs in|no stack/);
});

function isOpen(port) {
  return new Promise(resolve => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function escape(text) {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
