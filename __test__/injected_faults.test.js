'use strict';

// Errors of the kernel that would take the whole machine along if they were brought about by themselves: they are
// injected into the master (helper/faults.js).

const assert = require('assert');
const os = require('os');
const { test, ownOnly } = require('./helper/test');
const { Faults, skipReason } = require('./helper/faults');
const { get } = require('./helper/http');
const { startLoad } = require('./helper/load');
const { isAlive, poll } = require('./helper/processes');

const production = { env: 'prod', workers: 2 };
const onLinux = { skip: skipReason() };
const CLIENTS = 30;

async function start(t, { options, ...config } = {}) {
  const faults = new Faults(t);
  const app = await t.ready({ ...config, options: { ...production, ...options }, env: { ...faults.env, ...config.env } });
  faults.in(app.pid);
  return { app, faults };
}

/** Clients that connect now; what they get may be awaited later. */
function connect(port) {
  const answers = Promise.all(Array.from({ length: CLIENTS }, () => get(port, '/', { timeout: 60000 })));
  answers.catch(() => {});
  return answers;
}

async function assertServed(answers) {
  for (const { status } of await answers) assert.strictEqual(status, 200);
}

const happens = (faults, call, times) => poll(() => faults.count(call) >= times, 20000);

ownOnly('it says nothing of it', 'no descriptor, buffer or memory of the system for a connection: clients wait and are served', onLinux, async t => {
  const { app, faults } = await start(t);
  const pids = await app.workerPids();
  for (const code of [ 'ENFILE', 'ENOBUFS', 'ENOMEM' ]) {
    const before = app.mark();
    const failed = faults.count('accept');
    faults.set('accept', code);
    const answers = connect(app.port);
    await app.until(`the report of ${code}`, () =>
      (app.out + app.err).includes(`[master] cannot accept new connections for the moment: ${code}`));
    assert.ok(await happens(faults, 'accept', failed + 5));
    faults.set('accept', null);
    await assertServed(answers);
    assert.doesNotMatch(app.out.slice(before.out), /died|will be killed/);
  }
  assert.deepStrictEqual(await app.workerPids(), pids);
});

test('errors of one client at accept are no errors of the port', onLinux, async t => {
  const { app, faults } = await start(t);
  for (const code of [ 'ECONNABORTED', 'EPROTO', 'EHOSTUNREACH' ]) {
    const failed = faults.count('accept');
    faults.set('accept', code);
    const answers = connect(app.port);
    assert.ok(await happens(faults, 'accept', failed + 1));
    faults.set('accept', null);
    await assertServed(answers);
  }
});

for (const sticky of [ false, true ]) {
  ownOnly('it tries once', `descriptors that cannot be handed over for the moment are, later, and no worker is blamed${sticky ? ', in sticky mode' : ''}`, onLinux, async t => {
    const { app, faults } = await start(t, { options: { sticky, watchdog: { timeout: 1500, interval: 200 } } });
    const pids = await app.workerPids();
    for (const code of [ 'ETOOMANYREFS', 'ENOBUFS', 'ENOMEM' ]) {
      const failed = faults.count('sendHandle');
      faults.set('sendHandle', code);
      const answers = connect(app.port);
      // There is a pause of 10 ms after each: that is longer than a worker may be silent.
      assert.ok(await happens(faults, 'sendHandle', failed + 250));
      faults.set('sendHandle', null);
      await assertServed(answers);
      assert.deepStrictEqual(await app.workerPids(), pids);
    }
    assert.doesNotMatch(app.out + app.err, /died|will be killed|has not answered/);
  });
}

for (const code of [ 'EAGAIN', 'ENOMEM', 'ENOENT' ]) {
  ownOnly('it forks by another call', `processes that cannot be started (${code}) are started when that is possible, others serve meanwhile`, onLinux, async t => {
    const { app, faults } = await start(t);
    const [ first, second ] = await app.workerPids();
    const agent = await app.agentPid();
    faults.set('spawn', code);
    process.kill(first, 'SIGKILL');
    await app.until('the report', () => new RegExp(`cannot start the process of app_worker#3: .*os error ${os.constants.errno[code]}`).test(app.err));
    process.kill(agent, 'SIGKILL');
    await app.until('the report', () => new RegExp(`cannot start the process of agent_worker#2: .*os error ${os.constants.errno[code]}`).test(app.err));
    assert.strictEqual((await get(app.port)).json.pid, second);
    const before = app.mark();
    faults.set('spawn', null);
    await app.stdout(/app_worker#\d+:\d+ started at/, before);
    await app.stdout(/agent_worker#\d+:\d+ started/, before);
    assert.strictEqual((await app.workerPids()).length, 2);
    assert.ok(isAlive(second));
  });
}

ownOnly('it has no watchdog, and does not say that a reload is over', 'steps of the clock, forward and back, are nobody\'s fault', onLinux, async t => {
  const { app, faults } = await start(t, { options: { watchdog: { timeout: 2000, interval: 200 } } });
  const pids = await app.workerPids();
  const load = startLoad(app.port, { timeout: 60000 });
  t.after(() => load.stop());
  const HOUR = 3600;
  for (const seconds of [ HOUR, -HOUR, 10 * 365 * 24 * HOUR, -10 * 365 * 24 * HOUR, 0 ]) {
    faults.stepClock(seconds);
    const { now } = await app.ask('app', 'wallClock', {}, pids[0]);
    assert.ok(Math.abs(now / 1000 - Date.now() / 1000 - seconds) < 120, 'the clock is not off');
    const before = load.result.ok;
    assert.ok(await poll(() => load.result.ok > before + 50, 20000));
  }
  assert.deepStrictEqual(await app.workerPids(), pids);
  faults.stepClock(-HOUR);
  const before = app.mark();
  app.send({ to: 'master', action: 'reload-worker' });
  await app.stdout(/reload done/, before);
  const { errors } = await load.stop();
  assert.deepStrictEqual(errors, []);
  assert.doesNotMatch(app.out + app.err, /will be killed|has not answered/);
});
