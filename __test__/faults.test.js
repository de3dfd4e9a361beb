'use strict';

// Faults of the machine: no descriptors, no room on a disk, processes that are stopped, output that
// nobody takes.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { execFileSync, spawnSync } = require('child_process');
const { test, ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { fillFlight } = require('./helper/in_flight');
const { startLoad } = require('./helper/load');
const cgroup = require('./helper/cgroup');
const { kill, poll } = require('./helper/processes');

const production = { env: 'prod' };
const isLinux = process.platform === 'linux';
const needsLinux = isLinux ? false : 'Linux only';

function has(command, ...args) {
  return isLinux && spawnSync(command, args, { stdio: 'ignore' }).status === 0;
}

function limitDescriptors(pid, limit) {
  execFileSync('prlimit', [ '--pid', String(pid), `--nofile=${limit}:` ]);
}

/** How often the core thread of a master has been woken so far. */
function wakeUps(pid) {
  const tasks = fs.readdirSync(`/proc/${pid}/task`).map(tid => `/proc/${pid}/task/${tid}`);
  const core = tasks.find(task => fs.readFileSync(`${task}/comm`, 'utf8') === 'egg-cluster\n');
  return Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(fs.readFileSync(`${core}/status`, 'utf8'))[1]);
}

ownOnly(
  'the primary of Node spins until it has a descriptor again',
  'out of descriptors, the master rests between its tries, and serves all who wait when it has some again',
  { skip: has('prlimit', '--version') ? false : 'needs prlimit' },
  async t => {
    const app = await t.ready({ options: { ...production, workers: 2 } });
    const [ , limit ] = /^Max open files\s+(\d+)/m.exec(fs.readFileSync(`/proc/${app.pid}/limits`, 'utf8'));
    const refused = /\[master\] cannot accept new connections for the moment: EMFILE/g;
    const count = () => (app.out.match(refused) || []).length;
    limitDescriptors(app.pid, 3);
    const clients = Array.from({ length: 50 }, () => get(app.port, '/', { timeout: 60000 }));
    const answers = Promise.all(clients);
    // Were they never awaited, one that fails would be an error of its own.
    answers.catch(() => {});
    await app.until('the first refusal', () => count() > 0);
    const [ tries, woken ] = [ count(), wakeUps(app.pid) ];
    await app.until('20 more tries', () => count() >= tries + 20);
    const perTry = (wakeUps(app.pid) - woken) / (count() - tries);
    assert.ok(perTry < 20, `woken ${perTry} times for each try to accept`);
    limitDescriptors(app.pid, limit);
    for (const { status } of await answers) assert.strictEqual(status, 200);
    assert.strictEqual((await get(app.port)).status, 200);
  });

/** A root without rights: the kernel exempts those who have them from the limit. */
const WITHOUT_RIGHTS = isLinux && process.getuid() === 0 ? [ 'setpriv', '--inh-caps=-all', '--bounding-set=-all' ] : [];

ownOnly(
  'it tries once',
  'while the user has too many descriptors in flight (ETOOMANYREFS), connections wait, and are served then',
  { skip: has('prlimit', '--version') && (WITHOUT_RIGHTS.length === 0 || has(...WITHOUT_RIGHTS, 'true')) ? false : 'needs prlimit, and as root setpriv' },
  async t => {
    const app = await t.ready({
      options: { ...production, workers: 2, watchdog: { timeout: 1500, interval: 200 } }, wrapper: WITHOUT_RIGHTS, env: { EGG_CLUSTER_RS_LOG: 'egg_cluster_rs::ipc=debug' },
    });
    const pids = await app.workerPids();
    const flight = fillFlight();
    t.after(() => flight.release());
    const limit = 100;
    assert.ok(flight.count > limit, `only ${flight.count} descriptors are in flight`);
    limitDescriptors(app.pid, limit);
    const clients = Promise.all(Array.from({ length: 20 }, () => get(app.port, '/', { timeout: 60000 })));
    clients.catch(() => {});
    const refusals = () => app.err.split('a channel cannot be written for the moment').length - 1;
    // There is a pause of 10 ms after each: that is longer than a worker may be silent.
    await app.until('250 refusals', () => refusals() >= 250);
    await flight.release();
    for (const { status } of await clients) assert.strictEqual(status, 200);
    assert.deepStrictEqual(await app.workerPids(), pids);
    assert.doesNotMatch(app.out + app.err, /died|will be killed|has not answered/);
  });

