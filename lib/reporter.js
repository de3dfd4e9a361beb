'use strict';

/**
 * Turns the events of the native master into the log lines of egg-cluster and cfork.
 * Tools wait for many of them, so their texts are an interface.
 *
 * Lines with `[cfork:master:PID]` go straight to stdout and stderr, all others through
 * the logger of the master.
 */

const util = require('util');
const errnoName = require('./errno_name');
const { describeAsker } = require('./asker');

class Reporter {
  /**
   * @param {Object} context
   * @param {Object} context.logger - has `info`, `warn`, `error`
   * @param {function(...*): void} context.log - for lines that are of interest in development only at level DEBUG
   * @param {Object} context.options - the options of the master
   * @param {string} context.frameworkName
   * @param {{info: Function, error: Function}} [context.console] - for cfork's lines
   * @param {Object} [context.lines] - lines by event type that go before those of this file
   * @param {number} [context.pid] - of the master
   */
  constructor({ logger, log, options, frameworkName, console = global.console, lines = {}, pid = process.pid }) {
    this.logger = logger;
    this.log = log;
    this.options = options;
    this.frameworkName = frameworkName;
    this.console = console;
    this.pid = pid;
    this.lines = { ...LINES, ...lines };
    /** How many app workers have lost their channel; cfork's lines tell it. */
    this.disconnects = 0;
    /** The pids whose closed channel was reported as "no refork", until their exit is reported so, too. */
    this.leaving = new Set();
  }

  /** @param {Object} event - one event of the native master */
  report(event) {
    const line = this.lines[event.type];
    if (line) line(this, event);
  }

  /** What cfork prints for an exception that nobody else handles. */
  uncaughtException(err) {
    if (!err) return;
    this.#cfork('error', 'master uncaughtException: %s', err.stack);
    this.console.error(err);
    this.console.error('(total %d disconnect, %d unexpected exit)', this.disconnects, 0);
  }

  /** A signal has come, and this is who has sent it; null where that is not known. */
  signal(signal, sender) {
    if (sender !== null) this.logger.info('[master] signal %s was sent by %s', signal, describeAsker(sender));
  }

  /** The last lines of the process. */
  exit(code, reason) {
    const level = code === 0 ? 'info' : 'error';
    this.logger[level]('[master] the reason of the exit: %s', reason);
    this.logger[level]('[master] exit with code:%s', code);
  }

  cforkInfo(format, ...args) {
    this.#cfork('info', format, ...args);
  }

  cforkError(format, ...args) {
    this.#cfork('error', format, ...args);
  }

  #cfork(method, format, ...args) {
    this.console[method](`[%s] [cfork:master:%s] ${format}`, logDate(), this.pid, ...args);
  }
}

