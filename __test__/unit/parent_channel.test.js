'use strict';

const assert = require('assert');
const path = require('path');
const test = require('./helpers/test');
const { fork } = require('child_process');
const { once } = require('events');

const { app } = require('./helpers/app');

const SCRIPT = path.join(__dirname, 'helpers/child_master.js');

/** Start a master below this process and wait until it speaks. */
async function start(t, options = {}) {
  const child = fork(SCRIPT, [ app(t) ], { silent: true, execArgv: [], ...options });
  t.after(() => child.exitCode === null && child.signalCode === null && child.kill('SIGKILL'));
  const output = { stdout: '', stderr: '' };
  for (const name of [ 'stdout', 'stderr' ]) {
    child[name].on('data', chunk => {
      output[name] += chunk;
    });
  }
  const [ ready ] = await once(child, 'message');
  assert.strictEqual(ready.action, 'egg-ready');
  return { child, output };
}

async function answerTo(child, message) {
  const answer = once(child, 'message');
  child.send(message);
  return (await answer)[0].data;
}

test('messages of the parent go to the native side, stamped; those that are no objects are ignored', async t => {
  const { child, output } = await start(t, { serialization: 'advanced' });
  child.send('a string');
  child.send([ 1 ]);
  child.send({ action: 'big', data: 1n });
  assert.deepStrictEqual(await answerTo(child, { action: 'x', to: 'app', data: 1 }),
    { message: { action: 'x', to: 'app', data: 1, from: 'parent' }, fromParent: true });
  assert.deepStrictEqual(await answerTo(child, { action: 'y', from: 'nobody' }),
    { message: { action: 'y', from: 'parent' }, fromParent: true });
  assert.strictEqual(output.stdout.match(/WARN \d+ \[master\] message .* is ignored/g).length, 3);
  child.kill('SIGTERM');
  assert.deepStrictEqual(await once(child, 'close'), [ 0, null ]);
  assert.strictEqual(output.stderr, '');
  assert.match(output.stdout, / INFO \d+ \[master\] close done, exiting with code:0\n.*\n.* INFO \d+ \[master\] exit with code:0\n$/);
});

test('after the parent has disconnected nothing is an error', async t => {
  const { child, output } = await start(t);
  child.disconnect();
  await once(child, 'disconnect');
  // Node emits no `close` for a child whose channel was closed on this side.
  const ends = [ once(child, 'exit'), once(child.stdout, 'end'), once(child.stderr, 'end') ];
  child.kill('SIGINT');
  assert.deepStrictEqual((await Promise.all(ends))[0], [ 0, null ]);
  assert.strictEqual(output.stderr, '');
  assert.match(output.stdout, /master is killed by signal SIGINT, closing/);
});

test('a failing exit is told on stderr', async t => {
  const { child, output } = await start(t, { execArgv: [ '-r', path.join(__dirname, 'helpers/exit_on_usr2.js') ] });
  child.kill('SIGUSR2');
  assert.deepStrictEqual(await once(child, 'close'), [ 3, null ]);
  assert.match(output.stderr, /^.* ERROR \d+ \[master\] the reason of the exit: .* process\.exit\(\)\n\S+ \S+ ERROR \d+ \[master\] exit with code:3\n$/);
});
