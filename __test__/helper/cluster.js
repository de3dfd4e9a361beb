'use strict';

// Starts a master in a process of its own and lets a test await what it says and does.

const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawn } = require('child_process');
const { randomUUID } = require('crypto');
const { EventEmitter } = require('events');
const processes = require('./processes');
const { freePort } = require('./ports');

const root = path.join(__dirname, '../..');
const fixtures = path.join(__dirname, '../fixtures');
const target = process.env.CLUSTER_UNDER_TEST || path.join(root, 'index.js');
const clusterDir = directoryOf(target);
/** The original, for tests that run both side by side. */
const original = path.join(root, 'node_modules/egg-cluster');
const isReference = JSON.parse(fs.readFileSync(path.join(clusterDir, 'package.json'), 'utf8')).name === 'egg-cluster';

const DEADLINE = 20000;

// What the surroundings of the test run could change in a master.
const FOREIGN_ENV = /^(NODE_ENV|NODE_OPTIONS|NODE_TEST_CONTEXT|NODE_CLUSTER_SCHED_POLICY|NODE_UNIQUE_ID|HOST|PORT|FORCE_COLOR|COLORTERM|NO_DEPRECATION|EGG_.*|npm_.*)$/;

function directoryOf(file) {
  let dir = fs.statSync(file).isDirectory() ? file : path.dirname(file);
  while (!fs.existsSync(path.join(dir, 'package.json'))) dir = path.dirname(dir);
  return fs.realpathSync(dir);
}

function cleanEnv() {
  const env = {};
  for (const key of Object.keys(process.env)) {
    if (!FOREIGN_ENV.test(key) || key === processes.RUN_MARKER) env[key] = process.env[key];
  }
  return env;
}

class App extends EventEmitter {
  constructor(child, { marker, home, options }) {
    super();
    this.setMaxListeners(0);
    this.child = child;
    this.pid = child.pid;
    this.marker = marker;
    this.home = home;
    this.options = options;
    this.out = '';
    this.err = '';
    this.messages = [];
    this.exited = null;
    this.exitedAt = 0;
    this.ended = null;
    this.closedAt = 0;
    child.on('message', message => {
      this.messages.push(message);
      this.emit('progress');
    });
    child.once('exit', (code, signal) => {
      this.exited = { code, signal };
      this.exitedAt = Date.now();
      this.emit('progress');
    });
    this.watchEnd([ this.collect('out', child.stdout), this.collect('err', child.stderr) ]);
  }

  // Not `close` of the child: that never comes where the parent has called `disconnect`.
  async watchEnd(outputs) {
    const { child } = this;
    const ends = [ ...outputs, new Promise(resolve => child.once('exit', resolve)) ];
    if (child.channel) ends.push(new Promise(resolve => child.once('disconnect', resolve)));
    await Promise.all(ends);
    this.ended = this.exited;
    this.closedAt = Date.now();
    this.emit('progress');
  }

  collect(name, stream) {
    stream.setEncoding('utf8');
    stream.on('data', text => {
      this[name] += text;
      this.emit('progress');
    });
    return new Promise(resolve => stream.once('close', resolve));
  }

  get port() {
    return this.options.port;
  }

  /** The control socket. */
  get socket() {
    return this.options.control ? this.options.control.path : path.join(this.home, 'control.sock');
  }

  /** A point in the story so far; what is awaited from it on has to happen afterwards. */
  mark() {
    return { out: this.out.length, err: this.err.length, messages: this.messages.length };
  }

  /**
   * Resolves with the first truthy value of `probe()`, which is asked again whenever the master
   * has said something or has ended. By then all is read that the master had written before,
   * be it to stdout, stderr or its channel: two turns of the event loop see to that.
   */
  until(what, probe, deadline = DEADLINE) {
    return new Promise((resolve, reject) => {
      const finish = () => {
        clearTimeout(timer);
        this.removeListener('progress', ask);
      };
      const ask = () => {
        const value = probe();
        if (value) {
          finish();
          setImmediate(() => setImmediate(resolve, value));
        } else if (this.ended) {
          finish();
          reject(new Error(`the master ended (${JSON.stringify(this.ended)}) without ${what}`));
        }
      };
      const timer = setTimeout(() => {
        finish();
        reject(new Error(`not within ${deadline} ms: ${what}`));
      }, deadline);
      this.on('progress', ask);
      ask();
    });
  }

