'use strict';

// How threads die, start again and end.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { execFileSync, spawnSync } = require('child_process');
const { test, ownOnly } = require('./helper/test');
const { tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { poll, describe } = require('./helper/processes');
const { skipReason, listeningSockets } = require('./helper/reuse_port');
const { launch, start, doAt, failAt, threadAt, idsAt, heard, fence } = require('./helper/threads');

test('a dead app thread starts again after a second', async t => {
  const { app, ports } = await start(t);
  const { threadId } = await threadAt(ports[1]);
  const before = app.mark();
  await failAt(ports[1], 'exit', { code: 1 });
  await app.stdout(new RegExp(`\\(tid:${threadId}\\) exit with code: 1`), before);
  await app.stderr(new RegExp(`AppWorkerDiedError: \\[master\\] app_worker#2:${threadId} died `), before);
  await app.stdout(new RegExp(`\\(tid:${threadId}\\) refork after 1s`), before);
  await app.message('app-worker-died', before);
  await app.stdout(new RegExp(`app_worker#2:\\d+ started at ${ports[1]}, remain 0`), before);
  assert.notStrictEqual((await threadAt(ports[1])).threadId, threadId);
  assert.notStrictEqual((await threadAt(ports[0])).threadId, threadId);
});

for (const env of [ 'prod', 'local' ]) {
  ownOnly('dies of it as a whole', `an uncaught error in an app thread ends this thread only, and it starts again (${env})`, async t => {
    const { app, ports } = await start(t, { options: { env } });
    const [ first, second ] = await idsAt(ports);
    const before = app.mark();
    await doAt(ports[0], 'throwLater', { message: 'thrown in thread' });
    await app.stderr(/AppWorkerError: thrown in thread/, before);
    await app.stderr(new RegExp(`app_worker#1:${first} died \\(code: 1, signal: null, suicide: true, state: dead\\), current workers: \\[${first},${second}\\]`), before);
    await app.until('the new thread', () => heard(app, 'egg-ready', second + 1, before).length === 1);
    assert.deepStrictEqual(await idsAt(ports), [ second + 1, second ]);
  });
}

ownOnly('dies of it as a whole', 'anything can be thrown in a thread', async t => {
  const { app, ports } = await start(t);
  const before = app.mark();
  await doAt(ports[0], 'throwValue', { value: 'a text' });
  await app.stderr(/AppWorkerError: thrown in a thread: 'a text'/, before);
  await app.stdout(new RegExp(`app_worker#1:\\d+ started at ${ports[0]}, remain 0`), before);
});

test('a dead agent thread starts again after a second', async t => {
  const { app, ports } = await start(t);
  const ids = await idsAt(ports);
  const before = app.mark();
  app.tell('agent', 'exit', { code: 3 });
  await app.stderr(/AgentWorkerDiedError: \[master\] agent_worker#1:-?1 died \(code: 3, /, before);
  await app.stdout(/try to start a new agent_worker after 1s \.\.\./, before);
  await app.message('agent-worker-died', before);
  await app.stdout(/agent_worker#2:4 started/, before);
  await fence(app);
  for (const id of ids) {
    assert.deepStrictEqual(heard(app, 'egg-pids', id, before).map(message => message.data), [ [], [ 4 ] ]);
    assert.strictEqual(heard(app, 'agent-start', id, before).length, 1);
  }
  const [ pids ] = heard(app, 'egg-pids', 4, before);
  assert.deepStrictEqual(pids.data.sort(), [ ...ids ].sort());
  assert.strictEqual(heard(app, 'egg-ready', 4, before).length, 1);
});

test('an uncaught error in the agent thread is named, and the agent starts again', async t => {
  const { app } = await start(t);
  const before = app.mark();
  app.tell('agent', 'throwLater', { message: 'thrown in agent' });
  await app.stderr(/AgentWorkerError: thrown in agent/, before);
  await app.stdout(/agent_worker#2:4 started/, before);
});

/** On older Nodes (16 and 18) a thread that exits loses all but the first of the lines that it writes at once. */
const LAST_WORDS = `
  new (require('worker_threads').Worker)("console.error('first'); console.error('last'); process.exit()", { eval: true });
`;
const keepsLastWords = String(spawnSync(process.execPath, [ '-e', LAST_WORDS ]).stderr).includes('last');

/** The case, what the framework does, what the master says of it, and the last words of the thread. */
const FAILURES = [
  [ 'an app thread that exits', { app: { byIndex: [ {}, { exitAtBoot: 7 } ] } }, [ /app_worker#2:3 start fail, exiting with code:1/ ] ],
  [ 'an app thread that is not ready', { app: { failReady: 'not today' } },
    [ /not today/, /app_worker#\d:\d start fail, exiting with code:1/ ], /\[app_worker\] start error, exiting with code:1/ ],
  [ 'an app thread that takes too long', { app: { startTimeout: 100 } },
    [ /app_worker#\d:\d start fail, exiting with code:1/ ], /\[app_worker\] start timeout, exiting with code:1/ ],
  [ 'an agent thread that exits', { agent: { exitAtBoot: 7 } },
    [ /agent_worker#1:-?1 died \(code: 7, /, /agent_worker#1:-?1 start fail, exiting with code:1/ ] ],
  [ 'an agent thread that is not ready', { agent: { failReady: 'not today' } },
    [ /not today/, /agent_worker#1:-?1 start fail, exiting with code:1/ ], /\[agent_worker\] start error, exiting with code:1/ ],
  [ 'an agent thread that throws', { agent: { throwInConstructor: 'thrown at boot' } },
    [ /AgentWorkerError: thrown at boot/, /agent_worker#1:-?1 start fail, exiting with code:1/ ] ],
];

for (const [ name, mini, texts, lastWords ] of FAILURES) {
  test(`${name} ends the start with code 1`, async t => {
    const { app } = await launch(t, { mini });
    assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
    for (const text of texts) assert.match(app.err, text);
    if (lastWords && keepsLastWords) assert.match(app.err, lastWords);
    assert.deepStrictEqual(app.found('egg-ready'), []);
  });
}

ownOnly('ends with the error alone', 'an app thread that throws ends the start with code 1, and says which it was', async t => {
  const { app } = await launch(t, { mini: { app: { throwInConstructor: 'thrown at boot' } } });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  assert.match(app.err, /AppWorkerError: thrown at boot/);
  assert.match(app.err, /app_worker#\d:\d start fail, exiting with code:1/);
});

test('a taken port ends the start with code 1', async t => {
  const port = await freePort();
  const other = require('net').createServer();
  await require('events').once(other.listen(port), 'listening');
  t.after(() => other.close());
  const { app } = await launch(t, { options: { ports: [ port ] } });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  assert.match(app.err, /\[app_worker\] server got error: listen EADDRINUSE.*, code: EADDRINUSE\n/);
  assert.match(app.err, /app_worker#1:2 start fail, exiting with code:1/);
});

for (const signal of [ 'SIGTERM', 'SIGINT', 'SIGQUIT' ]) {
  test(`${signal} ends the app threads, then the agent, with code 0`, async t => {
    const { app, ports } = await start(t);
    assert.deepStrictEqual(await app.close(signal), { code: 0, signal: null });
    const order = app.out.match(/(?:send kill SIGTERM to .*, will exit|kill a.* by worker\.terminate\(\)|exit with code:0)$/gm);
    assert.deepStrictEqual(order.map(line => line.replace(/, will exit$/, '')), [
      'kill app_worker#1 (tid:2) (worker_threads) by worker.terminate()',
      'kill app_worker#2 (tid:3) (worker_threads) by worker.terminate()',
      'kill agent worker#1 (worker_threads) by worker.terminate()',
      'exit with code:0',
    ]);
    assert.strictEqual(app.err, '');
    for (const port of ports) assert.strictEqual(await tryConnect({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
  });
}

for (const [ role, how ] of [ [ 'app', 'busy' ], [ 'agent', 'busy' ], [ 'app', 'wait' ] ]) {
  test(`an ${role} thread that is busy for ever (${how}) is ended all the same`, async t => {
    const { app } = await start(t, { env: { EGG_MASTER_CLOSE_TIMEOUT: '60000' } });
    // One of them would never give an answer: it is busy when the other thread has heard of it.
    app.tell(role, how, { ms: 3600000 }, role === 'app' ? 2 : undefined);
    await app.ask('app', 'info', {}, 3);
    assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  });
}

/** A program that ends when it is told to. While a thread waits for it, it cannot be in JavaScript. */
function endlessProgram(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-pipe-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const pipe = path.join(dir, 'pipe');
  execFileSync('mkfifo', [ pipe ]);
  return {
    program: { command: 'cat', args: [ pipe ] },
    runs: app => poll(() => app.leftovers().some(pid => describe(pid).startsWith(`${pid} cat ${pipe}`)), 20000),
    end: () => fs.closeSync(fs.openSync(pipe, fs.constants.O_WRONLY | fs.constants.O_NONBLOCK)),
  };
}

ownOnly('waits for it for ever', 'a thread that waits outside of JavaScript is given up when its time is over', async t => {
  const { app } = await start(t, { env: { EGG_MASTER_CLOSE_TIMEOUT: '300' } });
  const { program, runs, end } = endlessProgram(t);
  app.tell('app', 'run', program, 2);
  assert.ok(await runs(app));
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  end();
  await app.stdout(/app_worker#1:2 did not end in time, it is busy outside of JavaScript/);
  await app.stdout(/\[master\] exit with code:0/);
});

ownOnly('waits for it for ever', 'a start that fails does not wait for such a thread either', async t => {
  const { program, runs, end } = endlessProgram(t);
  const { app } = await launch(t, {
    env: { EGG_MASTER_CLOSE_TIMEOUT: '300' },
    mini: { app: { byIndex: [ { runAtBoot: program }, { readyDelay: 3600000 } ] } },
  });
  assert.ok(await runs(app));
  app.tell('agent', 'exit', { code: 1 });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  end();
  await app.stderr(/agent_worker#1:1 start fail, exiting with code:1/);
});

ownOnly('starts processes', 'a reload replaces the threads one after the other', async t => {
  const { app, ports } = await start(t, { script: 'facade.js' });
  const before = app.mark();
  app.send({ action: 'facade:reload' });
  await app.report('reloaded');
  assert.deepStrictEqual(await idsAt(ports), [ 4, 5 ]);
  assert.deepStrictEqual(app.found('app-worker-died', before), []);
  app.send({ action: 'facade:reload', data: { agent: true } });
  await app.until('the second', () => app.found(m => m.action === 'test:report' && m.data.type === 'reloaded').length === 2);
  assert.deepStrictEqual(await idsAt(ports), [ 7, 8 ]);
  assert.strictEqual((await app.ask('agent', 'info')).threadId, 6);
  assert.strictEqual(app.err, '');
});

test('with reusePort, the others serve while a dead thread is away', { skip: skipReason() }, async t => {
  const { app } = await start(t, { options: { ports: undefined, reusePort: true, workers: 2 } });
  const before = app.mark();
  app.tell('app', 'exit', { code: 1 }, 2);
  await app.stdout(/app_worker#1 \(tid:2\) refork after 1s/, before);
  assert.strictEqual((await threadAt(app.port)).threadId, 3);
  await app.stdout(/app_worker#1:4 started at \d+, remain 0/, before);
  assert.strictEqual(listeningSockets(app.port).length, 2);
});
