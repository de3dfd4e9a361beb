'use strict';

const assert = require('assert');
const { test } = require('./helper/test');
const { get, tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');

async function start(t, options = {}) {
  const ports = [ await freePort(), await freePort() ];
  const app = await t.start({ options: { startMode: 'worker_threads', ports, port: ports[0], ...options } });
  await app.ready();
  return { app, ports };
}

async function threadAt(port) {
  const { json } = await get(port, '/do', { body: JSON.stringify({ name: 'info' }) });
  return json.result;
}

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

test('a dead app thread starts again after a second', async t => {
  const { app, ports } = await start(t);
  const { threadId } = await threadAt(ports[1]);
  const before = app.mark();
  const order = { body: JSON.stringify({ name: 'exit', args: { code: 1 } }) };
  await assert.rejects(get(ports[1], '/do', order));
  await app.stdout(new RegExp(`\\(tid:${threadId}\\) refork after 1s`), before);
  await app.message('app-worker-died', before);
  await app.stdout(new RegExp(`app_worker#2:\\d+ started at ${ports[1]}, remain 0`), before);
  assert.notStrictEqual((await threadAt(ports[1])).threadId, threadId);
  assert.notStrictEqual((await threadAt(ports[0])).threadId, threadId);
});

test('a close ends the threads with code 0', async t => {
  const { app, ports } = await start(t);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  for (const port of ports) assert.strictEqual(await tryConnect({ port, host: '127.0.0.1' }), 'ECONNREFUSED');
});
