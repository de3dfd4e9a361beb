'use strict';

// One request over HTTP and every way it can end.

const http = require('http');
const { now } = require('./time');

/**
 * How an attempt ended:
 * - `answered`: status 200 and every byte of the body right
 * - `refused`: no connection (ECONNREFUSED)
 * - `reset`: the connection ended before a byte of the answer
 * - `reuse`: the same on a connection that had served before; HTTP clients may try again then (RFC 9112, 9.3.1)
 * - `cut`: the connection ended in mid-answer
 * - `wrong`: another answer
 * - `hung`: no end within the time limit
 */
const OUTCOMES = [ 'answered', 'refused', 'reset', 'reuse', 'cut', 'wrong', 'hung' ];

/**
 * @param {Object} order - what to send
 * @param {number} order.port - of 127.0.0.1
 * @param {string} order.path - with the id
 * @param {http.Agent|false} order.agent - false: a connection of its own
 * @param {Buffer} order.expected - the body that must come
 * @param {number} order.timeoutMs - for the whole of it
 * @param {string} [order.localAddress] - to come from
 * @param {function(http.ClientRequest): void} [order.send] - writes the body and ends; without it a GET
 * @return {Promise<Object>} the end: `{outcome, code, client, startedAt, sentAt, endedAt}`; `client` is address and
 *   port, and by `sentAt` the kernel has the beginning of a request on a new connection
 */
function exchange({ port, path, agent, expected, timeoutMs, localAddress, send }) {
  return new Promise(resolve => {
    const startedAt = now();
    const method = send ? 'POST' : 'GET';
    const request = http.request({ host: '127.0.0.1', port, path, method, agent, localAddress });
    let bytesBefore = 0;
    let client;
    let sentAt;
    const end = (outcome, code) => {
      clearTimeout(timer);
      resolve({ outcome, code, client, startedAt, sentAt, endedAt: now() });
    };
    const timer = setTimeout(() => {
      end('hung');
      request.destroy();
    }, timeoutMs);
    request.once('socket', socket => {
      bytesBefore = socket.bytesRead;
      client = endpoint(socket);
      if (!socket.connecting) return;
      socket.once('connect', () => {
        client = endpoint(socket);
        setImmediate(() => { sentAt = now(); });
      });
    });
    request.on('error', err => end(classify(err, request, bytesBefore), err.code));
    request.once('response', response => check(response, expected, end));
    if (send) send(request);
    else request.end();
  });
}

/** The client's end of a connection. */
function endpoint(socket) {
  return `${socket.localAddress}:${socket.localPort}`;
}

function classify(err, request, bytesBefore) {
  if (err.code === 'ECONNREFUSED') return 'refused';
  const { socket } = request;
  if (socket && socket.bytesRead > bytesBefore) return 'cut';
  if (err.code === 'ECONNRESET' || err.code === 'EPIPE') return request.reusedSocket ? 'reuse' : 'reset';
  return 'wrong';
}

function check(response, expected, end) {
  const pieces = [];
  response.on('data', piece => pieces.push(piece));
  response.on('error', err => end('cut', err.code));
  response.once('close', () => {
    if (!response.complete) return end('cut');
    const isRight = response.statusCode === 200 && Buffer.concat(pieces).equals(expected);
    end(isRight ? 'answered' : 'wrong', String(response.statusCode));
  });
}

module.exports = { OUTCOMES, exchange, endpoint };
