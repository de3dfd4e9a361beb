'use strict';

/** Speaks HTTP with the control socket of a master. */

const http = require('http');
const path = require('path');
const { CliError, EXIT } = require('./failure');

/** An address of a unix socket holds so many bytes, everywhere. */
const MAX_SOCKET_PATH = 103;
const ANSWER_LIMIT_MS = 10000;
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** What a system error of the connection means, and what to do about it. */
const REASONS = {
  ENOENT: [ 'there is no socket', 'is the application running, and was it started with control: false?' ],
  ECONNREFUSED: [ 'nobody listens there: the master has ended without removing it', 'start the application again' ],
  EACCES: [ 'no permission', 'run this as the user of the master, or as root' ],
  ENOTSOCK: [ 'it is no socket', 'name the socket of a master with --socket' ],
  EPROTOTYPE: [ 'it is another kind of socket', 'name the socket of a master with --socket' ],
};

/**
 * Asks the master.
 *
 * @param {string} socket - the path of its control socket
 * @param {string} method
 * @param {string} target - the path of the request
 * @param {Object} [body] - sent as JSON
 * @return {Promise<{status: number, json: Object}>}
 * @throws {CliError} where there is no answer of a master
 */
async function request(socket, method, target, body) {
  const response = await open(socket, method, target, body);
  const text = await readAll(response, socket);
  return { status: response.statusCode, json: parse(text, socket) };
}

/** As {@link request}, and an answer that is no success is an error with the words of the master. */
async function ask(socket, method, target, body) {
  const { status, json } = await request(socket, method, target, body);
  if (status >= 200 && status < 300) return json;
  throw refusal(status, json, socket);
}

/**
 * @param {string} socket
 * @return {Promise<Object>} the status of the master
 * @throws {CliError} where somebody else answers, too
 */
async function statusOf(socket) {
  const report = await ask(socket, 'GET', '/status');
  if (typeof report.phase !== 'string' || !Array.isArray(report.slots)) throw foreign(socket);
  return report;
}

/** @return {Object} an event, of a line that {@link follow} gave; an error where it is none */
function eventOf(line, socket) {
  const event = parse(line, socket);
  if (typeof event.type !== 'string') throw foreign(socket);
  return event;
}

/**
 * Follows an answer without end, line by line.
 *
 * @param {string} socket
 * @param {string} target
 * @param {function(string): void} onLine
 * @return {Promise<void>} resolves when the master ends it
 */
async function follow(socket, target, onLine) {
  const response = await open(socket, 'GET', target);
  if (response.statusCode !== 200) {
    throw refusal(response.statusCode, parse(await readAll(response, socket), socket), socket);
  }
  response.socket.setTimeout(0);
  response.setEncoding('utf8');
  let rest = '';
  try {
    for await (const chunk of response) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      if (rest.length > MAX_ANSWER_BYTES) throw foreign(socket);
      lines.forEach(onLine);
    }
  } catch (err) {
    if (err instanceof CliError) throw err;
    // The master has gone without a farewell.
    if (err.code !== 'ECONNRESET') throw unreachable(socket, err);
  }
}

function open(socket, method, target, body) {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = text ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {};
  return new Promise((resolve, reject) => {
    const socketPath = reachable(socket);
    const sent = http.request({ socketPath, method, path: target, headers, agent: false, timeout: ANSWER_LIMIT_MS }, resolve);
    sent.on('timeout', () => sent.destroy(Object.assign(new Error('no answer'), { code: 'ETIMEDOUT' })));
    sent.on('error', err => reject(unreachable(socket, err)));
    sent.end(text);
  });
}

/** A long path is reached from its directory. */
function reachable(socket) {
  if (Buffer.byteLength(socket) <= MAX_SOCKET_PATH) return socket;
  try {
    process.chdir(path.dirname(socket));
  } catch (err) {
    throw unreachable(socket, err);
  }
  return path.basename(socket);
}

async function readAll(response, socket) {
  const chunks = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      bytes += chunk.length;
      if (bytes > MAX_ANSWER_BYTES) throw new Error('it answers without end');
      chunks.push(chunk);
    }
  } catch (err) {
    throw unreachable(socket, err);
  }
  return Buffer.concat(chunks).toString();
}

function parse(text, socket) {
  try {
    const json = JSON.parse(text);
    if (typeof json === 'object' && json !== null) return json;
  } catch {
    // Said below.
  }
  throw foreign(socket);
}

function refusal(status, { error }, socket) {
  if (typeof error !== 'string') return foreign(socket);
  if (status === 403) return new CliError(error, { hint: REASONS.EACCES[1], exitCode: EXIT.unreachable });
  return new CliError(error, { exitCode: status === 503 ? EXIT.unreachable : EXIT.failed });
}

function foreign(socket) {
  return new CliError(`${socket} is not the control socket of egg-cluster-rs: it answers something else`,
    { hint: 'name the socket of a master with --socket', exitCode: EXIT.unreachable });
}

function unreachable(socket, err) {
  if (err.code === 'ETIMEDOUT') {
    return new CliError(`${socket} gives no answer within ${ANSWER_LIMIT_MS / 1000} seconds`,
      { hint: 'it belongs to another program, or the master is stopped (SIGSTOP)', exitCode: EXIT.unreachable });
  }
  if (/^HPE_/.test(err.code)) return foreign(socket);
  const [ reason, hint ] = REASONS[err.code] || [ err.message, 'egg-cluster-rs list shows the masters of this host' ];
  return Object.assign(new CliError(`cannot reach a master at ${socket}: ${reason}`, { hint, exitCode: EXIT.unreachable }), { code: err.code });
}

module.exports = { request, ask, statusOf, eventOf, follow };
