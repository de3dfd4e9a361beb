'use strict';

// For each option values that it may not have: name -> [ [ value, kind of error, what is allowed ], … ].
// The messages are egg-cluster's where it has one; all others name the option, what it may be, and the value.

const TEXT = [ [ 5, 'TypeError', /a string/ ], [ true, 'TypeError', /a string/ ], [ {}, 'TypeError', /a string/ ], [ [ 'x' ], 'TypeError', /a string/ ] ];
const FILE = [ ...TEXT, [ 'with\0nul', 'TypeError', /a string without NUL/ ] ];
const FLAG = [ [ 'yes', 'TypeError', /true or false/ ], [ 1, 'TypeError', /true or false/ ], [ {}, 'TypeError', /true or false/ ] ];
const PORT = [
  [ -1, 'RangeError', /a port number between 0 and 65535/ ],
  [ 65536, 'RangeError', /a port number between 0 and 65535/ ],
  [ '70000', 'RangeError', /a port number between 0 and 65535/ ],
  [ Infinity, 'RangeError', /a port number/ ],
  [ 'named', 'TypeError', /a port number/ ],
  [ true, 'TypeError', /a port number/ ],
  [ [ 7001 ], 'TypeError', /a port number/ ],
];
const DRAIN = /false or an object/;
const TIME = /between \d+ and \d+/;

module.exports = {
  baseDir: FILE,
  framework: FILE,
  customEgg: FILE,
  env: TEXT,
  title: TEXT,
  pidFile: FILE,
  workers: [
    [ -1, 'RangeError', /a whole number between 1 and 65535/ ],
    [ '0', 'RangeError', /a whole number between 1 and 65535/ ],
    [ 65536, 'RangeError', /a whole number between 1 and 65535/ ],
    [ Infinity, 'RangeError', /a whole number/ ],
    [ 'many', 'TypeError', /a whole number/ ],
    [ true, 'TypeError', /a whole number/ ],
    [ [ 2 ], 'TypeError', /a whole number/ ],
  ],
  port: PORT,
  debugPort: PORT,
  reusePort: FLAG,
  https: [ [ 'on', 'TypeError', /true, or an object/ ], [ 1, 'TypeError', /true, or an object/ ], [ [], 'TypeError', /true, or an object/ ] ],
  key: FILE,
  cert: FILE,
  sticky: [
    [ 1, 'TypeError', /true, or an object/ ],
    [ 'on', 'TypeError', /true, or an object/ ],
    [ [ true ], 'TypeError', /true, or an object/ ],
    [ '{"by"', 'SyntaxError', /valid JSON/ ],
    [ { by: 'ip' }, 'TypeError', /sticky\.by must be one of/ ],
    [ { by: 'cookie' }, 'TypeError', /sticky\.name must be the name of a cookie/ ],
    [ { trust: 'everybody' }, 'TypeError', /sticky\.trust must hold/ ],
    [ { headTimeout: 0 }, 'RangeError', TIME ],
    [ { key: 'x' }, 'TypeError', /options\.sticky\.key is unknown/ ],
  ],
  plugins: [
    [ 'not json', 'TypeError', /an object, or the JSON of one/ ],
    [ '[]', 'TypeError', /an object, or the JSON of one/ ],
    [ 5, 'TypeError', /an object/ ],
    [ [ 'x' ], 'TypeError', /an object/ ],
  ],
  require: [ [ 5, 'TypeError', /a module/ ], [ { a: 1 }, 'TypeError', /a module/ ], [ [ 'a', 1 ], 'TypeError', /a module/ ], [ [ '' ], 'TypeError', /a module/ ] ],
  startMode: [ [ 'threads', 'TypeError', /'process' or 'worker_threads'/ ], [ 1, 'TypeError', /'process' or 'worker_threads'/ ] ],
  ports: [ [ 'many', 'TypeError', /an array of port numbers/ ], [ {}, 'TypeError', /an array/ ] ],
  typescript: FLAG,
  isDebug: FLAG,
  exitProcess: FLAG,
  drain: [
    [ true, 'TypeError', DRAIN ],
    [ 5000, 'TypeError', DRAIN ],
    [ [ 1 ], 'TypeError', DRAIN ],
    [ 'long', 'TypeError', DRAIN ],
    [ '{"timeout":', 'SyntaxError', /valid JSON/ ],
    [ { timeOut: 1 }, 'TypeError', /may have timeout and websocketTimeout/ ],
    [ { timeout: '5s' }, 'TypeError', /a number of ms/ ],
    [ { timeout: -1 }, 'RangeError', TIME ],
    [ { websocketTimeout: NaN }, 'RangeError', TIME ],
  ],
  restart: [
    [ true, 'TypeError', /an object/ ],
    [ false, 'TypeError', /an object/ ],
    [ { stableTime: -1 }, 'RangeError', TIME ],
    [ { maxDelay: 0 }, 'RangeError', TIME ],
    [ { giveUp: true }, 'RangeError', TIME ],
    [ { intensity: 5 }, 'TypeError', /an object/ ],
    [ { intensity: { limit: 0 } }, 'RangeError', TIME ],
    [ { intensity: { period: 'minute' } }, 'RangeError', TIME ],
    [ { delay: 1 }, 'TypeError', /may have stableTime, maxDelay, intensity, giveUp/ ],
  ],
  hold: [
    [ 5, 'TypeError', /an object/ ],
    [ false, 'TypeError', /an object/ ],
    [ { timeout: 0 }, 'RangeError', TIME ],
    [ { connections: 'many' }, 'RangeError', TIME ],
    [ { limit: 1 }, 'TypeError', /may have timeout, connections/ ],
  ],
  limits: [
    [ true, 'TypeError', /an object/ ],
    [ { lineBytes: 0 }, 'RangeError', TIME ],
    [ { outboxBytes: 'much' }, 'RangeError', TIME ],
    [ { stallTimeout: 1 }, 'RangeError', TIME ],
    [ { listeners: 0 }, 'RangeError', TIME ],
    [ { bytes: 1 }, 'TypeError', /may have lineBytes, outboxBytes, stallTimeout, listeners/ ],
  ],
  watchdog: [
    [ true, 'TypeError', /an object or false/ ],
    [ 'off', 'TypeError', /an object or false/ ],
    [ { timeout: 999 }, 'RangeError', TIME ],
    [ { bootTimeout: 0 }, 'RangeError', TIME ],
    [ { interval: 1 }, 'RangeError', TIME ],
    [ { action: 'kill' }, 'RangeError', /'report' or 'restart'/ ],
    [ { stack: 'yes' }, 'RangeError', /true or false/ ],
    [ { stacks: true }, 'TypeError', /may have timeout/ ],
  ],
  control: [
    [ true, 'TypeError', /an object or false/ ],
    [ 'on', 'TypeError', /an object or false/ ],
    [ { path: '' }, 'TypeError', /the path of a socket/ ],
    [ { tcp: 'somewhere' }, 'TypeError', /a port/ ],
    [ { tcp: 70000 }, 'RangeError', /between 0 and 65535/ ],
    [ { port: 9100 }, 'TypeError', /may have path, tcp/ ],
  ],
};
