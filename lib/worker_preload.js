'use strict';

/**
 * Loaded in front of the script of every app worker (`--require`): lets the master start it
 * ahead of time, and drain it.
 *
 * A worker that is started ahead of time has a second environment variable, which names a pipe.
 * It loads what its script will load first, and waits (lib/worker_gate.js) until the master writes
 * the number of its slot into the pipe. So nothing of the application runs before. When the
 * master closes the pipe instead, the worker is not wanted, and ends.
 *
 * To drain it, it knows the HTTP servers of the process, their connections and the requests in
 * flight. When the master says so, the worker accepts nothing more by itself, closes connections
 * that are idle, answers `Connection: close` on the others, and tells the master what is
 * left. All decisions about time are the master's.
 *
 * It acts only in a worker that the native master has started for this: an environment
 * variable names the master's process id, which must be that of the parent. Everywhere else,
 * and on a Node without `diagnostics_channel` (before 14.17), it does nothing. What goes
 * wrong in here must never reach the application: the worst case is a worker that is ended
 * without having drained.
 */

const ENV = 'EGG_CLUSTER_RS_WORKER';
const GATE_ENV = 'EGG_CLUSTER_RS_GATE';
/** Node keeps messages with such a `cmd` from `message` listeners, and ignores those it does not know. */
const CMD = 'NODE_EGG_CLUSTER_RS';
/** A connection without a request is closed when nothing has come for so long, in ms. */
const QUIET_LIMIT = 500;
/** How often quiet connections are looked for while draining, in ms. */
const SWEEP_INTERVAL = 250;
/** Reports that bring no decision nearer are sent at most this often, in ms. */
const REPORT_INTERVAL = 100;
/** Turns of the event loop in which a listening socket may still bring what the kernel holds. */
const MAX_ACCEPT_TURNS = 1000;

// Applications under test replace the global ones.
const { setImmediate, setInterval } = global;
const uptime = process.uptime;

function main() {
  if (process.env[ENV] !== String(process.ppid) || typeof process.send !== 'function') return;
  if (!require('worker_threads').isMainThread) return;
  // Children of this process inherit both.
  delete process.env[ENV];
  const gate = process.env[GATE_ENV];
  delete process.env[GATE_ENV];
  removeFromExecArgv(process.execArgv);
  if (gate !== undefined) require('./worker_gate').waitAt(Number(gate));
  const channels = requestChannels();
  if (channels !== null) new Drain(process.send).start(channels);
}

function removeFromExecArgv(execArgv) {
  const isThis = (arg, i) => arg === __filename && execArgv[i - 1] === '--require';
  const at = execArgv.findIndex(isThis);
  if (at > 0) execArgv.splice(at - 1, 2);
}

/** Held by the caller: an unused channel can be collected before http has been loaded. */
function requestChannels() {
  let channel;
  try {
    channel = require('diagnostics_channel').channel;
  } catch {
    return null;
  }
  return { start: channel('http.server.request.start'), finish: channel('http.server.response.finish') };
}

/** One connection of an HTTP server. */
class Connection {
  constructor() {
    /** Requests whose answer is not handed to the kernel yet. */
    this.requests = 0;
    /** The answer to the newest of them. */
    this.newest = null;
    /** What `newest.shouldKeepAlive` was before the drain. */
    this.keepAlive = false;
    this.upgraded = false;
    /** The TCP connection below a TLS connection that is being set up. */
    this.handshake = false;
    /** Bytes read when the last answer was finished: more means that a request is coming. */
    this.answeredAt = -1;
    /** Bytes read at the last look, and since when there are no more. */
    this.bytes = -1;
    this.quietSince = 0;
  }
}

class Drain {
  constructor(send) {
    this.send = send;
    this.draining = false;
    this.connections = new Map();
    this.servers = new Set();
    this.accepted = 0;
    this.sweepAt = 1024;
    this.checkIsDue = false;
    this.reported = null;
    this.reportedAt = 0;
    const drain = this;
    /** Listens to the `close` of sockets: one function for all. */
    this.onSocketClose = function() {
      drain.forget(this);
    };
  }