test(
  'a worker for which a control group has no memory is ended by the kernel, and replaced',
  { skip: cgroup.skipReason('memory') },
  async t => {
    const app = await t.ready({ options: { ...production, workers: 2 }, wrapper: cgroup.enter(t, 'memory', 400 << 20) });
    const [ first, second ] = await app.workerPids();
    const agent = await app.agentPid();
    const before = app.mark();
    app.tell('app', 'fillMemory', {}, first);
    await app.stderr(new RegExp(`app_worker#1:${first} died \\(code: [^,]+, signal: SIGKILL`));
    await app.stdout(/app_worker#3:\d+ started at/, before);
    assert.strictEqual(await app.agentPid(), agent);
    assert.ok((await app.workerPids()).includes(second));
    assert.strictEqual((await get(app.port)).status, 200);
  });

test('a worker that gets no memory from the system (RLIMIT_DATA) ends, and is replaced', { skip: has('prlimit', '--version') ? false : 'needs prlimit' }, async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const [ first, second ] = await app.workerPids();
  execFileSync('prlimit', [ '--pid', String(first), `--data=${600 << 20}` ]);
  const before = app.mark();
  app.tell('app', 'fillMemory', {}, first);
  await app.stderr(new RegExp(`app_worker#1:${first} died`));
  await app.stdout(/app_worker#3:\d+ started at/, before);
  assert.ok((await app.workerPids()).includes(second));
  assert.strictEqual((await get(app.port)).status, 200);
});

for (const when of [ 'before the start', 'at run time' ]) {
  ownOnly('the first line that cannot be written ends it', `output that nobody can read any more, lost ${when}, does not end the master`, { skip: needsLinux }, async t => {
    const app = await t.start({ options: { ...production, workers: 2 } });
    const lose = () => [ app.child.stdout, app.child.stderr ].forEach(stream => stream.destroy());
    if (when === 'before the start') lose();
    await app.ready();
    lose();
    const [ first ] = await app.workerPids();
    const before = app.mark();
    process.kill(first, 'SIGKILL');
    await app.message('app-worker-died', before);
    // The successor says so to the agent.
    await app.got(({ role, message }) => role === 'agent' && message.action === 'egg-pids' &&
      message.data.length === 2 && !message.data.includes(first), before);
    assert.strictEqual((await get(app.port)).status, 200);
    assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  });
}

ownOnly(
  'its event loop waits for the pipe',
  'while nobody reads its output, connections are served and dead workers replaced',
  { skip: needsLinux },
  async t => {
    const app = await t.ready({ options: { ...production, workers: 2 } });
    const [ first, second ] = await app.workerPids();
    app.child.stdout.pause();
    // The worker fills the pipe and waits for it for ever; so does the master with its next line.
    app.tell('app', 'print', { bytes: 1 << 22 }, first);
    process.kill(second, 'SIGKILL');
    let successor;
    assert.ok(await poll(async () => {
      const { json } = await get(app.port).catch(() => ({ json: {} }));
      successor = json.pid;
      return successor && successor !== first && successor !== second;
    }, 20000), 'no successor serves');
    assert.doesNotMatch(app.out, new RegExp(`:${successor} `));
    app.child.stdout.resume();
    await app.stdout(new RegExp(`app_worker#3:${successor} started at`));
  });

ownOnly('its event loop waits for the disk\'s error', 'a full disk under its output does not end the master', { skip: needsLinux }, async t => {
  const app = await t.ready({ options: { ...production, workers: 1 }, wrapper: [ 'sh', '-c', 'exec "$@" >/dev/full 2>&1', 'sh' ] });
  const [ worker ] = await app.workerPids();
  const before = app.mark();
  process.kill(worker, 'SIGKILL');
  await app.message('app-worker-died', before);
  assert.strictEqual((await get(app.port)).status, 200);
});

ownOnly('it leaves the file', 'a pid file for which there is no room is an error, and nothing is started', { skip: needsLinux }, async t => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-full-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const pidFile = path.join(dir, 'master.pid');
  // Whatever removes it removes the link.
  fs.symlinkSync('/dev/full', pidFile);
  const app = await t.start({ options: { pidFile } });
  const { error } = await app.report('thrown');
  assert.strictEqual(error.code, 'ENOSPC');
  assert.strictEqual(error.message, `options.pidFile: cannot write ${pidFile}: ENOSPC: no space left on device, write`);
  assert.deepStrictEqual(await app.end(), { code: 99, signal: null });
  assert.deepStrictEqual(fs.readdirSync(dir), []);
  assert.ok(fs.statSync('/dev/full').isCharacterDevice());
  assert.doesNotMatch(app.out, /agent_worker/);
});

ownOnly('it has no watchdog', 'a master that is stopped for longer than workers may be silent blames nobody for it', { skip: needsLinux }, async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { timeout: 1500, interval: 200 } } });
  const pids = await app.workerPids();
  const load = startLoad(app.port, { timeout: 60000 });
  t.after(() => load.stop());
  assert.ok(await poll(() => load.result.ok > 20, 20000));
  process.kill(app.pid, 'SIGSTOP');
  t.after(() => kill(app.pid, 'SIGCONT'));
  // That is the fault: time passes for all others.
  await new Promise(resolve => setTimeout(resolve, 4000));
  const before = load.result.ok;
  process.kill(app.pid, 'SIGCONT');
  assert.ok(await poll(() => load.result.ok > before + 100, 20000));
  // A watchdog that went by the time of the others would have killed them by its next look.
  await new Promise(resolve => setTimeout(resolve, 1000));
  const { errors } = await load.stop();
  assert.deepStrictEqual(errors, []);
  assert.deepStrictEqual(await app.workerPids(), pids);
  assert.doesNotMatch(app.out + app.err, /will be killed|died/);
});

