'use strict';

// `startMode: 'worker_threads'`: agent and app workers are threads of the master's process.

const assert = require('assert');
const os = require('os');
const path = require('path');
const { test, ownOnly } = require('./helper/test');
const { tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { skipReason, listeningSockets } = require('./helper/reuse_port');
const { launch, start, doAt, failAt, threadAt, idsAt, isAction, heard, fence, receivers } = require('./helper/threads');

test('the agent is thread 1, and there is one app thread for each of the ports', async t => {
  const { app, ports } = await start(t);
  const infos = [ await threadAt(ports[0]), await threadAt(ports[1]) ];
  assert.deepStrictEqual(infos.map(info => info.pid), [ app.pid, app.pid ]);
  assert.deepStrictEqual(infos.map(info => info.threadId).sort(), [ 2, 3 ]);
  await app.stdout(/\[master\] agent_worker#1:1 start with worker_threads\n/);
  await app.stdout(/\[master\] app_worker#1 \(tid:2\) start\n/);
  await app.stdout(/\[master\] app_worker#2 \(tid:3\) start\n/);
  assert.strictEqual(app.err, '');
});

test('without ports there is one app thread, on the port of the options or the configuration', async t => {
  const one = await start(t, { options: { ports: undefined, workers: 1 } });
  assert.strictEqual((await threadAt(one.app.port)).threadId, 2);
  assert.strictEqual(one.app.out.match(/app_worker#\d+ \(tid:\d+\) start\n/g).length, 1);
  const port = await freePort();
  const two = await start(t, { options: { ports: undefined, port: undefined }, mini: { app: { listen: { port } } } });
  assert.strictEqual((await threadAt(port)).threadId, 2);
  assert.strictEqual((await two.app.ready()).port, port);
});

test('a thread runs the script of egg-cluster as if it had been started with it', async t => {
  const { app, ports } = await start(t);
  const { argv } = await threadAt(ports[1]);
  assert.strictEqual(argv.length, 3);
  assert.match(argv[1], /egg-cluster\/lib\/app_worker\.js$/);
  const options = JSON.parse(argv[2]);
  assert.deepStrictEqual([ options.port, options.startMode, options.ports ], [ ports[1], 'worker_threads', ports ]);
  const agent = await app.ask('agent', 'info');
  assert.match(agent.argv[1], /egg-cluster\/lib\/agent_worker\.js$/);
  assert.strictEqual(JSON.parse(agent.argv[2]).clusterPort, options.clusterPort);
});

ownOnly(
  'names the port that was told last, and the address http://:::port',
  'egg-ready names the first of the ports, whichever is ready first',
  async t => {
    const { app, ports } = await start(t, { mini: { app: { byIndex: [ { readyDelay: 500 }, {} ] } } });
    const address = `http://127.0.0.1:${ports[0]}`;
    assert.deepStrictEqual(await app.ready(), { port: ports[0], address, protocol: 'http' });
    await app.stdout(new RegExp(`started on ${address} \\(`));
    assert.deepStrictEqual(app.out.match(/app_worker#\d:\d started at \d+, remain \d/g), [
      `app_worker#2:3 started at ${ports[1]}, remain 1`,
      `app_worker#1:2 started at ${ports[0]}, remain 0`,
    ]);
  });

test('egg-ready reaches each thread once, with the options', async t => {
  const { app, ports } = await start(t);
  await fence(app);
  for (const threadId of [ 1, 2, 3 ]) {
    const [ ready, ...more ] = heard(app, 'egg-ready', threadId);
    assert.deepStrictEqual(more, []);
    assert.strictEqual(ready.data.startMode, 'worker_threads');
    assert.deepStrictEqual(ready.data.ports, ports);
  }
});

test('the agent learns which app threads listen, the app threads that of the agent', async t => {
  const { app, ports } = await start(t);
  const [ first, second ] = await idsAt(ports);
  await fence(app);
  const pids = (threadId, since) => heard(app, 'egg-pids', threadId, since).map(message => message.data);
  const all = pids(1);
  assert.deepStrictEqual(all[all.length - 1].sort(), [ first, second ].sort());

  const before = app.mark();
  await failAt(ports[0], 'exit', { code: 1 });
  await app.stdout(new RegExp(`started at ${ports[0]}, remain 0`), before);
  const [ successor ] = await idsAt(ports);
  await fence(app);
  assert.deepStrictEqual(pids(1, before), [ [ second ], [ second, successor ] ]);
});

test('messages take the ways they take between processes, with thread ids for process ids', async t => {
  const { app, ports } = await start(t);
  const ids = await idsAt(ports);
  const send = message => doAt(ports[0], 'send', { message });
  await send({ action: 'app-to-agent', data: [ { a: null } ] });
  await send({ action: 'app-to-apps', to: 'app' });
  await send({ action: 'app-to-one', receiverPid: String(ids[1]) });
  await send({ action: 'app-to-one-agent', receiverPid: '1' });
  await send('just-a-string');
  await app.ask('agent', 'send', { message: { action: 'agent-to-apps' } });
  await app.ask('agent', 'send', { message: { action: 'agent-to-one', receiverPid: String(ids[0]) } });
  await app.ask('agent', 'send', { message: { action: 'to-nobody', receiverPid: '77' } });
  app.send({ action: 'parent-to-apps', to: 'app', data: 'x' });
  assert.deepStrictEqual(await receivers(app, 'parent-to-apps'), [ ...ids ].sort());
  const expected = {
    'app-to-agent': [ 1 ],
    'app-to-apps': [ ...ids ].sort(),
    'app-to-one': [ ids[1] ],
    'app-to-one-agent': [ 1 ],
    'just-a-string': [ 1 ],
    'agent-to-apps': [ ...ids ].sort(),
    'agent-to-one': [ ids[0] ],
    'to-nobody': [],
  };
  for (const [ action, threads ] of Object.entries(expected)) {
    assert.deepStrictEqual(await receivers(app, action), threads, action);
  }
  const [ message ] = heard(app, 'app-to-agent', 1);
  assert.deepStrictEqual(message, { action: 'app-to-agent', data: [ { a: null } ], from: 'app', to: 'agent' });
  const [ text ] = heard(app, 'just-a-string', 1);
  assert.deepStrictEqual(text, { action: 'just-a-string', data: 'just-a-string', from: 'app', to: 'agent' });
});

test('the master hears what its parent and threads send to it', async t => {
  const { app, ports } = await start(t, { script: 'echo-master.js', scriptArgs: { events: [ 'from-parent', 'from-app', 'from-agent', 'by-pid' ] } });
  app.send({ action: 'from-parent', data: 1 });
  await doAt(ports[0], 'send', { message: { action: 'from-app', to: 'master', data: 2 } });
  await doAt(ports[0], 'send', { message: { action: 'by-pid', receiverPid: String(app.pid), data: 3 } });
  await app.ask('agent', 'send', { message: { action: 'from-agent', to: 'master', data: 4 } });
  for (const [ name, value ] of [ [ 'from-parent', 1 ], [ 'from-app', 2 ], [ 'by-pid', 3 ], [ 'from-agent', 4 ] ]) {
    const isIt = m => m.action === 'test:report' && m.data.name === name;
    assert.deepStrictEqual((await app.message(isIt)).data.args, [ value ], name);
  }
});

ownOnly('has no process.send in threads', 'process.send of a thread is that of a worker process', async t => {
  const { app, ports } = await start(t);
  const message = { action: 'sent', data: [ 1, { undefined: undefined } ] };
  assert.strictEqual(await doAt(ports[0], 'processSend', { message }), true);
  await app.got(isAction('sent'));
  assert.deepStrictEqual(await receivers(app, 'sent'), [ 1 ]);
  await assert.rejects(doAt(ports[0], 'processSend', {}), /process\.send cannot send undefined/);
});

ownOnly('dies of some of them', 'what is no message is told and ignored', async t => {
  const { app, ports } = await start(t);
  await doAt(ports[0], 'postOdd', { kind: 'circular' });
  await app.stdout(/WARN \d+ \[master\] message of app_worker#1 is ignored, it cannot be JSON: Converting circular/);
  await doAt(ports[0], 'postOdd', { kind: 'number' });
  await app.stdout(/app_worker#1:2 sent a message that is ignored: neither an object nor a string/);
  await doAt(ports[1], 'postOdd', { kind: 'none' });
  await app.stdout(/app_worker#2:3 sent a message that is ignored/);
  await doAt(ports[0], 'postOdd', { kind: 'date' });
  assert.strictEqual((await app.message('dated')).data, '1970-01-01T00:00:00.000Z');
});

ownOnly('relays them', 'a thread has no part in Node\'s cluster protocol, whatever it says', async t => {
  const { app, ports } = await start(t);
  const port = await freePort();
  const query = {
    cmd: 'NODE_CLUSTER', act: 'queryServer', seq: 0, index: 0, address: '127.0.0.1', port, addressType: 4, fd: -1, flags: 0, backlog: 0,
  };
  for (const message of [ query, { cmd: 'NODE_HANDLE_ACK' }, { cmd: 'NODE_HANDLE', msg: {}, type: 'net.Socket' } ]) {
    await doAt(ports[0], 'postRaw', { message });
  }
  await fence(app);
  assert.strictEqual(await tryConnect({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
  assert.strictEqual(app.out.includes('is ignored'), false);
});

test('a Master of this mode can be looked at and closed', async t => {
  const { app } = await start(t, { script: 'facade.js' });
  app.send({ action: 'facade:look' });
  const { seen } = await app.report('look');
  assert.deepStrictEqual(seen.getWorkers, [ 2, 3 ]);
  assert.deepStrictEqual(seen.getListeningWorkerIds, [ 2, 3 ]);
  assert.deepStrictEqual(seen.count, { agent: 1, worker: 2 });
  assert.deepStrictEqual(seen.agent, { id: 1, workerId: 1, status: 'started' });
  assert.deepStrictEqual(seen.workers, [ { id: 1, workerId: 2, state: 'listening' }, { id: 2, workerId: 3, state: 'listening' } ]);
  app.send({ action: 'facade:close' });
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  assert.strictEqual(app.err, '');
});

ownOnly('cannot name it in egg-ready', 'one thread can serve a unix path', async t => {
  const socket = path.join(os.tmpdir(), `egg-cluster-test-thread-${process.pid}.sock`);
  const { app } = await start(t, { options: { ports: undefined, port: undefined }, mini: { app: { listen: { path: socket } } } });
  assert.strictEqual((await app.ready()).address, socket);
  assert.strictEqual((await threadAt(socket)).threadId, 2);
});

ownOnly('names ports on which nobody listens', 'threads have no inspector of their own', async t => {
  const { app } = await start(t, { execArgv: [ '--inspect=0' ] });
  await fence(app);
  assert.deepStrictEqual(app.found('debug'), []);
  assert.deepStrictEqual(app.err.match(/Debugger listening on/g), [ 'Debugger listening on' ]);
});

const reuse = { skip: skipReason() };

test('with reusePort, `workers` threads serve one port', reuse, async t => {
  const { app } = await start(t, { options: { ports: undefined, reusePort: true, workers: 3 } });
  assert.strictEqual(listeningSockets(app.port).length, 3);
  const missing = new Set([ 2, 3, 4 ]);
  for (let i = 0; i < 400 && missing.size > 0; i++) missing.delete((await threadAt(app.port)).threadId);
  assert.deepStrictEqual([ ...missing ], []);
  assert.deepStrictEqual(app.out.match(/remain \d/g), [ 'remain 2', 'remain 1', 'remain 0' ]);
  assert.strictEqual((await app.ready()).port, app.port);
});

ownOnly('lets the second thread fail', 'with reusePort where Node has none, more than one thread is refused', { skip: !reuse.skip && 'this Node has it' }, async t => {
  const { app } = await launch(t, { options: { ports: undefined, reusePort: true, workers: 2 } });
  const { error } = await app.report('thrown');
  assert.match(error.message, /options\.reusePort with 2 threads needs Node\.js 22\.12 or later/);
  await app.end();
});

ownOnly('says nothing', 'options without effect on threads are told', async t => {
  const { app } = await start(t, { options: { workers: 5, drain: { timeout: 1000 }, watchdog: { timeout: 5000 } } });
  await app.stdout(/WARN \d+ \[master\] startMode worker_threads: options\.drain has no effect/);
  await app.stdout(/WARN \d+ \[master\] startMode worker_threads: options\.watchdog has no effect/);
  await app.stdout(/WARN \d+ \[master\] startMode worker_threads: options\.workers \(5\) has no effect: there is one thread for each of 2 port\(s\)/);
});