/** Event type -> (reporter, event) -> lines. Types that are missing here have no line. */
const LINES = {
  'agent-forked': (r, { id, pid }) =>
    r.log('[master] agent_worker#%s:%s start with clusterPort:%s', id, pid, r.options.clusterPort),
  'agent-started': (r, { id, pid, elapsedMs }) =>
    r.logger.info('[master] agent_worker#%s:%s started (%sms)', id, pid, elapsedMs),
  'agent-exited': reportAgentExited,
  'agent-restarting': r => r.logger.info('[master] new agent_worker starting...'),

  'apps-forking': r =>
    r.log('[master] start appWorker with args %j (process)', [ JSON.stringify(r.options) ]),
  'app-forked': reportAppForked,
  'app-listening': (r, { id, pid, address, reusePort }) =>
    r.logger.info(`[master] app_worker#%s:%s ${reusePort ? 'reuse-port ' : ''}listening on %j`, id, pid, address),
  'app-started': (r, { id, pid, address, remain, elapsedMs }) =>
    r.log('[master] app_worker#%s:%s started at %s, remain %s (%sms)', id, pid, address.port, remain, elapsedMs),
  'app-disconnected': reportAppDisconnected,
  'app-exited': reportAppExited,

  'restart-limit': r =>
    r.cforkError('worker died too fast (total %d disconnect, %d unexpected exit)', r.disconnects, 0),
  'gave-up': (r, { noneReadyMs, code }) =>
    r.logger.error(
      '[master] no app worker has been ready for %sms and restarts do not help, giving up, exiting with code:%s',
      noneReadyMs, code),
  'stuck': (r, event) =>
    r.logger.warn('[master] %s has not answered for %sms%s', childName(event), event.silentMs,
      event.role === 'app' ? ', new connections go to others' : ''),
  'recovered': (r, event) =>
    r.logger.warn('[master] %s answers again after %sms', childName(event), event.silentMs),
  'hung': (r, event) =>
    r.logger.error('[master] %s %s %sms%s', childName(event),
      event.booting ? 'is not ready after' : 'has not answered for', event.silentMs,
      event.killed ? ' and will be killed' : ''),
  'worker-hangs': reportHang,

  'spawn-failed': (r, event) =>
    r.logger.error('[master] cannot start the process of %s#%s: %s', roleName(event.role), event.id, event.reason),
  'ready': reportReady,
  'listen-failed': (r, { port, errno }) =>
    r.logger.error('[master] cannot listen on port %s: %s', port, errnoName(errno)),
  'handed-on': (r, { id, pid, connections }) =>
    r.log('[master] app_worker#%s:%s had not taken %s %s, others get %s', id, pid, connections,
      connections === 1 ? 'connection' : 'connections', connections === 1 ? 'it' : 'them'),
  'held-too-long': (r, { connections, timeoutMs }) =>
    r.logger.warn('[master] %s %s closed, no worker has taken %s within %sms', connections,
      connections === 1 ? 'connection was' : 'connections were', connections === 1 ? 'it' : 'them', timeoutMs),
  'accept-failed': (r, { errno }) =>
    r.logger.warn('[master] cannot accept new connections for the moment: %s', errnoName(errno)),

  'reload-started': (r, { slot }) => (isSlot(slot)
    ? r.log('[master] restart the worker of slot %s...', slot)
    : r.log('[master] reload workers...')),
  'reloading-agent': r => r.log('[master] reload agent_worker...'),
  'agent-replaced': (r, { id, pid, code, signal }) =>
    r.log('[master] agent_worker#%s:%s ended for the reload (code: %s, signal: %s)', id, pid, code, signal),
  'reload-done': (r, { elapsedMs, slot }) =>
    r.log('[master] %s done (%sms)', isSlot(slot) ? `restart of slot ${slot}` : 'reload', elapsedMs),
  'reload-failed': (r, { reason, slot }) =>
    r.logger.error('[master] %s failed, the old workers go on serving: %s',
      isSlot(slot) ? `restart of slot ${slot}` : 'reload', reason),
  'asked': (r, { request, ...asker }) =>
    r.logger.info('[master] %s is asked for through the control socket by %s', request, describeAsker(asker)),
  'scaled': (r, { from, to }) => r.logger.info('[master] scale app workers from %s to %s', from, to),
  'paused': r => r.logger.warn('[master] paused: new connections wait in the queue of the kernel'),
  'resumed': r => r.logger.warn('[master] resumed: new connections are accepted again'),
  'control-ready': (r, { tcp }) => {
    if (tcp) r.logger.info('[master] probes and metrics on http://%s', tcp);
  },
  'control-failed': (r, { reason }) => r.logger.warn('[master] control socket: %s', reason),
  'socket-taken': (r, { socket }) => r.logger.info('[master] listens by the socket that it was started with: %s', socket),
  'socket-ignored': (r, { fd, name, reason }) =>
    r.logger.warn('[master] descriptor %s%s of LISTEN_FDS is ignored: %s', fd, name ? ` (${name})` : '', reason),
  'sockets-unused': (r, { sockets }) =>
    r.logger.warn('[master] nobody listens on what the master was started with (LISTEN_FDS): %s', sockets.join(', ')),
  'notify-failed': (r, { socket, reason }) =>
    r.logger.warn('[master] the service manager cannot be told anything at %s (NOTIFY_SOCKET): %s', socket, reason),

  'bad-message': (r, event) =>
    r.logger.warn('[master] %s sent a message that is ignored: %s', childName(event), event.reason),
  'unresponsive': (r, event) =>
    r.logger.error('[master] %s does not read its messages any more and will be killed', childName(event)),
  'parent-deaf': r =>
    r.logger.warn('[master] the parent does not read its messages any more, those of workers are dropped until it does'),
  'parent-reads': (r, { dropped }) => r.logger.warn('[master] the parent reads again, %s messages to it were dropped', dropped),
  'check-failed': reportCheckFailed,
  'killed': (r, event) =>
    r.logger.warn(event.exited
      ? '[master] descendants of %s did not exit in time and were killed'
      : '[master] %s did not exit in time and was killed, with its descendants', childName(event)),

  'closing-apps': (r, { timeoutMs }) => reportClosing(r, 'app workers', timeoutMs),
  'closing-agent': (r, { timeoutMs, alive }) => {
    reportClosing(r, 'agent worker', timeoutMs);
    if (alive) r.log('[master] kill agent worker with signal SIGTERM');
  },
  'closed': (r, { code }) => {
    if (code === 0) r.log('[master] close done, exiting with code:0');
  },
  'app-drained': (r, { id, pid, elapsedMs }) =>
    r.log('[master] app_worker#%s:%s drained in %sms', id, pid, elapsedMs),
  'drain-timed-out': reportDrainTimedOut,
  'fatal': (r, { reason, code, backtrace }) =>
    r.logger.error('[master] internal error of egg-cluster-rs, exiting with code:%s: %s%s', code, reason,
      backtrace ? `\n${backtrace}` : ''),
};

