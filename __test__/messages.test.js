'use strict';

const assert = require('assert');
const { test, ownOnly } = require('./helper/test');
const { get } = require('./helper/http');

// Two app workers, their pids and the agent's.
async function start(t, config = {}) {
  const app = await t.ready({ ...config, options: { workers: 2, ...config.options } });
  const pids = await app.workerPids();
  return { app, pids, agent: await app.agentPid() };
}

const isAction = action => ({ message }) => message.action === action;

// Everybody has seen what was sent before this resolves: a message to all, behind everything else.
async function fence(app, action = 'fence') {
  const since = app.mark();
  app.send({ action, to: 'app' });
  app.send({ action, to: 'agent' });
  await app.until('the fence', () => app.allGot(isAction(action), since).length === app.options.workers + 1);
}

async function sendFrom(app, pid, message) {
  await app.ask('app', 'send', { message }, pid);
}

function receivers(app, action) {
  return app.allGot(isAction(action)).map(({ pid }) => pid).sort();
}

test('from the agent, a message without `to` goes to every app worker', async t => {
  const { app, pids } = await start(t);
  await app.ask('agent', 'send', { message: { action: 'news', data: [ 1 ] } });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), pids.sort());
  const [ { message } ] = app.allGot(isAction('news'));
  assert.deepStrictEqual(message, { action: 'news', data: [ 1 ], from: 'agent', to: 'app' });
});

test('from an app worker, a message without `to` goes to the agent', async t => {
  const { app, pids, agent } = await start(t);
  await sendFrom(app, pids[0], { action: 'news', data: { a: null } });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), [ agent ]);
  const [ { message } ] = app.allGot(isAction('news'));
  assert.deepStrictEqual(message, { action: 'news', data: { a: null }, from: 'app', to: 'agent' });
});

test('`to: app` from an app worker reaches all app workers, the sender too', async t => {
  const { app, pids } = await start(t);
  await sendFrom(app, pids[0], { action: 'news', to: 'app' });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), pids.sort());
});

test('`to: agent` from the agent comes back to it', async t => {
  const { app, agent } = await start(t);
  await app.ask('agent', 'send', { message: { action: 'news', to: 'agent' } });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), [ agent ]);
});

test('`to: parent` reaches the parent, from app and agent', async t => {
  const { app, pids } = await start(t);
  const since = app.mark();
  await sendFrom(app, pids[1], { action: 'up', data: 'of app', to: 'parent' });
  await app.ask('agent', 'send', { message: { action: 'up', data: 'of agent', to: 'parent' } });
  await app.until('both', () => app.found('up', since).length === 2);
  assert.deepStrictEqual(app.found('up', since), [
    { action: 'up', data: 'of app', to: 'parent', from: 'app' },
    { action: 'up', data: 'of agent', to: 'parent', from: 'agent' },
  ]);
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'up'), []);
});

test('the parent reaches apps or the agent, and `from` says so', async t => {
  const { app, pids, agent } = await start(t);
  app.send({ action: 'down', to: 'app', data: 1 });
  app.send({ action: 'below', to: 'agent', data: 2 });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'down'), pids.sort());
  assert.deepStrictEqual(receivers(app, 'below'), [ agent ]);
  assert.deepStrictEqual(app.allGot(isAction('below'))[0].message, { action: 'below', to: 'agent', data: 2, from: 'parent' });
});

test('`to: master` is emitted by the master, which is where the parent speaks by default', async t => {
  const app = await t.ready({ script: 'echo-master.js', scriptArgs: { events: [ 'hello' ] } });
  app.send({ action: 'hello', data: { by: 'parent' } });
  assert.deepStrictEqual((await app.report('event')).args, [ { by: 'parent' } ]);
  for (const to of [ 'app', 'agent' ]) {
    const since = app.mark();
    await app.ask(to, 'send', { message: { action: 'hello', to: 'master', data: { by: to } } });
    const { name, args } = await app.report('event', since);
    assert.deepStrictEqual({ name, args }, { name: 'hello', args: [ { by: to } ] });
  }
});

test('receiverPid of an app worker reaches that one only', async t => {
  const { app, pids } = await start(t);
  const message = { action: 'news', receiverPid: String(pids[1]) };
  await app.ask('agent', 'send', { message });
  await sendFrom(app, pids[0], message);
  app.send({ ...message, to: 'app' });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), [ pids[1], pids[1], pids[1] ]);
});

test('receiverPid of the agent reaches it, from anybody', async t => {
  const { app, pids, agent } = await start(t);
  await sendFrom(app, pids[0], { action: 'news', receiverPid: String(agent), to: 'app' });
  app.send({ action: 'news', receiverPid: String(agent) });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), [ agent, agent ]);
});

