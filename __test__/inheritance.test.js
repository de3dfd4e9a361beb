'use strict';

// What a child process gets from the master: nothing that is not its own. And who may use the files that are made.

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { once } = require('events');
const { ownOnly } = require('./helper/test');
const { freePort } = require('./helper/ports');
const { poll } = require('./helper/processes');

const onLinux = { skip: process.platform !== 'linux' && 'reads /proc' };

const inherited = new Set(onLinux.skip ? [] : fs.readdirSync('/proc/self/fd').map(number => {
  try {
    return fs.readlinkSync(`/proc/self/fd/${number}`);
  } catch (_) {
    // The listing's own.
    return '';
  }
}));

/** number -> what it is, of descriptors above 2 that can be told apart from others of their kind. */
function descriptors(pid) {
  const found = new Map();
  for (const number of fs.readdirSync(`/proc/${pid}/fd`).map(Number)) {
    let target = '';
    try {
      target = fs.readlinkSync(`/proc/${pid}/fd/${number}`);
    } catch (_) {
      // Closed meanwhile.
    }
    // What the test itself was given goes down to the last process: it is not the master's.
    const isOne = !inherited.has(target) && (/^(socket|pipe):/.test(target) || target.startsWith('/') && !target.startsWith('/dev/'));
    if (number > 2 && isOne) found.set(number, target);
  }
  return found;
}

/** What two of these processes have both. */
function shared(pids) {
  const all = pids.flatMap(pid => [ ...descriptors(pid) ].map(([ number, target ]) => ({ pid, number, target })));
  return all.filter(one => all.some(other => other.pid !== one.pid && other.target === one.target));
}

const environment = pid => fs.readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').filter(Boolean);

ownOnly('the agent is given copies', 'workers and agent share no descriptor but 0 to 2 with the master or each other', onLinux, async t => {
  const app = await t.ready({ options: { workers: 2, pidFile: path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-pid-')), 'master.pid') } });
  t.after(() => fs.rmSync(path.dirname(app.options.pidFile), { recursive: true, force: true }));
  // A connection that a worker holds while another is forked.
  const client = net.connect(app.port, '127.0.0.1');
  t.after(() => client.destroy());
  await once(client, 'connect');
  const workers = await app.workerPids();
  const pids = [ app.pid, await app.agentPid(), ...workers ];
  for (const pid of pids.slice(1)) assert.match(descriptors(pid).get(3) || '', /^socket:/, 'the channel is descriptor 3');
  // The master keeps its duplicate of the connection for a moment.
  await poll(() => shared(pids).length === 0, 5000);
  assert.deepStrictEqual(shared(pids), []);
});

ownOnly('names are passed on', 'the environment of a child is that of the master and what is its own, each name once', onLinux, async t => {
  const port = await freePort();
  const foreign = { CFORK_WORKER_INDEX: '9', CFORK_WORKER_COUNT: '9', EGG_CLUSTER_RS_WORKER: '1', SECRET_OF_THE_MASTER: 'passed on' };
  const app = await t.ready({ options: { workers: 1, port }, env: foreign });
  const [ worker ] = await app.workerPids();
  const agent = await app.agentPid();
  const masters = new Set(environment(app.pid));
  const common = [ 'NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE', 'EGG_CLUSTER_RS_GUARDED_BY' ];
  for (const [ pid, own ] of [
    [ agent, common ],
    [ worker, [ ...common, 'NODE_UNIQUE_ID', 'CFORK_WORKER_INDEX', 'CFORK_WORKER_COUNT', 'EGG_CLUSTER_RS_WORKER' ] ],
  ]) {
    const entries = environment(pid);
    const names = entries.map(entry => entry.split('=')[0]);
    assert.deepStrictEqual(names.filter((name, at) => names.indexOf(name) !== at), []);
    const added = entries.filter(entry => !masters.has(entry)).map(entry => entry.split('=')[0]);
    assert.deepStrictEqual(added.filter(name => !own.includes(name)), []);
    assert.ok(own.every(name => names.includes(name)), `${own} in ${names}`);
    assert.ok(entries.includes('SECRET_OF_THE_MASTER=passed on'));
  }
  assert.ok(environment(worker).includes('CFORK_WORKER_INDEX=0'));
});

ownOnly('not looked at', 'the pid file and the file of a unix socket have the modes that the umask leaves', async t => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-modes-'));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const mode = file => (fs.statSync(file).mode & 0o777).toString(8);
  const left = full => (full & ~process.umask()).toString(8);
  const app = await t.ready({ app: 'protocol', options: { workers: 1, pidFile: path.join(home, 'run/master.pid') } });
  assert.strictEqual(mode(path.join(home, 'run/master.pid')), left(0o666));
  assert.strictEqual(mode(path.join(home, 'run')), left(0o777));
  const socket = name => path.join(home, name);
  await app.ask('app', 'listen', { name: 'own', where: { path: socket('own') } });
  assert.strictEqual(mode(socket('own')), left(0o777));
  await app.ask('app', 'listen', { name: 'all', where: { path: socket('all'), writableAll: true } });
  assert.strictEqual(mode(socket('all')), (parseInt(left(0o777), 8) | 0o222).toString(8));
});
