'use strict';

const http = require('http');
const https = require('https');
const net = require('net');

/**
 * @param {number|string} target a port, or the path of a unix socket
 * @param {string} [path] the URL's path
 * @param {object} [options]
 *  - {string} host default 127.0.0.1
 *  - {string} localAddress the client's own address
 *  - {http.Agent|boolean} agent default false: a connection of its own
 *  - {boolean} https accept any certificate
 *  - {string} method
 *  - {string} body
 *  - {object} headers
 *  - {number} timeout for the whole answer, in ms, default 10000
 * @return {Promise<{status: number, headers: object, body: string, json: any}>} the answer
 */
function get(target, path = '/', options = {}) {
  const { host = '127.0.0.1', agent = false, timeout = 10000, body, https: secure, ...rest } = options;
  const where = typeof target === 'string' ? { socketPath: target } : { host, port: target };
  const requestOptions = { ...where, path, agent, rejectUnauthorized: false, method: body ? 'POST' : 'GET', ...rest };
  return new Promise((resolve, reject) => {
    const request = (secure ? https : http).request(requestOptions, response => {
      const chunks = [];
      response.on('data', chunk => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => {
        clearTimeout(timer);
        resolve(answer(response, Buffer.concat(chunks).toString()));
      });
    });
    const timer = setTimeout(() => {
      const err = new Error(`no answer from ${target}${path} within ${timeout} ms`);
      err.code = 'ENOANSWER';
      request.destroy(err);
    }, timeout);
    function fail(err) {
      clearTimeout(timer);
      reject(err);
    }
    request.on('error', fail);
    request.end(body);
  });
}

function answer(response, body) {
  return {
    status: response.statusCode,
    headers: response.headers,
    body,
    get json() {
      return JSON.parse(body);
    },
  };
}

/**
 * @param {object} where as for `net.connect`
 * @return {Promise<string>} `connected`, or the code of the error
 */
function tryConnect(where) {
  return new Promise(resolve => {
    const socket = net.connect(where);
    socket.once('connect', () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', err => resolve(err.code));
  });
}

module.exports = { get, tryConnect };