function reportAgentExited(r, { id, pid, code, signal, restartInMs }) {
  r.logger.error(namedError('AgentWorkerDiedError',
    util.format('[master] agent_worker#%s:%s died (code: %s, signal: %s)', id, pid, code, signal)));
  if (restartInMs === null) {
    r.logger.error('[master] agent_worker#%s:%s start fail, exiting with code:1', id, pid);
  } else {
    r.log('[master] try to start a new agent_worker after %ss ...', restartInMs / 1000);
  }
}

function reportAppForked(r, { id, pid, reason, workers }) {
  if (reason === 'refork') r.cforkError('new worker:%s fork (state: none)', pid);
  r.log('[master] app_worker#%s:%s start, state: none, current workers: %j', id, pid, workers.map(String));
}

/** cfork's second line for a closed channel, and whether it calls reforking disabled. */
const REFORK = {
  refork: { disabled: false, line: () => {} },
  later: {
    disabled: false,
    line(r, pid, reforkInMs) {
      r.cforkError('don\'t fork new work at once, worker:%s will be replaced in %sms', pid, reforkInMs);
    },
  },
  off: { disabled: false, line: r => r.cforkError('don\'t fork new work (refork: false)') },
  disabled: {
    disabled: true,
    line: (r, pid) => r.cforkInfo('don\'t fork, because worker:%s will be kill soon', pid),
  },
};

function reportAppDisconnected(r, { id, pid, exitedAfterDisconnect, state, refork, reforkInMs, workers }) {
  const { disabled, line } = REFORK[refork];
  r.disconnects++;
  if (disabled) r.leaving.add(pid);
  const cfork = disabled ? 'cforkInfo' : 'cforkError';
  r[cfork]('worker:%s disconnect (exitedAfterDisconnect: %s, state: %s, isDead: false, worker.disableRefork: %s)',
    pid, exitedAfterDisconnect, state, disabled);
  line(r, pid, reforkInMs);
  r.logger.info('[master] app_worker#%s:%s disconnect, suicide: %s, state: %s, current workers: %j',
    id, pid, exitedAfterDisconnect, state, workers.map(String));
}