  stdout(regexp, since = { out: 0 }) {
    return this.until(`${regexp} on stdout`, () => regexp.exec(this.out.slice(since.out)));
  }

  stderr(regexp, since = { err: 0 }) {
    return this.until(`${regexp} on stderr`, () => regexp.exec(this.err.slice(since.err)));
  }

  /**
   * @param {string|Function} wanted an action, or a predicate
   * @param {object} [since] from `mark()`
   * @return {Promise<object>} the message to the parent
   */
  message(wanted, since = { messages: 0 }) {
    return this.until(`message ${wanted}`, () => this.messages.slice(since.messages).find(matcher(wanted)));
  }

  found(wanted, since = { messages: 0 }) {
    return this.messages.slice(since.messages).filter(matcher(wanted));
  }

  /** @return {Promise<object>} the data of the first `egg-ready` */
  async ready() {
    return (await this.message('egg-ready')).data;
  }

  /** What a start script has reported with `report({ type, … })`. */
  async report(type, since) {
    return (await this.message(m => m.action === 'test:report' && m.data.type === type, since)).data;
  }

  /** What a worker of the mini framework has received, as `{ role, pid, id, message }`. */
  async got(predicate, since) {
    return (await this.message(m => m.action === 'mini:got' && predicate(m.data), since)).data;
  }

  allGot(predicate, since) {
    return this.found(m => m.action === 'mini:got' && predicate(m.data), since).map(m => m.data);
  }

  send(message) {
    this.child.send(message);
  }

  /** Has workers of the mini framework do something that they may not be able to answer. */
  tell(to, name, args, pid) {
    const id = randomUUID();
    this.send({ action: 'mini:do', to, receiverPid: pid && String(pid), data: { id, name, args } });
    return id;
  }

  /** Has the agent or, by its pid, one app worker of the mini framework do something: its answer. */
  async ask(to, name, args, pid) {
    return (await this.askAll(1, to, name, args, pid))[0];
  }

  async askAll(count, to, name, args, pid) {
    const id = this.tell(to, name, args, pid);
    const isAnswer = m => m.action === 'mini:did' && m.data.id === id;
    const answers = await this.until(`${count} answer(s) to ${name} of ${to} ${pid || ''}`, () => {
      const seen = this.found(isAnswer);
      return seen.length >= count && seen;
    });
    return answers.map(({ data }) => {
      if (data.error) throw Object.assign(new Error(`${name}: ${data.error.message}`), data.error);
      return data.result;
    });
  }

  /** @return {Promise<number[]>} the pids of the app workers that answer, in the order of their ids */
  async workerPids(count = this.options.workers) {
    const infos = await this.askAll(count, 'app', 'info');
    return infos.sort((a, b) => a.id - b.id).map(info => info.pid);
  }

  async agentPid() {
    return (await this.ask('agent', 'info')).pid;
  }

  /** @return {Promise<{code, signal}>} when the master has ended and all of its stdout and stderr is read */
  end(deadline = DEADLINE) {
    return this.until('the end of the master', () => this.ended, deadline);
  }

  async close(signal = 'SIGTERM') {
    if (!this.exited) this.child.kill(signal);
    return this.end();
  }

  leftovers() {
    return processes.marked(processes.MASTER_MARKER, this.marker).filter(pid => pid !== this.pid || !this.exited);
  }

  /** @return {number[]} pids of the master and of all that it has started, but for its guardian */
  members() {
    return this.leftovers().filter(pid => !processes.isGuardian(pid));
  }

  /** Fails when a descendant of the ended master outlives it by more than a moment. */
  async noLeftovers(deadline = 10000) {
    const gone = await processes.poll(() => this.leftovers().length === 0, deadline);
    if (!gone) throw new Error(`left over: ${this.leftovers().map(processes.describe).join('; ')}`);
  }

  /** Ends the master and everything it has started, at once. */
  async destroy() {
    await processes.poll(() => {
      const pids = this.leftovers();
      pids.forEach(pid => processes.kill(pid, 'SIGKILL'));
      return pids.length === 0;
    }, 10000);
    fs.rmSync(this.home, { recursive: true, force: true, maxRetries: 3 });
  }

