'use strict';

/**
 * The log as JSON, a line for each thing that happens: `EGG_CLUSTER_RS_LOG_FORMAT=json`. What happens
 * in the cluster has the types and the members of `GET /events` (docs/control.md), so that one
 * vocabulary does for both; the rest is of the few types of docs/logs.md.
 */

const util = require('util');

const FORMAT_ENV = 'EGG_CLUSTER_RS_LOG_FORMAT';
const LEVELS = [ 'debug', 'info', 'warn', 'error' ];

/** What goes wrong, and what ought to be seen. All else is of level info. */
const ERRORS = [
  'agent-exited', 'app-exited', 'check-failed', 'fatal', 'gave-up', 'hung', 'listen-failed', 'reload-failed', 'spawn-failed', 'unresponsive',
  'worker-hangs',
];
const WARNINGS = [
  'accept-failed', 'bad-message', 'control-failed', 'held-too-long', 'killed', 'parent-deaf', 'parent-reads', 'paused', 'recovered',
  'restart-limit', 'resumed', 'stuck',
];
/** What the application says to others, and orders to this process. */
const SILENT = [ 'message', 'to-parent', 'thread-spawn', 'thread-post', 'thread-terminate', 'thread-abandon' ];

/** @return {boolean} whether the log is JSON */
function isJson(env = process.env) {
  return env[FORMAT_ENV] === 'json';
}

/** @return {string|null} what is wrong with the variable */
function formatProblem(env = process.env) {
  const format = env[FORMAT_ENV];
  if (!format || format === 'json' || format === 'text') return null;
  return `environment variable ${FORMAT_ENV} should be json or text, but is ${JSON.stringify(format)}; using text`;
}

/**
 * @param {string} level - of the line
 * @param {string} type - what has happened
 * @param {Object} members - the rest of the line
 */
function writeLine(level, type, members) {
  const stream = level === 'error' ? process.stderr : process.stdout;
  // `pid` is that of a child, as in the events.
  stream.write(`${JSON.stringify({ time: new Date().toISOString(), level, master: process.pid, type, ...members })}\n`);
}

/**
 * @param {string} least - the lowest level that is written; `none` for nothing
 * @return {Object} a logger with the methods that write a text or an error
 */
function jsonLogger(least) {
  const isWritten = isWrittenFrom(least);
  const log = level => (...args) => {
    if (isWritten(level)) writeLine(level, 'log', textOf(args));
  };
  const methods = Object.fromEntries(LEVELS.map(level => [ level, log(level) ]));
  return { ...methods, write: methods.info, level: least };
}

function isWrittenFrom(least) {
  const name = String(least).toLowerCase();
  const from = name === 'all' ? 0 : LEVELS.indexOf(name);
  return level => from >= 0 && LEVELS.indexOf(level) >= from;
}

function textOf(args) {
  const [ err ] = args;
  if (!(err instanceof Error)) return { message: util.format(...args) };
  return { message: err.message, error: { name: err.name, code: err.code, stack: err.stack } };
}

/** In the place of the Reporter: no lines of text for tools, but the events themselves. */
class JsonReporter {
  #isWritten;
  #start = process.hrtime.bigint();

  /** @param {string} least - the lowest level that is written */
  constructor(least) {
    this.#isWritten = isWrittenFrom(least);
  }

  /** @param {Object} event - one event of the native master */
  report({ type, ...members }) {
    if (!SILENT.includes(type)) this.#write(levelOf(type, members), type, members);
  }

  /** An exception that nobody else handles. */
  uncaughtException(err) {
    this.#write('error', 'uncaught-exception', textOf([ err instanceof Error ? err : new Error(String(err)) ]));
  }

  /** A signal has come; `sender` as the native side tells it, or null. */
  signal(signal, sender) {
    const { pid, uid, command, isKernel } = sender || {};
    this.#write('info', 'signal', { signal, pid, uid, command, isKernel });
  }

  /** The last line. */
  exit(code, reason) {
    this.#write(code === 0 ? 'info' : 'error', 'exit', { code, reason });
  }

  #write(level, type, members) {
    if (!this.#isWritten(level)) return;
    const uptimeMs = Number((process.hrtime.bigint() - this.#start) / 1000000n);
    writeLine(level, type, { uptimeMs, ...members });
  }
}

function levelOf(type, { expected, reloaded }) {
  if (type === 'app-exited' && (expected || reloaded)) return 'info';
  if (ERRORS.includes(type)) return 'error';
  return WARNINGS.includes(type) ? 'warn' : 'info';
}

module.exports = { isJson, formatProblem, jsonLogger, JsonReporter, SILENT };
