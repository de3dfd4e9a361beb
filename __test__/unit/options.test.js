'use strict';

const assert = require('assert');
const os = require('os');
const path = require('path');
const test = require('./helpers/test');

const { parseOptions, isProduction } = require('../../lib/options');
const { app, withEnv, FRAMEWORK } = require('./helpers/app');

const cpus = os.cpus().length;

test('completes options, with the keys in egg-cluster\'s order', t => {
  withEnv(t, { EGG_SERVER_ENV: 'prod' });
  const baseDir = app(t);
  const options = parseOptions({ baseDir, workers: 2, port: 17001, title: 'x', sticky: undefined, plugins: null });
  assert.strictEqual(JSON.stringify(options), JSON.stringify({
    framework: path.join(baseDir, 'node_modules/egg'),
    baseDir,
    port: 17001,
    reusePort: false,
    workers: 2,
    plugins: null,
    https: false,
    startMode: 'process',
    ports: [],
    env: 'prod',
    title: 'x',
  }));
});

test('leaves the given object alone', t => {
  const given = Object.freeze({ baseDir: app(t), workers: 1 });
  parseOptions(given);
  assert.deepStrictEqual(Object.keys(given), [ 'baseDir', 'workers' ]);
});

test('takes what egg-cluster takes', t => {
  const baseDir = app(t);
  const parse = options => parseOptions({ baseDir, ...options });
  assert.strictEqual(parse({ port: '7001' }).port, 7001);
  assert.strictEqual(parse({ port: 0 }).port, undefined);
  assert.strictEqual(parse({ port: NaN }).port, undefined);
  assert.strictEqual(parse({ port: '' }).port, undefined);
  assert.strictEqual(parse({ port: 65535 }).port, 65535);
  assert.strictEqual(parse({ workers: '2' }).workers, 2);
  assert.strictEqual(parse({ workers: 2.9 }).workers, 2);
  assert.strictEqual(parse({ workers: 0 }).workers, cpus);
  assert.strictEqual(parse({ workers: NaN }).workers, cpus);
  assert.strictEqual(parse({ workers: null }).workers, cpus);
  assert.strictEqual(parse({ workers: 'auto' }).workers, cpus);
  assert.deepStrictEqual(parse({ require: 'a' }).require, [ 'a' ]);
  assert.deepStrictEqual(parse({ require: [ 'a', 'b' ] }).require, [ 'a', 'b' ]);
  assert.strictEqual(parse({ framework: 'egg' }).framework, path.join(baseDir, 'node_modules/egg'));
  assert.strictEqual(parse({ customEgg: 'egg' }).framework, path.join(baseDir, 'node_modules/egg'));
  assert.strictEqual(parse({ env: '' }).env, process.env.EGG_SERVER_ENV || '');
});

test('the times of drain are passed on as they are', t => {
  const baseDir = app(t);
  for (const drain of [ false, {}, { timeout: 0 }, { timeout: 100, websocketTimeout: 2 ** 31 - 1 }, { timeout: null } ]) {
    assert.deepStrictEqual(parseOptions({ baseDir, drain }).drain, drain);
  }
  assert.ok(!('drain' in parseOptions({ baseDir, drain: null })));
});

const WRONG = [
  [ { workers: '0' }, RangeError, /^options\.workers must be a whole number between 1 and 65535, or 'auto', but got '0' \(string\)$/ ],
  [ { workers: -1 }, RangeError, /options\.workers .*-1/ ],
  [ { workers: 'many' }, TypeError, /options\.workers .*'many'/ ],
  [ { workers: Infinity }, RangeError, /options\.workers .*Infinity/ ],
  [ { port: 65536 }, RangeError, /^options\.port must be a port number between 0 and 65535, but got 65536 \(number\)$/ ],
  [ { port: -1 }, RangeError, /options\.port .*-1/ ],
  [ { debugPort: 70000 }, RangeError, /options\.debugPort .*70000/ ],
  [ { env: 1 }, TypeError, /^options\.env must be a string .*1 \(number\)$/ ],
  [ { framework: {} }, TypeError, /options\.framework must be a string/ ],
  [ { pidFile: 5 }, TypeError, /options\.pidFile must be a string/ ],
  [ { unknown: 1n }, TypeError, /must be JSON/ ],
  [ { exitProcess: 'no' }, TypeError, /^options\.exitProcess must be true or false, but got 'no' \(string\)$/ ],
  [ { drain: true }, TypeError, /^options\.drain must be false or an object such as \{ timeout: 5000 \}, but got true/ ],
  [ { drain: 5000 }, TypeError, /options\.drain must be false or an object .*5000 \(number\)/ ],
  [ { drain: [ 1 ] }, TypeError, /options\.drain must be false or an object .*\(array\)/ ],
  [ { drain: { timeOut: 1 } }, TypeError, /^options\.drain has no timeOut; it may have timeout and websocketTimeout$/ ],
  [ { drain: { timeout: '5s' } }, TypeError, /^options\.drain\.timeout must be a number of ms, but got '5s' \(string\)$/ ],
  [ { drain: { timeout: -1 } }, RangeError, /^options\.drain\.timeout must be a time in ms between 0 and \d+, but got -1/ ],
  [ { drain: { websocketTimeout: NaN } }, RangeError, /options\.drain\.websocketTimeout .*NaN/ ],
];