  transcript() {
    const messages = this.messages.map(m => JSON.stringify(m).slice(0, 300)).slice(-40).join('\n');
    return `--- stdout of master ${this.pid}\n${tail(this.out)}\n--- stderr\n${tail(this.err)}\n--- last messages\n${messages}`;
  }
}

function tail(text) {
  return text.length > 20000 ? `…${text.slice(-20000)}` : text;
}

function matcher(wanted) {
  return typeof wanted === 'function' ? m => Boolean(m) && wanted(m) : m => Boolean(m) && m.action === wanted;
}

/**
 * @param {object} [config]
 *  - {string} app a directory under fixtures/apps, default `mini`
 *  - {boolean} copy run the application from a copy, for frameworks that write into it
 *  - {object} options for startCluster, over `{ baseDir, framework, workers: 1, port: <free> }`
 *  - {object} mini switches of the mini framework: `{ app: {…}, agent: {…} }`
 *  - {object} env over the cleaned environment; undefined removes
 *  - {string[]} execArgv of the master
 *  - {string} script a file under fixtures/scripts that starts the cluster, with `scriptArgs`
 *  - {string} target another cluster than the one under test, a directory with `lib/master`, such as `original`
 *  - {boolean} ipc false: no channel between the test and the master
 *  - {number[]} fds passed to the master as 4, 5, …
 *  - {number[]} inherited passed to the master as 3, 4, …; its channel, and `fds`, come behind them
 *  - {string} command, {string[]} args another program than the start script
 *  - {string[]} wrapper a program, and its arguments, that the master is started by; the pid is that of the program
 * @return {Promise<App>} as soon as the process exists
 */
async function start(config = {}) {
  const marker = randomUUID();
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-')));
  const options = await fullOptions(config, home);
  const env = {
    ...cleanEnv(), HOME: home, EGG_HOME: home, MOCK_HOME_DIR: home, [processes.MASTER_MARKER]: marker,
    // Masters of one test application, which run at the same time, would meet in its directory.
    ...('control' in (config.options || {}) ? {} : { EGG_CLUSTER_RS_CONTROL: path.join(home, 'control.sock') }),
    ...config.env,
  };
  for (const key of Object.keys(env)) if (env[key] === undefined) delete env[key];
  const payload = JSON.stringify({
    target: config.target || target,
    clusterDir: config.target || clusterDir,
    options,
    script: config.script && path.join(fixtures, 'scripts', config.script),
    scriptArgs: config.scriptArgs,
  });
  const argv = config.args || [ ...(config.execArgv || []), path.join(__dirname, 'start-master.js'), payload ];
  const [ command, ...before ] = [ ...(config.wrapper || []), config.command || process.execPath ];
  const child = spawn(command, [ ...before, ...argv ], {
    cwd: config.cwd || root,
    env,
    stdio: [
      'ignore', 'pipe', 'pipe', ...(config.inherited || []), config.ipc === false ? 'ignore' : 'ipc', ...(config.fds || []),
    ],
  });
  return new App(child, { marker, home, options });
}

async function fullOptions({ app = 'mini', copy, options = {}, mini }, home) {
  const defaults = {
    baseDir: copy ? copyApp(app, home) : path.join(fixtures, 'apps', app),
    framework: path.join(fixtures, 'framework-mini'),
    workers: 1,
  };
  if (!('port' in options)) defaults.port = await freePort();
  return { ...defaults, ...(mini ? { mini } : {}), ...options };
}

/** A copy of an application, which finds the modules of this repository. */
function copyApp(name, home) {
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(home, 'node_modules'));
  return copyTo(path.join(fixtures, 'apps', name), path.join(home, name));
}

function copyTo(from, to) {
  fs.mkdirSync(to, { recursive: true });
  for (const entry of fs.readdirSync(from, { withFileTypes: true })) {
    const [ source, copy ] = [ path.join(from, entry.name), path.join(to, entry.name) ];
    if (entry.isDirectory()) copyTo(source, copy);
    else fs.copyFileSync(source, copy);
  }
  return to;
}

module.exports = { start, copyApp, App, root, fixtures, target, clusterDir, original, isReference, cleanEnv, DEADLINE };