function reportAppExited(r, event) {
  const { id, pid, code, signal, exitedAfterDisconnect, state, expected, reloaded, whileStarting } = event;
  const disabled = r.leaving.delete(pid);
  const cfork = disabled ? 'cforkInfo' : 'cforkError';
  // cfork calls an exit expected when it has dealt with the closing of the channel before.
  r[cfork]('worker:%s exit (code: %s, exitedAfterDisconnect: %s, state: %s, isDead: true, isExpected: %s, worker.disableRefork: %s)',
    pid, code, exitedAfterDisconnect, state, !disabled, disabled);
  if (expected || reloaded) return;

  const message = util.format(
    '[master] app_worker#%s:%s died (code: %s, signal: %s, suicide: %s, state: %s), current workers: %j',
    id, pid, code, signal, exitedAfterDisconnect, state, event.pids);
  if (event.byDebugger) {
    r.logger.error(message);
    r.logger.error('[master] worker kill by debugger, exiting...');
    return;
  }
  r.logger.error(namedError('AppWorkerDiedError', message));
  if (whileStarting) r.logger.error('[master] app_worker#%s:%s start fail, exiting with code:1', id, pid);
}

function reportDrainTimedOut(r, { id, pid, elapsedMs, requests, connections }) {
  const cut = requests === null
    ? 'it has not told what was cut'
    : `${requests} requests and ${connections} connections were cut`;
  r.log('[master] app_worker#%s:%s drain timed out after %sms, %s', id, pid, elapsedMs, cut);
}

function reportHang(r, { frames, reason, ...child }) {
  if (frames.length === 0) {
    r.logger.error('[master] %s no stack: %s', childName(child), reason || 'it runs no JavaScript');
    return;
  }
  const [ top, ...callers ] = frames.map(frameText);
  r.logger.error('[master] %s hangs in %s%s', childName(child), top, callers.map(text => `\n    at ${text}`).join(''));
}

/** A frame as in the stack of an error. */
function frameText({ function: name, url, line, column }) {
  return `${name || '(anonymous)'} (${url || '(no file)'}:${line}:${column})`;
}

function reportReady(r, { address, elapsedMs }) {
  const { sticky, debugPort } = r.options;
  r.logger.info('[master] %s started on %s (%sms)%s',
    r.frameworkName, address, elapsedMs, sticky ? ' with STICKY MODE!' : '');
  if (debugPort) {
    r.logger.info('[master] %s started on %s', r.frameworkName, `http://${publicHost()}:${debugPort}`);
  }
}

function reportCheckFailed(r, { agent, worker }) {
  const err = namedError('ClusterWorkerExceptionError',
    `[master] ${agent} agent and ${worker} worker(s) alive, exit to avoid unknown state`);
  err.count = { agent, worker };
  r.logger.error(err);
}

function reportClosing(r, who, timeoutMs) {
  r.logger.info('[master] send kill SIGTERM to %s, will exit with code:0 after %sms', who, timeoutMs);
  r.logger.info('[master] wait %sms', timeoutMs);
}

function namedError(name, message) {
  const err = new Error(message);
  err.name = name;
  return err;
}

/** The host to show for a server that listens on all addresses. */
function publicHost() {
  const { HOST } = process.env;
  return HOST && HOST !== '0.0.0.0' ? HOST : '127.0.0.1';
}

function isSlot(slot) {
  return slot !== undefined && slot !== null;
}

function roleName(role) {
  return role === 'agent' ? 'agent_worker' : 'app_worker';
}

function childName({ role, id, pid }) {
  return `${roleName(role)}#${id}:${pid}`;
}

/** Now, in local time, as `YYYY-MM-DD HH:mm:ss.SSS`. */
function logDate() {
  const now = new Date();
  const pad = (value, width = 2) => String(value).padStart(width, '0');
  return `${now.getFullYear()}-${pad(now.getMonth() + 1)}-${pad(now.getDate())} ` +
    `${pad(now.getHours())}:${pad(now.getMinutes())}:${pad(now.getSeconds())}.${pad(now.getMilliseconds(), 3)}`;
}

module.exports = Object.assign(Reporter, { reportClosing, namedError, roleName, childName, logDate });