ownOnly('it waits for it', 'a worker that is stopped gets nothing new, and goes on when it is continued in time', { skip: needsLinux }, async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { timeout: 60000, interval: 200 } } });
  const [ stopped, other ] = await app.workerPids();
  process.kill(stopped, 'SIGSTOP');
  await app.stdout(new RegExp(`app_worker#1:${stopped} has not answered for \\d+ms, new connections go to others`));
  const load = startLoad(app.port);
  t.after(() => load.stop());
  assert.ok(await poll(() => load.result.ok > 50, 20000));
  const { served, errors } = await load.stop();
  assert.deepStrictEqual(errors, []);
  assert.deepStrictEqual(Object.keys(served), [ String(other) ]);
  process.kill(stopped, 'SIGCONT');
  await app.stdout(new RegExp(`app_worker#1:${stopped} answers again after`));
  assert.ok(await poll(async () => (await get(app.port)).json.pid === stopped, 20000));
});

ownOnly('it waits for it', 'a worker that stays stopped is replaced', { skip: needsLinux }, async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { timeout: 2000, interval: 200 } } });
  const [ stopped ] = await app.workerPids();
  process.kill(stopped, 'SIGSTOP');
  await app.stderr(new RegExp(`app_worker#1:${stopped} has not answered for \\d+ms and will be killed`));
  await app.stderr(new RegExp(`app_worker#1:${stopped} died \\(code: null, signal: SIGKILL`));
  await app.stdout(/app_worker#3:\d+ started at/);
});

const moments = {
  'while the agent starts': { when: app => app.stdout(/agent_worker#1:\d+ start with/) },
  'while the workers start': { when: app => app.stdout(/app_worker#1:\d+ start, state/) },
  'at run time': { when: app => app.ready() },
  'while it closes': { when: app => app.ready(), closing: true },
};

for (const [ moment, { when, closing } ] of Object.entries(moments)) {
  test(`a parent that closes its channel ${moment} changes nothing else`, async t => {
    const app = await t.start({ options: { ...production, workers: 2 }, mini: { app: { closeDelay: 300, readyDelay: 300 } } });
    await when(app);
    if (closing) {
      process.kill(app.pid, 'SIGTERM');
      await app.stdout(/\[mini\] app \d+ closing/);
    }
    app.child.disconnect();
    if (!closing) {
      await app.stdout(/framework-mini started on/);
      assert.strictEqual((await get(app.port)).status, 200);
    }
    assert.deepStrictEqual(closing ? await app.end() : await app.close(), { code: 0, signal: null });
    assert.strictEqual(app.err, '');
  });
}

const NAMESPACE = [ 'unshare', ...(isLinux && process.getuid() ? [ '--user', '--map-root-user' ] : []), '--pid', '--fork', '--kill-child', '--mount-proc' ];

function childrenOf(pid) {
  const isChild = entry => /^\d+$/.test(entry) && statusOf(entry, 'PPid') === String(pid);
  return fs.readdirSync('/proc').filter(isChild).map(Number);
}

function statusOf(pid, field) {
  try {
    const match = new RegExp(`^${field}:\\s+(.*)$`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
    return match && match[1];
  } catch (_) {
    return null;
  }
}

ownOnly(
  'zombies of what its workers have started stay for ever',
  'as the first process of a container the master reaps orphans of its workers, and closes at SIGTERM',
  { skip: has(...NAMESPACE, 'true') ? false : 'needs the right to make a PID namespace' },
  async t => {
    const app = await t.ready({ options: { ...production, workers: 2 }, wrapper: NAMESPACE });
    const [ master ] = childrenOf(app.pid);
    assert.strictEqual(statusOf(master, 'NSpid').split('\t').pop(), '1');
    const inside = await app.ask('agent', 'orphan');
    const orphan = childrenOf(master).find(pid => statusOf(pid, 'NSpid').split('\t').pop() === String(inside));
    assert.strictEqual(statusOf(orphan, 'Name'), 'sleep');
    process.kill(orphan, 'SIGKILL');
    assert.ok(await poll(() => statusOf(orphan, 'Name') === null, 20000), `${orphan} is ${statusOf(orphan, 'State')}`);
    // What ends in the meantime and belongs to somebody else has its status still.
    const before = app.mark();
    const worker = childrenOf(master).find(pid => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('app_worker.js'));
    process.kill(worker, 'SIGKILL');
    await app.message('app-worker-died', before);
    await app.stderr(/died \(code: null, signal: SIGKILL/);
    process.kill(master, 'SIGTERM');
    assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
    await app.stdout(/\[master\] close done, exiting with code:0/);
  });
