'use strict';

// Nothing outlives a master that was killed, whatever it was doing.

const assert = require('assert');
const fs = require('fs');
const { ownOnly } = require('./helper/test');
const { isAlive, isGuardian, poll } = require('./helper/processes');

const REASON = 'a child that spins stays for ever, and so does what it has started';
const FOR_EVER = { ms: 600000 };
const skip = process.platform === 'linux' ? false : 'Linux only';
const production = { env: 'prod' };
const grace = { EGG_MASTER_CLOSE_TIMEOUT: '1500' };

const guardians = app => app.leftovers().filter(isGuardian);

async function oneGuardian(app) {
  assert.ok(await poll(() => guardians(app).length === 1, 10000), 'no guardian');
  return guardians(app)[0];
}

async function kill(app) {
  process.kill(app.pid, 'SIGKILL');
  assert.deepStrictEqual(await app.end(60000), { code: null, signal: 'SIGKILL' });
}

ownOnly(REASON, 'a spinning worker, its spinning child and a spinning agent are gone after a SIGKILL of the master', { skip }, async t => {
  const app = await t.ready({ options: { ...production, workers: 2 }, env: grace });
  const [ spinning, idle ] = await app.workerPids();
  const agent = await app.agentPid();
  const { pid: grandchild } = await app.ask('app', 'spawnSpinning', {}, spinning);
  const guardian = await oneGuardian(app);
  app.tell('app', 'busy', FOR_EVER, spinning);
  app.tell('agent', 'busy', FOR_EVER);
  await app.stdout(new RegExp(`app_worker#1:${spinning} has not answered for`));
  process.kill(app.pid, 'SIGKILL');
  // Who can leaves at once, in its own way.
  await app.stderr(/\[app_worker\] receive disconnect event in cluster fork mode, exitedAfterDisconnect:false/);
  assert.ok(await poll(() => !isAlive(idle), 10000));
  await app.noLeftovers(20000);
  for (const pid of [ spinning, grandchild, agent, guardian ]) assert.strictEqual(isAlive(pid), false);
});

ownOnly(REASON, 'what a worker has started is gone, too, where the worker itself leaves at once', { skip }, async t => {
  const app = await t.ready({ options: { ...production, workers: 2 }, env: grace });
  const pids = await app.workerPids();
  await oneGuardian(app);
  const children = [];
  for (const pid of pids) children.push((await app.ask('app', 'spawnSpinning', {}, pid)).pid);
  await kill(app);
  await app.noLeftovers(20000);
  for (const pid of children) assert.strictEqual(isAlive(pid), false);
});

ownOnly(REASON, 'nothing is left of masters that were killed at any moment of their start', { skip }, async t => {
  // The first kill hits before anything is forked, later ones while one or the other child boots or spins.
  for (let round = 0; round < 15; round++) {
    const app = await t.start({
      options: { ...production, workers: 2 }, env: grace,
      mini: { app: { byIndex: [ { busyAtBoot: 600000 }, { stubbornGrandchild: true } ] } },
    });
    const begun = round < 3 ? /node version/ : /agent_worker#1:\d+ start with/;
    await app.stdout(begun);
    await new Promise(resolve => setTimeout(resolve, Math.random() * 300));
    await kill(app);
    await app.noLeftovers(20000);
  }
});

ownOnly(REASON, 'a guardian that is killed is replaced by one that knows as much', { skip }, async t => {
  const app = await t.ready({ options: production, env: grace });
  const [ worker ] = await app.workerPids();
  const first = await oneGuardian(app);
  process.kill(first, 'SIGKILL');
  assert.ok(await poll(() => guardians(app).some(pid => pid !== first), 10000), 'no other guardian');
  assert.strictEqual(await oneGuardian(app) === first, false);
  app.tell('app', 'busy', FOR_EVER, worker);
  await app.stdout(new RegExp(`app_worker#1:${worker} has not answered for`));
  await kill(app);
  await app.noLeftovers(20000);
});

ownOnly(REASON, 'the guardian ends with its master, and signals for the process group do not concern it', { skip }, async t => {
  const app = await t.ready({ options: production });
  const guardian = await oneGuardian(app);
  for (const signal of [ 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT' ]) process.kill(guardian, signal);
  // In order with those above: had one of them ended it, it would be gone or another by now.
  await app.workerPids();
  assert.deepStrictEqual(guardians(app), [ guardian ]);
  // Nobody who waits for the end of stdout or of a port has to wait for it: all else are channels.
  const held = fs.readdirSync(`/proc/${guardian}/fd`).map(fd => fs.readlinkSync(`/proc/${guardian}/fd/${fd}`));
  assert.deepStrictEqual(held.slice(0, 3), [ '/dev/null', '/dev/null', '/dev/null' ]);
  assert.deepStrictEqual(held.slice(3).map(name => name.split(':')[0]), [ 'socket', 'socket', 'socket' ]);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  await app.noLeftovers();
  assert.strictEqual(app.err, '');
});
