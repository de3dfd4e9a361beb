'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const { readOptions, parseOptions } = require('../../lib/options');
const { app } = require('./helpers/app');

/** What is given -> what it is read as. */
const FORMS = [
  // As JavaScript gives them, they stay.
  [ { drain: { timeout: 5, websocketTimeout: null }, watchdog: false, sticky: true }, 'same' ],
  [ { restart: { intensity: { limit: 5, period: 1000 }, giveUp: false } }, 'same' ],
  [ { sticky: { by: 'cookie', name: '7', trust: [ '10.0.0.0/8' ], headTimeout: 5 } }, 'same' ],
  [ { unknown: 'true', 'other-unknown': '5', 'a.b': '{}', workers: '2', port: '7001', plugins: '{"a":true}', title: 'true' }, 'same' ],
  // Text for numbers and booleans.
  [ { drain: { timeout: '3000' } }, { drain: { timeout: 3000 } } ],
  [ { restart: { giveUp: 'false', intensity: { limit: '5' } } }, { restart: { giveUp: false, intensity: { limit: 5 } } } ],
  [ { drain: 'false', watchdog: 'false', sticky: 'true' }, { drain: false, watchdog: false, sticky: true } ],
  [ { watchdog: { stack: 'true', bootTimeout: 'false' } }, { watchdog: { stack: true, bootTimeout: false } } ],
  [ { reusePort: 'false', https: 'false', typescript: 'true', isDebug: 'false' }, { reusePort: false, https: false, typescript: true, isDebug: false } ],
  [ { hold: { connections: '5' }, limits: '{"line-bytes":"65536"}' }, { hold: { connections: 5 }, limits: { lineBytes: 65536 } } ],
  [ { exitProcess: 'false' }, { exitProcess: false } ],
  // Text that stays text, and numbers that are meant as such.
  [ { sticky: { by: 'cookie', name: 'true' } }, 'same' ],
  [ { sticky: { by: 'cookie', name: 7 } }, { sticky: { by: 'cookie', name: '7' } } ],
  // JSON.
  [ { drain: '{"timeout":5}' }, { drain: { timeout: 5 } } ],
  [ { drain: '{"websocket-timeout":"5"}' }, { drain: { websocketTimeout: 5 } } ],
  [ { restart: { intensity: ' {"limit":"5"}' } }, { restart: { intensity: { limit: 5 } } } ],
  // Hyphens.
  [ { drain: { 'websocket-timeout': 5 } }, { drain: { websocketTimeout: 5 } } ],
  [ { drain: { 'websocket-timeout': 5, websocketTimeout: 5 } }, { drain: { websocketTimeout: 5 } } ],
  [ { 'reuse-port': true, 'start-mode': 'process', 'pid-file': '/x', 'debug-port': 1 }, { reusePort: true, startMode: 'process', pidFile: '/x', debugPort: 1 } ],
  [ { 'pid-file': '/x', pidFile: '/y' }, { pidFile: '/y' } ],
  // Given twice.
  [ { sticky: [ true, { by: 'query' } ] }, { sticky: { by: 'query' } } ],
  [ { sticky: [ true, { by: 'cookie' }, { name: 7 } ] }, { sticky: { by: 'cookie', name: '7' } } ],
  [ { drain: [ true, '{"timeout":5}' ] }, { drain: { timeout: 5 } } ],
  // One port.
  [ { ports: 7001 }, { ports: [ 7001 ] } ],
  [ { ports: '7001' }, { ports: [ '7001' ] } ],
];

for (const [ given, expected ] of FORMS) {
  test(`reads ${JSON.stringify(given)}`, () => {
    assert.deepStrictEqual(readOptions(Object.freeze(given)), expected === 'same' ? given : expected);
  });
}

test('what is read once is read the same again', () => {
  for (const [ given ] of FORMS) assert.deepStrictEqual(readOptions(readOptions(given)), readOptions(given));
});

test('what would be ignored silently is refused', () => {
  assert.throws(() => readOptions({ 'drain.timeout': 5 }), /^TypeError: options has 'drain\.timeout', which nobody reads: give drain as an object/);
  assert.throws(() => readOptions({ drain: [ { timeout: 5 }, false ] }), /^TypeError: options\.drain must be false or an object/);
  assert.throws(() => readOptions({ drain: { timeout: [ 5, 6 ] } }), /^TypeError: options\.drain\.timeout must be a number of ms, but got \[ 5, 6 \] \(array\)/);
  assert.throws(() => readOptions({ drain: '{' }), err => err instanceof SyntaxError && /^options\.drain is not valid JSON \(.*\), but got '\{' \(string\)$/.test(err.message));
});

test('a name that objects inherit is no option', t => {
  const options = JSON.parse('{"__proto__":{"workers":7},"constructor":"x","drain":{"timeout":5}}');
  const parsed = parseOptions({ ...options, baseDir: app(t), workers: 1 });
  assert.strictEqual(parsed.workers, 1);
  assert.throws(() => readOptions({ drain: JSON.parse('{"__proto__":5}') }), /has no __proto__/);
});
