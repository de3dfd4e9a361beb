'use strict';

// One master under test, in a process of its own with a channel to here, as a starter of Egg has.

const { spawn } = require('child_process');
const fs = require('fs');
const net = require('net');
const path = require('path');
const { PEERS } = require('../../bench/lib/peers');
const { Ledger } = require('./ledger');
const { childrenRunning, holdings, isAlive, withEnvironment } = require('./processes');
const { now, until } = require('./time');

const CHAOS = path.resolve(__dirname, '..');
const LOGS = path.join(CHAOS, 'results', 'logs');
const STARTER = path.resolve(CHAOS, '../bench/lib/master.js');
const READY_TIMEOUT_MS = 30_000;
const GONE_TIMEOUT_MS = 3000;
/** Ports below those that the kernel gives to clients, so that no client's own connection takes the master's. */
const PORTS = { first: 20_000, last: 29_999 };
/** What a worker gets to finish, in ms. */
const GRACE_MS = 3000;
const WORKERS = 3;

/** Processes that run now, so that none outlives the harness. */
const running = new Set();
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')));

class Master {
  /**
   * @param {{name: string, label: string}} peer - one of bench/lib/peers
   * @param {{port: number, sticky: boolean, extra: Object, runName: string, starter?: string[], graceMs?: number}} setting - how to run
   *   it; `extra` are more options, `starter` is the script, after arguments of Node, `graceMs` what a worker gets to finish
   */
  constructor(peer, { port, sticky, extra, runName, starter = [ STARTER ], graceMs = GRACE_MS }) {
    this.port = port;
    const name = `${runName}-${peer.label.replace(/\W+/g, '-')}`;
    fs.mkdirSync(LOGS, { recursive: true });
    this.logFile = path.join(LOGS, `${name}.log`);
    const ledgerFile = path.join(LOGS, `${name}.${process.pid}.ledger`);
    this.ledger = new Ledger(ledgerFile);
    this.graceMs = graceMs;
    this.marker = `CHAOS_LEDGER=${ledgerFile}`;
    const options = {
      baseDir: path.join(CHAOS, 'fixture'), framework: path.join(CHAOS, 'fixture', 'framework'),
      port, sticky, workers: WORKERS, env: 'prod', ...extra,
    };
    this.child = this.#spawn(peer, options, ledgerFile, starter);
    this.pid = this.child.pid;
    /** `{code, signal, at}` once it has ended. */
    this.ended = null;
    this.exit = new Promise(resolve => this.child.once('exit', (code, signal) => {
      running.delete(this.child);
      this.ended = { code, signal, at: now() };
      resolve(this.ended);
    }));
  }

  #spawn(peer, options, ledgerFile, starter) {
    const log = fs.openSync(this.logFile, 'w');
    const child = spawn(process.execPath, [ ...starter, PEERS[peer.name].module, JSON.stringify(options) ], {
      cwd: path.resolve(CHAOS, '..'),
      env: { ...process.env, NODE_ENV: 'production', EGG_MASTER_CLOSE_TIMEOUT: String(this.graceMs), CHAOS_LEDGER: ledgerFile },
      stdio: [ 'ignore', log, log, 'ipc' ],
    });
    fs.closeSync(log);
    // Its channel breaks when it dies; `exit` tells.
    child.on('error', () => {});
    running.add(child);
    return child;
  }

  /** Resolves when it serves. */
  async ready() {
    let isReady = false;
    this.child.on('message', message => { isReady = isReady || message.action === 'egg-ready'; });
    await until(() => isReady || this.ended !== null, READY_TIMEOUT_MS);
    if (!isReady) throw new Error(`the master did not become ready; see ${this.logFile}`);
  }

  /** Sends an action to the master, as its parent. */
  tell(action) {
    if (this.child.connected) this.child.send({ to: 'master', action });
  }

  appWorkers() {
    return childrenRunning(this.pid, 'app_worker.js').filter(isAlive);
  }

  agents() {
    return childrenRunning(this.pid, 'agent_worker.js').filter(isAlive);
  }

  /** What it holds, as soon as that stands still. */
  async settledHoldings() {
    let last = holdings(this.pid);
    let still = 0;
    await until(() => {
      const next = this.ended ? last : holdings(this.pid);
      still = next.descriptors === last.descriptors ? still + 1 : 0;
      last = next;
      return still >= 10;
    }, GONE_TIMEOUT_MS);
    return last;
  }

  /** Ends it if it still runs. */
  async stop() {
    if (this.ended) return;
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 3 * this.graceMs);
    await this.exit;
    clearTimeout(timer);
  }

  /** Waits for its descendants to go; ends those that do not, and says how many they were. */
  async endLeftovers() {
    await until(() => withEnvironment(this.marker).length === 0, GONE_TIMEOUT_MS);
    const left = withEnvironment(this.marker);
    left.forEach(pid => process.kill(pid, 'SIGKILL'));
    return left.length;
  }
}

/**
 * @param {{name: string, label: string}} peer - who
 * @param {{sticky: boolean, extra: Object, runName: string, starter?: string[], graceMs?: number, random: Object}} setting - how
 * @return {Promise<Master>} one that serves
 */
async function startMaster(peer, { random, ...setting }) {
  const master = new Master(peer, { ...setting, port: await findPort(random) });
  try {
    await master.ready();
    return master;
  } catch (err) {
    await master.stop();
    await master.endLeftovers();
    throw err;
  }
}

async function findPort(random) {
  for (let i = 0; i < 50; i++) {
    const port = random.between(PORTS.first, PORTS.last);
    if (await canListen(port)) return port;
  }
  throw new Error(`found no free port between ${PORTS.first} and ${PORTS.last}`);
}

function canListen(port) {
  return new Promise(resolve => {
    const server = net.createServer();
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

module.exports = { startMaster, GRACE_MS, WORKERS };