  start(channels) {
    this.channels = channels;
    channels.start.subscribe(guarded(message => this.onRequest(message)));
    channels.finish.subscribe(guarded(message => this.onFinish(message)));
    this.watchServers();
    process.on('internalMessage', guarded(message => {
      if (!message || message.cmd !== CMD) return;
      if (message.act === 'drain') this.begin();
      if (message.act === 'count') this.tell({ act: 'counted', ...this.count() });
    }));
    this.tell({ act: 'hello' });
  }

  tell(message) {
    // Without a callback a closed channel would become an `error` event of the process.
    this.send.call(process, { cmd: CMD, ...message }, undefined, undefined, () => {});
  }

  /**
   * Events of servers are seen in `emit` and not by listeners: one for `upgrade` would
   * change what Node does with a request, and sticky mode emits its connections by itself.
   */
  watchServers() {
    const { prototype } = require('net').Server;
    const base = Object.getPrototypeOf(prototype);
    const see = guarded((server, event, args) => this.onServerEvent(server, event, args));
    const emit = function emit(event) {
      if (event !== 'request') see(this, event, arguments);
      return base.emit.apply(this, arguments);
    };
    Object.defineProperty(prototype, 'emit', { value: emit, writable: true, configurable: true });
  }

  onServerEvent(server, event, { 1: first, 2: second }) {
    switch (event) {
      case 'connection':
        if (isHttp(server)) this.add(first).handshake = isTls(server);
        break;
      case 'secureConnection':
        if (isHttp(server)) {
          this.forget(first._parent);
          this.add(first);
        }
        break;
      case 'upgrade':
      case 'connect':
        this.onUpgrade((first && first.socket) || second);
        break;
      case 'listening':
        if (isHttp(server)) this.servers.add(server);
        break;
      case 'close':
        this.servers.delete(server);
        break;
      default:
    }
  }

  add(socket) {
    if (this.connections.size >= this.sweepAt) this.dropDestroyed();
    const connection = new Connection();
    connection.quietSince = now();
    this.connections.set(socket, connection);
    this.accepted++;
    socket.once('close', this.onSocketClose);
    return connection;
  }

  forget(socket) {
    if (this.connections.delete(socket) && this.draining) this.checkSoon();
  }

  /** For sockets whose listeners somebody has removed. */
  dropDestroyed() {
    for (const socket of this.connections.keys()) {
      if (socket.destroyed) this.connections.delete(socket);
    }
    this.sweepAt = Math.max(1024, 2 * this.connections.size);
  }

  onUpgrade(socket) {
    const connection = this.connections.get(socket);
    if (!connection) return;
    connection.upgraded = true;
    if (this.draining) this.checkSoon();
  }

  onRequest({ response, socket }) {
    // Unknown: the server was given the connection by other ways than an event.
    const connection = this.connections.get(socket) || this.add(socket);
    if (this.draining) {
      // Only the last answer of a pipeline ends the connection.
      sayKeepAlive(connection);
      sayClose(connection, response);
    }
    connection.requests++;
    connection.newest = response;
  }

  onFinish({ socket }) {
    const connection = this.connections.get(socket);
    if (!connection) return;
    connection.answeredAt = socket.bytesRead;
    if (connection.requests > 0) connection.requests--;
    if (connection.requests === 0) connection.newest = null;
    if (this.draining) this.checkSoon();
  }

  begin() {
    if (this.draining) return;
    this.draining = true;
    const since = now();
    for (const connection of this.connections.values()) {
      connection.quietSince = since;
      if (connection.newest !== null) sayClose(connection, connection.newest);
    }
    setImmediate(guarded(() => this.stopAccepting(this.accepted, MAX_ACCEPT_TURNS)));
    this.checkSoon();
    setInterval(guarded(() => this.check()), SWEEP_INTERVAL).unref();
  }

  /** What the kernel had accepted already is served: the last turn must have brought nothing. */
  stopAccepting(before, turns) {
    if (this.accepted !== before && turns > 0) {
      setImmediate(guarded(() => this.stopAccepting(this.accepted, turns - 1)));
      return;
    }
    for (const server of this.servers) stopListening(server);
  }