test('receiverPid of the master is emitted by the master', async t => {
  const app = await t.ready({ script: 'echo-master.js', scriptArgs: { events: [ 'hello' ] } });
  await app.ask('app', 'send', { message: { action: 'hello', receiverPid: String(app.pid), data: 7 } });
  assert.deepStrictEqual((await app.report('event')).args, [ 7 ]);
});

test('an unknown receiverPid and an unknown `to` reach nobody', async t => {
  const { app, pids } = await start(t);
  await sendFrom(app, pids[0], { action: 'news', receiverPid: '1' });
  await sendFrom(app, pids[0], { action: 'news', to: 'nobody' });
  await app.ask('agent', 'send', { message: { action: 'news', receiverPid: '1' } });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), []);
  assert.deepStrictEqual(app.found('news'), []);
});

ownOnly(
  'knows only pids',
  'receiverWorkerId works as receiverPid does',
  async t => {
    const { app, pids, agent } = await start(t);
    await app.ask('agent', 'send', { message: { action: 'one', receiverWorkerId: String(pids[1]) } });
    await sendFrom(app, pids[0], { action: 'two', receiverWorkerId: String(agent) });
    await sendFrom(app, pids[0], { action: 'three', receiverWorkerId: '1' });
    await fence(app);
    assert.deepStrictEqual(receivers(app, 'one'), [ pids[1] ]);
    assert.deepStrictEqual(receivers(app, 'two'), [ agent ]);
    assert.deepStrictEqual(receivers(app, 'three'), []);
  });

test('a bare string is an action with itself as data', async t => {
  const { app, pids, agent } = await start(t);
  await sendFrom(app, pids[0], 'just a string');
  await app.ask('agent', 'send', { message: 'another' });
  await fence(app);
  assert.deepStrictEqual(app.allGot(isAction('just a string')), [
    { role: 'agent', pid: agent, id: 0, message: { action: 'just a string', data: 'just a string', from: 'app', to: 'agent' } },
  ]);
  assert.deepStrictEqual(receivers(app, 'another'), pids.sort());
});

test('extra fields stay, and `from` cannot be forged', async t => {
  const { app, pids } = await start(t);
  const message = { senderPid: '7', senderWorkerId: '8', extra: { deep: [ { er: true } ] }, action: 'news', data: 0, from: 'master', to: 'agent', zero: 0, no: null, empty: '' };
  await sendFrom(app, pids[0], message);
  const got = await app.got(isAction('news'));
  assert.deepStrictEqual(got.message, { ...message, from: 'app' });
});

test('keys of an envelope inside the data do not route', async t => {
  const { app, pids, agent } = await start(t);
  await sendFrom(app, pids[0], { action: 'news', data: { to: 'app', action: 'no', receiverPid: String(pids[1]), from: 'x' } });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'news'), [ agent ]);
  assert.strictEqual(app.allGot(isAction('news'))[0].message.data.from, 'x');
});

const texts = {
  'characters of all planes': 'aé漢😀\u{10ffff}',
  'lone surrogates': '\ud83d x \ude00 \udfff\ud800',
  'control characters and separators': '\u0000\u0001\b\t\n\r\u001f\u007f\u2028\u2029\ufeff',
  'quotes, backslashes and JSON': '"\\"{}[]\\u0041\\\\ {"to":"app"}',
};

for (const [ name, text ] of Object.entries(texts)) {
  test(`text comes through unchanged: ${name}`, async t => {
    const { app, pids } = await start(t);
    await sendFrom(app, pids[0], { action: 'text', data: text, [text]: text });
    const { message } = await app.got(isAction('text'));
    assert.strictEqual(message.data, text);
    assert.strictEqual(message[text], text);
    const since = app.mark();
    await app.ask('agent', 'send', { message: text });
    await app.until('both apps', () => app.allGot(({ message: m }) => m.data === text && m.from === 'agent', since).length === 2);
  });
}

test('numbers come through unchanged', async t => {
  const { app, pids } = await start(t);
  const numbers = [ 0, -1, 0.1, 1e21, 1e308, 5e-324, 2 ** 53, 2 ** 53 + 2, 1.2345678901234567e19, 1.7976931348623157e308, 0.30000000000000004 ];
  await sendFrom(app, pids[0], { action: 'numbers', data: numbers });
  assert.deepStrictEqual((await app.got(isAction('numbers'))).message.data, numbers);
});

test('deep nesting comes through', async t => {
  const { app, pids } = await start(t);
  let data = 'core';
  for (let i = 0; i < 500; i++) data = i % 2 ? [ data ] : { data };
  await sendFrom(app, pids[0], { action: 'deep', data });
  assert.deepStrictEqual((await app.got(isAction('deep'))).message.data, data);
});

