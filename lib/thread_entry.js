'use strict';

/**
 * What every thread runs first. `process.argv` holds the script of the worker and its options:
 * after this the thread is as if it had been started with that script.
 *
 * Egg's messenger sends with `process.send`, which no thread has: without it, a message would
 * come back to its sender. The way in is `parentPort`, where the messenger listens.
 */

const { parentPort } = require('worker_threads');

if (typeof process.send !== 'function') {
  process.send = send;
  process.connected = true;
}
process.argv.splice(1, 1);
require('module').runMain();

/**
 * To the master, as JSON, like the `send` of a child process. A handle cannot be sent.
 *
 * @param {*} message
 * @param {...*} rest - the last may be a callback
 * @return {boolean} true
 */
function send(message, ...rest) {
  const callback = rest.find(argument => typeof argument === 'function');
  if (rest[0] && rest[0] !== callback) throw new TypeError('process.send of a thread cannot send a handle');
  const json = JSON.stringify(message);
  if (json === undefined) throw new TypeError(`process.send cannot send ${typeof message}`);
  parentPort.postMessage(JSON.parse(json));
  if (callback) process.nextTick(callback, null);
  return true;
}
