'use strict';

// The peers that are compared, and how one of them is started and ended.

const { spawn } = require('child_process');
const fs = require('fs');
const net = require('net');
const path = require('path');
const { preparePm2, prepareFloor, floorCommand } = require('./prepare');
const { childPids } = require('./proc');

const BENCH = path.resolve(__dirname, '..');
const LOGS = path.join(BENCH, 'results', 'logs');
const READY_TIMEOUT_MS = 30_000;
const CLOSE_TIMEOUT_MS = 10_000;

/**
 * The peers. `module`: what bench/lib/master.js is told; `command`: a program that is started in its place. What a peer can
 * do: `sticky`: has a sticky mode, `egg`: runs Egg applications, `boots`: only starts them, `serves`: answers connections at all. `prepare`: builds or
 * installs what it needs, see prepare.js.
 */
const PEERS = {
  'egg-cluster': { module: 'egg-cluster', sticky: true, egg: true, serves: true },
  'egg-cluster-rs': { module: path.resolve(BENCH, '..'), sticky: true, egg: true, serves: true },
  'node-cluster': { module: 'node-cluster', sticky: false, egg: false, serves: true },
  'node-cluster-none': { module: 'node-cluster-none', sticky: false, egg: false, serves: true },
  pm2: { module: 'pm2', prepare: preparePm2, sticky: false, egg: false, serves: true },
  floor: { command: floorCommand, prepare: prepareFloor, sticky: false, egg: false, serves: true },
  'floor-paced': {
    command: options => floorCommand(options, 'paced'), prepare: prepareFloor, sticky: false, egg: false, serves: true,
  },
  'bare-start': { module: 'bare-start', sticky: false, egg: false, boots: true, serves: false },
  'bare-node': { module: 'bare-node', sticky: false, egg: false, serves: false },
};

/** What every other peer is compared with, unless a goal names another. */
const BASELINE = 'egg-cluster';
const OURS = 'egg-cluster-rs';

/** The applications that peers can run. */
const FIXTURES = {
  minimal: { baseDir: path.join(BENCH, 'fixture'), framework: path.join(BENCH, 'fixture', 'framework') },
  relay: { baseDir: path.join(BENCH, 'fixture'), framework: path.join(BENCH, 'fixture', 'relay') },
  'relay-egg': { baseDir: path.join(BENCH, 'fixture'), framework: path.join(BENCH, 'fixture', 'relay-egg') },
  egg: { baseDir: path.join(BENCH, 'fixture', 'egg') },
};

/**
 * Makes peers ready to be started: builds and installs what only the benchmark needs.
 * @param {string[]} names - keys of PEERS; others are left for labelPeers to refuse
 * @return {string[]} the names without those that cannot take part here; a line on stderr says why
 */
function preparePeers(names) {
  const prepare = new Set(names.map(name => PEERS[name] && PEERS[name].prepare).filter(Boolean));
  const missing = new Map([ ...prepare ].map(one => [ one, one() ]));
  return names.filter(name => {
    const why = PEERS[name] && missing.get(PEERS[name].prepare);
    if (why) console.error(`  ${name} is left out: ${why}`);
    return !why;
  });
}

/** Masters that run now, so that none outlives the benchmark. */
const running = new Set();
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')));

/** A master that serves. */
class RunningMaster {
  constructor(child, { label, port, readyMs, logFile }) {
    this.child = child;
    this.label = label;
    /** From the start of its process until it served. */
    this.readyMs = readyMs;
    /** The path of what it and its children print. */
    this.logFile = logFile;
    /** TCP port on which it serves. */
    this.port = port;
    this.pid = child.pid;
    /** Process ids of its agent and workers. */
    this.children = childPids(child.pid);
  }

  /** Ends it with SIGTERM, after 10 s with SIGKILL, and resolves when it is gone. */
  async stop() {
    const gone = new Promise(resolve => this.child.once('exit', resolve));
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), CLOSE_TIMEOUT_MS);
    await gone;
    clearTimeout(timer);
  }
}

/**
 * Starts one peer's master and waits until it serves.
 * @param {{name: string, label: string}} peer - name of PEERS, and how this run calls it
 * @param {Object} setting - what to run
 * @param {number} setting.workers - how many app workers
 * @param {string|{baseDir: string, framework?: string}} [setting.fixture] - a name of FIXTURES, or an application of the suite's own
 * @param {Object} [setting.options] - further options of startCluster, and of Node's own cluster
 * @param {Object} [setting.env] - further variables of its environment
 * @return {Promise<RunningMaster>} the master
 */
async function startMaster(peer, { workers, fixture = 'minimal', options: further = {}, env = {} }) {
  const port = await freePort();
  const application = typeof fixture === 'string' ? FIXTURES[fixture] : fixture;
  const options = { ...application, port, workers, env: 'prod', ...further };
  fs.mkdirSync(LOGS, { recursive: true });
  const logFile = path.join(LOGS, `${peer.label.replace(/\W+/g, '-')}.log`);
  const log = fs.openSync(logFile, 'w');
  const { command, args, env: needed } = commandOf(PEERS[peer.name], options);
  const begin = process.hrtime.bigint();
  const child = spawn(command, args, {
    cwd: path.resolve(BENCH, '..'),
    env: { ...process.env, NODE_ENV: 'production', EGG_MASTER_CLOSE_TIMEOUT: '3000', ...needed, ...env },
    stdio: [ 'ignore', log, log, 'ipc' ],
  });
  fs.closeSync(log);
  running.add(child);
  child.once('exit', () => running.delete(child));
  await untilReady(child, peer.label, logFile);
  const readyMs = Number(process.hrtime.bigint() - begin) / 1e6;
  return new RunningMaster(child, { label: peer.label, port, readyMs, logFile });
}

function commandOf({ module, command }, options) {
  if (command) return command(options);
  return { command: process.execPath, args: [ path.join(__dirname, 'master.js'), module, JSON.stringify(options) ] };
}

function untilReady(child, label, logFile) {
  return new Promise((resolve, reject) => {
    const fail = why => {
      child.kill('SIGKILL');
      reject(new Error(`the master of ${label} ${why}; its log, ${logFile}, ends:\n${tail(logFile)}`));
    };
    const timer = setTimeout(() => fail(`was not ready after ${READY_TIMEOUT_MS} ms`), READY_TIMEOUT_MS);
    const onExit = (code, signal) => {
      clearTimeout(timer);
      fail(`ended during start (${signal || `exit code ${code}`})`);
    };
    child.once('exit', onExit);
    child.on('message', message => {
      if (!message || message.action !== 'egg-ready') return;
      clearTimeout(timer);
      child.removeListener('exit', onExit);
      resolve();
    });
  });
}

function tail(file) {
  return fs.readFileSync(file, 'utf8').split('\n').slice(-15).join('\n');
}

/** A port that was free a moment ago. */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/**
 * Gives each peer of a list its own label: a name given twice (to see the noise of the measurement) is numbered.
 * @param {string[]} names - keys of PEERS
 * @return {Array<{name: string, label: string}>} the peers
 */
function labelPeers(names) {
  const seen = {};
  return names.map(name => {
    if (!PEERS[name]) throw new Error(`no peer is called ${name}; there are ${Object.keys(PEERS).join(', ')}`);
    seen[name] = (seen[name] || 0) + 1;
    return { name, label: seen[name] > 1 ? `${name} (${seen[name]})` : name };
  });
}

module.exports = { PEERS, BASELINE, OURS, FIXTURES, startMaster, preparePeers, labelPeers };