for (const [ options, type, message ] of WRONG) {
  test(`refuses ${Object.keys(options)}: ${String(Object.values(options))}`, t => {
    const baseDir = app(t);
    assert.throws(() => parseOptions({ baseDir, ...options }), err => {
      assert(err instanceof type, err.stack);
      assert.match(err.message, message);
      return true;
    });
  });
}

test('refuses options that are no object, and a baseDir that is no string', () => {
  for (const options of [ undefined, null, 'x', 1, [] ]) {
    assert.throws(() => parseOptions(options), /^TypeError: options of startCluster must be an object, but got /);
  }
  assert.throws(() => parseOptions({ baseDir: 42 }), /^TypeError: options\.baseDir must be a string .*42 \(number\)$/);
});

test('names files and packages that are missing, in egg-cluster\'s words', t => {
  const baseDir = app(t);
  const fails = (options, message) => assert.throws(() => parseOptions({ baseDir, ...options }), message);
  fails({ baseDir: '/nowhere' }, { name: 'AssertionError', message: `${path.normalize('/nowhere/package.json')} should exist` });
  fails({ framework: '/nowhere' }, { name: 'AssertionError', message: '/nowhere should exist' });
  fails({ framework: 'not-there' }, {
    name: 'Error',
    message: `not-there is not found in ${[ ...new Set([ path.join(baseDir, 'node_modules'), path.resolve('node_modules') ]) ]}`,
  });
  const cert = __filename;
  fails({ https: {} }, { name: 'AssertionError', message: 'options.https.key should exists' });
  fails({ https: { key: cert } }, { message: 'options.https.cert should exists' });
  fails({ https: { key: cert, cert, ca: '/nowhere' } }, { message: 'options.https.ca should exists' });
  const { https, port } = parseOptions({ baseDir, https: { key: cert, cert } });
  assert.deepStrictEqual({ https, port }, { https: { key: cert, cert }, port: 8443 });
});

test('https: true takes key and cert from beside it, with egg-cluster\'s warning', t => {
  const warn = t.mock.method(console, 'warn', () => {});
  const { https } = parseOptions({ baseDir: app(t), https: true, key: __filename, cert: __filename });
  assert.deepStrictEqual(https, { key: __filename, cert: __filename });
  assert.match(warn.mock.calls[0].arguments[0], /^\[egg-cluster:deprecated\] \[master\] Please use `https/);
});

test('says which package.json is broken', t => {
  const baseDir = app(t, { 'package.json': '{ "name": ' });
  assert.throws(() => parseOptions({ baseDir }), err =>
    err instanceof SyntaxError && err.message.startsWith(`${baseDir}/package.json is not valid JSON: `));
});

test('the framework is the one of package.json, else egg', t => {
  const baseDir = app(t, {
    'package.json': { egg: { framework: '@my/fw' } },
    'node_modules/@my/fw/package.json': { name: '@my/fw', main: 'lib/main.js' },
    'node_modules/@my/fw/lib/main.js': FRAMEWORK,
  });
  assert.strictEqual(parseOptions({ baseDir }).framework, path.join(baseDir, 'node_modules/@my/fw'));
});

test('a framework without Application or Agent is refused without being executed', t => {
  const refused = (source, name) => {
    const baseDir = app(t, { 'node_modules/egg/index.js': source });
    assert.throws(() => parseOptions({ baseDir }), {
      name: 'AssertionError', message: `should define ${name} in ${baseDir}/node_modules/egg`,
    });
  };
  refused('module.exports = {}; throw new Error(\'executed\');', 'Application');
  refused('exports.Application = class {};', 'Agent');
});

test('NO_DEPRECATION is set in production only', t => {
  const baseDir = app(t);
  withEnv(t, { NO_DEPRECATION: undefined, NODE_ENV: 'development' });
  parseOptions({ baseDir });
  assert.strictEqual(process.env.NO_DEPRECATION, undefined);
  process.env.NODE_ENV = 'production';
  for (const exitProcess of [ false, true ]) {
    assert.strictEqual(process.env.NO_DEPRECATION, undefined);
    assert.strictEqual(parseOptions({ baseDir, exitProcess }).exitProcess, exitProcess);
  }
  assert.strictEqual(process.env.NO_DEPRECATION, '*');
});

test('isDebug follows the inspector arguments of this process', t => {
  const baseDir = app(t);
  const before = process.execArgv;
  t.after(() => {
    process.execArgv = before;
  });
  for (const arg of [ '--inspect=0', '--inspect-brk', '--inspect-port=1', '--debug-port=1', '--debug' ]) {
    process.execArgv = [ '--no-warnings', arg ];
    assert.strictEqual(parseOptions({ baseDir }).isDebug, true, arg);
  }
  process.execArgv = [];
  assert(!('isDebug' in parseOptions({ baseDir })));
});

test('production is told by env, else by NODE_ENV', t => {
  withEnv(t, { NODE_ENV: 'production' });
  assert.deepStrictEqual([ 'local', 'unittest', 'prod', 'sit', null ].map(env => isProduction({ env })),
    [ false, false, true, true, true ]);
  process.env.NODE_ENV = 'test';
  assert.strictEqual(isProduction({ env: null }), false);
});
