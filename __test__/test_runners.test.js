'use strict';

// Clusters started and closed inside of real test runners, which have to end by themselves afterwards.

const assert = require('assert');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { fixtures, root } = require('./helper/cluster');
const { freePort } = require('./helper/ports');

const REASON = 'process.exit ends the test runner';
const mocha = require.resolve('mocha/bin/mocha.js');
const jest = require.resolve('jest/bin/jest');
const runners = path.join(fixtures, 'runners');

async function run(t, args, place) {
  const runner = await t.start({
    command: process.execPath, args, ipc: false,
    env: { PORT: String(await freePort()), TEST_PORTS: `${await freePort()},${await freePort()}`, TEST_PLACE: place, TEST_PARENT: String(process.pid), CI: 'true' },
  });
  const end = await runner.end(90000);
  assert.deepStrictEqual(end, { code: 0, signal: null }, runner.transcript());
  await runner.noLeftovers();
  return runner;
}

ownOnly(REASON, 'mocha runs the example and ends without --exit', async t => {
  const { out } = await run(t, [ mocha, path.join(root, 'example/test/mocha') ]);
  assert.match(out, /4 passing/);
});

ownOnly(REASON, 'mocha runs several files in one process, and in parallel in child processes', async t => {
  const files = [ 'one.js', 'two.js' ].map(name => path.join(runners, 'mocha', name));
  assert.match((await run(t, [ mocha, ...files ], 'main process')).out, /6 passing/);
  assert.match((await run(t, [ mocha, '--parallel', '--jobs', '2', ...files ], 'child process')).out, /6 passing/);
});

ownOnly(REASON, 'jest runs the example, finds no open handle and ends', async t => {
  const { out, err } = await run(t, [ jest, '--config', path.join(root, 'example/jest.config.js'), '--detectOpenHandles' ]);
  assert.match(err, /Tests: +4 passed, 4 total/);
  assert.doesNotMatch(out + err, /open handle|did not exit/);
});

const MODES = {
  'main process': [ '--runInBand', '--detectOpenHandles' ],
  'child process': [ '--maxWorkers=2' ],
  'worker thread': [ '--maxWorkers=2', '--workerThreads' ],
};

for (const [ place, args ] of Object.entries(MODES)) {
  ownOnly(REASON, `jest runs several files, each with a registry of modules of its own: ${place}`, async t => {
    const { out, err } = await run(t, [ jest, '--config', path.join(runners, 'jest/jest.config.js'), ...args ], place);
    assert.match(err, /Tests: +6 passed, 6 total/);
    assert.doesNotMatch(out + err, /open handle|did not exit|failed to exit|force exit/);
  });
}