  /** After two turns of the event loop, all that had been received is read, and known as a request. */
  checkSoon() {
    if (this.checkIsDue) return;
    this.checkIsDue = true;
    setImmediate(() => setImmediate(guarded(() => {
      this.checkIsDue = false;
      this.check();
    })));
  }

  check() {
    const counts = { requests: 0, connections: 0, upgraded: 0 };
    const time = now();
    for (const [ socket, connection ] of this.connections) {
      if (socket.destroyed) continue;
      if (connection.upgraded) {
        counts.upgraded++;
      } else if (connection.requests > 0) {
        counts.requests += connection.requests;
        counts.connections++;
      } else if (isOver(socket, connection, time)) {
        this.end(socket, connection);
      } else {
        counts.connections++;
      }
    }
    this.report(counts, time);
  }

  /** What is there at this moment, for an operator; nothing is ended for it. */
  count() {
    const counts = { requests: 0, connections: 0, upgraded: 0 };
    for (const [ socket, { upgraded, requests } ] of this.connections) {
      if (socket.destroyed) continue;
      counts[upgraded ? 'upgraded' : 'connections']++;
      if (!upgraded) counts.requests += requests;
    }
    return counts;
  }

  end(socket, connection) {
    if (connection.handshake) {
      // TLS may own it already; it is only not waited for.
      this.connections.delete(socket);
    } else if (typeof socket.destroySoon === 'function') {
      socket.destroySoon();
    } else {
      socket.destroy();
    }
  }

  report(counts, time) {
    const last = this.reported;
    if (last !== null) {
      if (same(last, counts)) return;
      const decides = isServed(last) !== isServed(counts) || (last.upgraded === 0) !== (counts.upgraded === 0);
      // The next sweep comes back to it.
      if (!decides && time - this.reportedAt < REPORT_INTERVAL) return;
    }
    this.reported = counts;
    this.reportedAt = time;
    this.tell({ act: 'draining', ...counts });
  }
}

/** Nothing of HTTP is left. */
function isServed({ requests, connections }) {
  return requests === 0 && connections === 0;
}

function same(a, b) {
  return a.requests === b.requests && a.connections === b.connections && a.upgraded === b.upgraded;
}

/** A connection without a request has been answered and brings nothing new, or is quiet for long. */
function isOver(socket, connection, time) {
  const bytes = socket.bytesRead;
  if (bytes === connection.answeredAt) return true;
  if (bytes !== connection.bytes) {
    if (connection.bytes !== -1) connection.quietSince = time;
    connection.bytes = bytes;
  }
  return time - connection.quietSince >= QUIET_LIMIT;
}

function sayClose(connection, response) {
  connection.keepAlive = response.shouldKeepAlive;
  response.shouldKeepAlive = false;
}

function sayKeepAlive({ newest, keepAlive }) {
  if (newest !== null && !newest.headersSent) newest.shouldKeepAlive = keepAlive;
}

/**
 * Closes the listening socket of a server that accepts by itself, below the server: to the
 * application it listens on until the application closes it. `server.close()` would make the
 * application's own `close` fail, and emit `close` to those who end WebSockets then.
 */
function stopListening(server) {
  const handle = server._handle;
  // In round robin and sticky mode the handle is a pretence of Node's cluster, of no class.
  const kind = handle && handle.constructor && handle.constructor.name;
  if ((kind !== 'TCP' && kind !== 'Pipe') || typeof handle.close !== 'function') return;
  const address = server.address();
  handle.close();
  handle.close = callback => {
    if (typeof callback === 'function') setImmediate(callback);
  };
  if (address && typeof address === 'object') handle.getsockname = out => Object.assign(out, address) && 0;
}

function isHttp(server) {
  return 'keepAliveTimeout' in server;
}

function isTls(server) {
  return typeof server.setSecureContext === 'function';
}

/** A time in ms that never goes back. */
function now() {
  return uptime.call(process) * 1000;
}

function guarded(body) {
  return (...args) => {
    try {
      return body(...args);
    } catch {
      // The master's time limits end what is not counted rightly now.
    }
  };
}

try {
  main();
} catch {
  // A worker that cannot be drained is ended without.
}
