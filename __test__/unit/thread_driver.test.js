'use strict';

const assert = require('assert');
const path = require('path');
const test = require('./helpers/test');
const util = require('util');

const ThreadDriver = require('../../lib/thread_driver');
const { tree } = require('./helpers/app');

const SCRIPT = `
  const { parentPort } = require('worker_threads');
  parentPort.postMessage({
    argv: process.argv.slice(1),
    isMain: require.main === module && process.mainModule === module,
    connected: process.connected,
  });
  parentPort.on('message', ({ todo, value }) => ({
    echo: () => parentPort.postMessage(value),
    send: () => process.send({ sent: value, date: new Date(0) }, () => process.send('called back')),
    handle: () => {
      try {
        process.send({}, { handle: true });
      } catch (err) {
        process.send(err.message);
      }
    },
    exit: () => process.exit(value),
    throw: () => {
      throw new TypeError('thrown');
    },
  }[todo]()));
`;

/** A driver whose reports can be awaited in their order. */
function create(t, optionsOf = slot => ({ slot })) {
  const reports = [];
  const waiting = [];
  const lines = [];
  const take = (...report) => {
    if (waiting.length > 0) waiting.shift()(report);
    else reports.push(report);
  };
  const native = {};
  for (const name of [ 'threadStarted', 'threadFailed', 'threadMessage', 'threadExited' ]) {
    native[name] = (...args) => take(name, ...args);
  }
  const text = (first, ...rest) => (first instanceof Error ? JSON.stringify({ ...first, name: first.name, message: first.message }) : util.format(first, ...rest));
  const line = level => (...args) => lines.push(`${level} ${text(...args)}`);
  const script = path.join(tree(t, { 'script.js': SCRIPT }), 'script.js');
  const driver = new ThreadDriver({
    native,
    files: { agent: script, app: script },
    optionsOf,
    logger: { warn: line('WARN'), error: line('ERROR') },
    log: line('log'),
  });
  const next = () => (reports.length > 0 ? reports.shift() : new Promise(resolve => waiting.push(resolve)));
  return { driver, next, lines, script };
}

/** A driver with one thread that has spoken. */
async function started(t) {
  const created = create(t);
  created.driver.spawn({ key: 5, role: 'app', id: 2, slot: 1 });
  const [ name, key, threadId ] = await created.next();
  assert.deepStrictEqual([ name, key, threadId > 0 ], [ 'threadStarted', 5, true ]);
  const first = await created.next();
  const post = (todo, value) => created.driver.post({ key: 5, message: { todo, value } });
  const end = async () => {
    created.driver.terminate({ key: 5 });
    assert.deepStrictEqual(await created.next(), [ 'threadExited', 5, 1 ]);
  };
  return { ...created, threadId, first, post, end };
}

test('a thread runs its script as if it had been started with it, with its options as argument', async t => {
  const { first, script, end } = await started(t);
  const expected = { argv: [ script, '{"slot":1}' ], isMain: true, connected: true };
  assert.deepStrictEqual([ first[0], first[1], JSON.parse(first[2]) ], [ 'threadMessage', 5, expected ]);
  await end();
});

test('messages travel as JSON', async t => {
  const { post, next, end } = await started(t);
  const echoes = [
    [ 'text', '"text"' ],
    [ { a: [ 1, null ] }, '{"a":[1,null]}' ],
    [ 7, '7' ],
    [ undefined, 'null' ],
    [ '\ud83d', '"\\ud83d"' ],
  ];
  for (const [ value, json ] of echoes) {
    post('echo', value);
    assert.deepStrictEqual(await next(), [ 'threadMessage', 5, json ]);
  }
  await end();
});

test('what cannot be JSON is told', async t => {
  const { post, next, lines, end } = await started(t);
  const value = {};
  value.self = value;
  post('echo', value);
  post('echo', 1n);
  post('echo', 'behind them');
  assert.deepStrictEqual(await next(), [ 'threadMessage', 5, '"behind them"' ]);
  assert.strictEqual(lines.length, 2);
  assert.match(lines[0], /^WARN \[master\] message of app_worker#2 is ignored, it cannot be JSON: Converting circular/);
  assert.match(lines[1], /BigInt/);
  await end();
});

test('process.send of a thread sends JSON, calls back, and refuses handles', async t => {
  const { post, next, end } = await started(t);
  post('send', [ 1 ]);
  assert.deepStrictEqual(await next(), [ 'threadMessage', 5, '{"sent":[1],"date":"1970-01-01T00:00:00.000Z"}' ]);
  assert.deepStrictEqual(await next(), [ 'threadMessage', 5, '"called back"' ]);
  post('handle');
  assert.deepStrictEqual(await next(), [ 'threadMessage', 5, '"process.send of a thread cannot send a handle"' ]);
  await end();
});

test('the end of a thread is told with its code, and nothing is sent to it any more', async t => {
  const { driver, post, next, lines } = await started(t);
  post('exit', 7);
  assert.deepStrictEqual(await next(), [ 'threadExited', 5, 7 ]);
  post('echo', 1);
  driver.terminate({ key: 5 });
  driver.abandon({ key: 5 });
  assert.strictEqual(driver.hasAbandoned, false);
  assert.deepStrictEqual(lines, []);
});

test('an error that ends a thread is logged with the thread\'s name on it', async t => {
  const { post, next, lines, threadId } = await started(t);
  post('throw');
  assert.deepStrictEqual(await next(), [ 'threadExited', 5, 1 ]);
  const [ level, json ] = lines[0].split(/ (.*)/s);
  assert.deepStrictEqual([ level, JSON.parse(json) ], [ 'ERROR', { name: 'AppWorkerError', id: 2, pid: threadId, message: 'thrown' } ]);
});

test('a thread that is given up is remembered until it ends after all', async t => {
  const { driver, next, lines, threadId } = await started(t);
  driver.terminate({ key: 5 });
  driver.abandon({ key: 5 });
  assert.strictEqual(driver.hasAbandoned, true);
  assert.deepStrictEqual(await next(), [ 'threadExited', 5, 1 ]);
  assert.strictEqual(driver.hasAbandoned, false);
  assert.deepStrictEqual(lines, [ `log [master] kill app_worker#2 (tid:${threadId}) (worker_threads) by worker.terminate()` ]);
});

test('a thread that cannot be made is told', async t => {
  const { driver, next } = create(t, () => {
    throw new Error('no options today');
  });
  driver.spawn({ key: 1, role: 'agent', id: 1, slot: null });
  assert.deepStrictEqual(await next(), [ 'threadFailed', 1, 'no options today' ]);
});