test('messages of five megabytes arrive whole, in both directions', async t => {
  const { app, pids, agent } = await start(t);
  const bytes = 5 << 20;
  const up = await app.ask('app', 'sendBig', { bytes, to: 'agent' }, pids[0]);
  const atAgent = await app.got(({ pid, message }) => pid === agent && message.action === 'big');
  assert.strictEqual(atAgent.message.sha1, up);
  const down = await app.ask('agent', 'sendBig', { bytes, to: 'app' });
  for (const pid of pids) {
    const { message } = await app.got(({ pid: by, message: m }) => by === pid && m.action === 'big');
    assert.strictEqual(message.sha1, down);
    assert.ok(message.length > Math.ceil(bytes / 7) * 4);
  }
});

test('five megabytes from and to the parent arrive whole', async t => {
  const { app, pids } = await start(t);
  const data = 'é😀x'.repeat(750000);
  app.send({ action: 'big', to: 'app', data });
  const expected = require('crypto').createHash('sha1').update(JSON.stringify(data)).digest('hex');
  for (const pid of pids) {
    const { message } = await app.got(({ pid: by, message: m }) => by === pid && m.action === 'big');
    assert.strictEqual(message.sha1, expected);
  }
  await app.ask('app', 'sendBig', { bytes: 5 << 20, to: 'parent' }, pids[0]);
  const up = await app.message('big');
  assert.strictEqual(up.data, 'é😀x'.repeat(Math.ceil((5 << 20) / 7)));
});

test('thousands of messages arrive in order', async t => {
  const { app, pids, agent } = await start(t);
  const count = 3000;
  const numbersAt = pid => app.allGot(({ pid: by, message }) => by === pid && message.action === 'numbered').map(({ message }) => message.data);
  const expected = Array.from({ length: count }, (_, i) => i);
  await app.ask('agent', 'sendNumbered', { count });
  for (const pid of pids) {
    await app.until('all', () => numbersAt(pid).length >= count);
    assert.deepStrictEqual(numbersAt(pid), expected);
  }
  await app.ask('app', 'sendNumbered', { count }, pids[0]);
  await app.until('all', () => numbersAt(agent).length >= count);
  assert.deepStrictEqual(numbersAt(agent), expected);
});

test('at the start the agent hears of each app worker, the apps of none', async t => {
  const { app, pids } = await start(t, { options: { workers: 3 } });
  await fence(app);
  const heard = role => app.allGot(({ role: r, message }) => r === role && message.action === 'egg-pids').map(({ message }) => message.data);
  const atAgent = heard('agent');
  assert.strictEqual(atAgent.length, 3);
  atAgent.forEach((list, i) => assert.strictEqual(list.length, i + 1));
  assert.deepStrictEqual(atAgent[2].sort(), pids.sort());
  assert.deepStrictEqual(heard('app'), []);
  assert.deepStrictEqual(app.allGot(isAction('agent-start')), []);
});

test('after the parent has disconnected all goes on, and nothing is said of a closed channel', async t => {
  const { app, pids } = await start(t, { options: { env: 'prod' } });
  app.child.disconnect();
  const order = { name: 'send', args: { message: { action: 'up', to: 'parent', data: 1 }, times: 20 } };
  for (let i = 0; i < 4; i++) {
    const { json } = await get(app.port, '/do', { body: JSON.stringify(order) });
    assert.deepStrictEqual(json, {});
  }
  const before = app.mark();
  process.kill(pids[0], 'SIGKILL');
  await app.stdout(/app_worker#3:\d+ started at/, before);
  assert.strictEqual((await get(app.port)).status, 200);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.doesNotMatch(app.err + app.out, /channel closed|ERR_IPC|EPIPE|uncaughtException/i);
});

test('Node\'s own commands among the messages of a worker are not relayed', async t => {
  const { app, pids } = await start(t);
  await sendFrom(app, pids[0], { cmd: 'NODE_UNHEARD_OF', action: 'internal', to: 'app' });
  await fence(app);
  assert.deepStrictEqual(receivers(app, 'internal'), []);
});

ownOnly(
  'throws in the master',
  'messages that are neither object nor text are ignored with a warning',
  async t => {
    const { app, pids } = await start(t);
    for (const message of [ null, 42, true, [ 'list' ] ]) await sendFrom(app, pids[0], message);
    await app.ask('agent', 'send', { message: 43 });
    await fence(app);
    const all = app.out + app.err;
    assert.match(all, /WARN/);
    assert.doesNotMatch(all, /TypeError|uncaughtException/);
    assert.strictEqual((await get(app.port)).status, 200);
  });
