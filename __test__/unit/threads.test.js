'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { threadPlaces, canReusePort, ignoredOptions, threadOptions } = require('../../lib/threads');
const { parseOptions } = require('../../lib/options');
const { app } = require('./helpers/app');

const places = options => threadPlaces({ sticky: undefined, reusePort: false, port: undefined, ports: [], workers: 4, ...options });

test('one thread for each port, else one', () => {
  assert.deepStrictEqual(places({ ports: [ 7001, '7002' ] }), { workers: 2, ports: [ 7001, 7002 ] });
  assert.deepStrictEqual(places({ ports: [ 7001, 7002 ], port: 7001, workers: 1 }), { workers: 2, ports: [ 7001, 7002 ] });
  assert.deepStrictEqual(places({ port: 7001 }), { workers: 1, ports: [ 7001 ] });
  assert.deepStrictEqual(places({}), { workers: 1, ports: [] });
  for (const ports of [ null, undefined, '', 0, false ]) assert.deepStrictEqual(places({ ports }), { workers: 1, ports: [] });
});

const refused = [
  [ { ports: 7001 }, TypeError, /^options\.ports must be an array of port numbers, but got 7001 \(number\)$/ ],
  [ { ports: '7001,7002' }, TypeError, /^options\.ports must be an array of port numbers, but got '7001,7002' \(string\)$/ ],
  [ { ports: { a: 1 } }, TypeError, /^options\.ports must be an array/ ],
  [ { ports: [ 7001, 'http' ] }, RangeError, /^options\.ports\[1\] must be a port number between 1 and 65535, but got 'http' \(string\)$/ ],
  [ { ports: [ 0 ] }, RangeError, /^options\.ports\[0\] must be a port number between 1 and 65535, but got 0 \(number\)$/ ],
  [ { ports: [ 65536 ] }, RangeError, /options\.ports\[0\]/ ],
  [ { ports: [ 7001.5 ] }, RangeError, /options\.ports\[0\]/ ],
  [ { ports: [ null ] }, RangeError, /options\.ports\[0\] .* but got null/ ],
  [ { ports: [ '7001 ' ] }, RangeError, /options\.ports\[0\]/ ],
  [ { ports: [ 7001, '7001' ] }, RangeError, /^options\.ports\[1\] must not be 7001 once more/ ],
  [ { sticky: true }, TypeError, /^options\.sticky is not possible with startMode 'worker_threads'/ ],
  [ { sticky: { by: 'cookie', name: 'x' } }, TypeError, /^options\.sticky is not possible/ ],
  [ { debugPort: 7009, ports: [ 7001, 7002 ] }, TypeError, /^options\.debugPort is not possible with 2 threads/ ],
  [ { reusePort: true }, Error, /^options\.port must be specified when reusePort is enabled$/ ],
];

test('what threads cannot have is refused by its name and value', t => {
  for (const [ options, type, message ] of refused) {
    assert.throws(() => places(options), err => err instanceof type && message.test(err.message), JSON.stringify(options));
  }
  const baseDir = app(t);
  const parse = options => parseOptions({ baseDir, port: 7001, ...options });
  assert.throws(() => parse({ startMode: 'worker_threads', sticky: true }), /options\.sticky is not possible/);
  assert.throws(() => parse({ startMode: 'worker_threads', ports: [ 'x' ] }), /options\.ports\[0\]/);
  assert.deepStrictEqual(parse({ ports: [ 7001 ], sticky: true }).ports, [ 7001 ], 'processes have no use for ports');
});

test('reusePort: as many threads as workers, where Node and the system can', () => {
  const wanted = { reusePort: true, port: 7001, ports: [ 1 ] };
  assert.deepStrictEqual(places({ ...wanted, workers: 1 }), { workers: 1, ports: [ 1 ] });
  if (canReusePort(process.versions.node, process.platform)) {
    assert.deepStrictEqual(places(wanted), { workers: 4, ports: [ 1 ] });
  } else {
    assert.throws(() => places(wanted), new RegExp(`options\\.reusePort with 4 threads needs Node.js 22.12 or later .* this is Node.js ${process.versions.node}`));
  }
});

test('which versions of Node have reusePort for TCP', () => {
  const can = [ '22.12.0', '22.20.1', '23.1.0', '24.0.0', '26.10.0' ];
  const cannot = [ '16.20.2', '18.20.8', '20.19.0', '22.11.9', '23.0.0' ];
  for (const version of can) assert.strictEqual(canReusePort(version, 'linux'), true, version);
  for (const version of cannot) assert.strictEqual(canReusePort(version, 'linux'), false, version);
  assert.strictEqual(canReusePort('24.0.0', 'darwin'), false);
});

test('what has no effect is told', () => {
  const ignored = (given, parsed) => ignoredOptions(given, { workers: 2, reusePort: false, ports: [ 1, 2 ], ...parsed });
  assert.deepStrictEqual(ignored({}), []);
  assert.deepStrictEqual(ignored({ workers: 2, drain: false, watchdog: false }), []);
  assert.deepStrictEqual(ignored({ workers: '3' }), [ 'options.workers (3) has no effect: there is one thread for each of 2 port(s)' ]);
  assert.deepStrictEqual(ignored({ workers: 3 }, { workers: 3, reusePort: true, ports: [] }), []);
  assert.match(ignored({}, { reusePort: true })[0], /^options\.ports has no effect with options\.reusePort/);
  assert.match(ignored({ drain: {}, watchdog: {} }).join(), /^options\.drain .*,options\.watchdog /);
});

test('each thread is told its port, and the agent that of the options', () => {
  const options = { port: 7001, ports: [ 7001, 7002 ], reusePort: false };
  assert.strictEqual(threadOptions(options, 1).port, 7002);
  assert.strictEqual(threadOptions(options, null), options);
  assert.strictEqual(threadOptions({ ...options, reusePort: true }, 1).port, 7001);
  const empty = { ports: [], reusePort: false };
  assert.strictEqual(threadOptions(empty, 0), empty);
});
