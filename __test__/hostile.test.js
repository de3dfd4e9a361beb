'use strict';

// Workers and an agent that are broken or mean harm. Whatever they do: the master's memory and descriptors
// stay within bounds, the log names the offender, and a port that only another worker serves is
// served all the time.

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const { ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { poll } = require('./helper/processes');

const MIB = 1024 * 1024;
const onLinux = { skip: process.platform !== 'linux' && 'reads /proc' };
const ORIGINAL = 'it ends, or its memory grows without bound';

function status(pid, name) {
  const text = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)[1]) * 1024;
}

const descriptors = pid => fs.readdirSync(`/proc/${pid}/fd`).length;

/** What a server says until it hangs up. */
function hear(port) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, '127.0.0.1');
    let text = '';
    socket.setEncoding('utf8').on('data', chunk => {
      text += chunk;
    });
    socket.setTimeout(20000, () => socket.destroy(new Error('silence')));
    socket.on('end', () => resolve(text)).on('error', reject);
  });
}

/** Connections to a port that only one worker serves, one after the other. */
function visit(port) {
  const result = { served: 0, failed: [], by: new Set() };
  let going = true;
  const loop = (async () => {
    while (going) {
      try {
        result.by.add(Number(await hear(port)));
        result.served++;
      } catch (err) {
        result.failed.push(err.message);
      }
    }
  })();
  return async () => {
    going = false;
    await loop;
    return result;
  };
}

/**
 * Three workers: the offender, its victim, and one that others must not be able to disturb.
 * @return {Object} `peak()`: by how much the master's memory has ever exceeded what it has now
 */
async function start(t, { limits, ...config } = {}) {
  const app = await t.ready({
    app: 'hostile',
    env: { MINI_QUIET: '1', NODE_NO_WARNINGS: '1' },
    ...config,
    options: { workers: 3, env: 'prod', ...(limits ? { limits } : {}) },
  });
  const [ offender, victim, other ] = await app.workerPids();
  const port = await freePort();
  await app.ask('app', 'listen', { name: 'other', where: { port, host: '127.0.0.1' } }, other);
  await hear(port);
  const before = { memory: status(app.pid, 'VmRSS'), descriptors: descriptors(app.pid) };
  const leave = visit(port);
  t.after(leave);
  return {
    app, offender, victim, other, port,
    peak: () => status(app.pid, 'VmHWM') - before.memory,
    /** Connections that were served are closed by the master a moment later, so this waits. */
    async assertDescriptors(more) {
      const few = await poll(() => descriptors(app.pid) <= before.descriptors + more, 10000);
      assert.ok(few, `${descriptors(app.pid)} descriptors, before ${before.descriptors}`);
    },
    /** The undisturbed worker has served all the time, and the application is served as well. */
    async assertUndisturbed() {
      const { served, failed, by } = await leave();
      assert.deepStrictEqual(failed, []);
      assert.ok(served > 0);
      assert.deepStrictEqual([ ...by ], [ other ]);
      assert.strictEqual((await get(app.port)).status, 200);
      assert.doesNotMatch(app.err, /uncaughtException|panic|internal error/);
    },
  };
}

const cluster = fields => ({ cmd: 'NODE_CLUSTER', ...fields });

/** Lines that no worker of Node ever sends. */
const NONSENSE = [
  'garbage', '', '  ', '{"action":', '[1,2', '1e999', 'null', '"\\ud8"', '\u0001', '{"a\u0001b":1,"to":"app"}', '{"\t":1,"to":"agent"}',
  { cmd: 'NODE_' }, { cmd: 'NODE_UNKNOWN', msg: {} }, { cmd: 'NODE_SOCKET_COUNT', key: 'k', count: -1 },
  { cmd: 'NODE_EGG_CLUSTER_RS', act: 'draining', requests: -1, connections: 1e10, upgraded: 'x' }, { cmd: 'NODE_EGG_CLUSTER_RS', act: 'drain' },
  { cmd: 'NODE_HANDLE_ACK' }, { cmd: 'NODE_HANDLE_ACK' }, { cmd: 'NODE_HANDLE_NACK' },
  cluster({ ack: 0, accepted: true, seq: 9 }), cluster({ ack: 0, accepted: true, seq: 9 }), cluster({ ack: -1, accepted: true, seq: 9 }),
  cluster({ ack: 2 ** 53, accepted: false, seq: -5 }), cluster({ act: 'newconn', key: 'x', seq: 1 }), cluster({ act: 'disconnect' }),
  cluster({ act: 'close', key: {}, seq: 1 }), cluster({ act: 'close', key: 'nobody:1:4:undefined:0', seq: 1e30 }), cluster({ act: 'exitedAfterDisconnect', seq: -1 }),
  cluster({ act: 'queryServer', index: 0, address: '127.0.0.1', port: 70000, addressType: 4, seq: -1 }),
  cluster({ act: 'queryServer', index: -0x80000000, address: '127.0.0.1', port: 70000, addressType: 4, seq: Number.MAX_SAFE_INTEGER }),
  cluster({ act: 'queryServer', index: 0, address: 'no address', port: 1, addressType: 4, seq: 1 }),
  cluster({ act: 'queryServer', index: 0, address: '/no/such/directory/x', port: -1, addressType: -1, seq: 1 }),
  cluster({ act: 'queryServer', index: 0, fd: 99999, addressType: null, seq: 1 }),
  cluster({ act: 'queryServer', index: 0, address: 'x'.repeat(100000), port: 1, addressType: 4, seq: 1 }),
  cluster({ act: 'queryServer', index: 0, address: '127.0.0.1', port: 0, addressType: 4, seq: 1, data: 'x'.repeat(100000) }),
];

ownOnly(ORIGINAL, 'nonsense of every kind is reported five times, answered where Node would, and ends nobody', onLinux, async t => {
  const { app, offender, peak, assertUndisturbed } = await start(t);
  const before = app.mark();
  await app.ask('app', 'say', { lines: NONSENSE, times: 50 }, offender);
  const reports = new RegExp(`app_worker#1:${offender} sent a message that is ignored`, 'g');
  await app.until('five reports', () => (app.out + app.err).match(/\(further ones are not reported\)/));
  assert.strictEqual((app.out.slice(before.out) + app.err.slice(before.err)).match(reports).length, 5);
  assert.ok((await app.workerPids()).includes(offender));
  await app.agentPid();
  await assertUndisturbed();
  assert.ok(peak() < 64 * MIB, `${peak() / MIB} MiB`);
});

ownOnly('it parses it', 'a line of 100 MB is taken and given back', onLinux, async t => {
  const { app, offender, peak, assertUndisturbed } = await start(t);
  await app.ask('app', 'longLine', { bytes: 100 * MIB }, offender);
  await app.until('the report', () => /not JSON/.test(app.out + app.err));
  await assertUndisturbed();
  // The buffer is doubled while it grows, and copied once.
  assert.ok(peak() < 400 * MIB, `${peak() / MIB} MiB`);
  assert.ok(status(app.pid, 'VmRSS') < status(app.pid, 'VmHWM') - 90 * MIB);
});

for (const open of [ true, false ]) {
  ownOnly('it has no limit', `a line above limits.lineBytes ends its worker${open ? ', also one that never ends' : ''}`, onLinux, async t => {
    const { app, offender, peak, assertUndisturbed } = await start(t, { limits: { lineBytes: 65536 } });
    const before = app.mark();
    app.tell('app', 'longLine', { bytes: 8 * MIB, open }, offender);
    await app.until('the report', () =>
      new RegExp(`app_worker#1:${offender} sent a message that is ignored: a line of the channel is longer than the limit of 65536 bytes`).test(app.out + app.err));
    await app.stdout(/app_worker#4:\d+ started at/, before);
    await assertUndisturbed();
    assert.ok(peak() < 64 * MIB, `${peak() / MIB} MiB`);
  });
}

for (const to of [ 'master', 'agent' ]) {
  ownOnly('its memory grows', `a flood of messages to the ${to} is held back`, onLinux, async t => {
    const { app, offender, peak, assertUndisturbed } = await start(t);
    await app.ask('app', 'flood', { to, count: 30000, bytes: 4096 }, offender);
    await assertUndisturbed();
    assert.ok(peak() < 160 * MIB, `${peak() / MIB} MiB`);
  });
}

ownOnly('it reads nothing then', 'a flood while the JavaScript of the master stands still is held back', onLinux, async t => {
  const { app, offender, peak, assertUndisturbed } = await start(t, { script: 'blocked.js', scriptArgs: { ms: 4000 } });
  const count = 100000;
  const flooded = app.ask('app', 'flood', { to: 'master', count, bytes: 4096, first: { action: 'block', to: 'master' } }, offender);
  await app.report('unblocked');
  assert.ok(peak() < 160 * MIB, `${peak() / MIB} MiB`);
  await flooded;
  await assertUndisturbed();
});

ownOnly('it keeps them', 'descriptors that nobody asked for are closed', onLinux, async t => {
  const { app, offender, assertDescriptors, assertUndisturbed } = await start(t);
  await app.ask('app', 'sendDescriptors', { files: [ '/', '/dev/null', '/dev/ptmx', __filename ], count: 999 }, offender);
  await assertUndisturbed();
  await assertDescriptors(2);
  assert.ok((await app.workerPids()).includes(offender));
});

ownOnly('it has no limit', 'a worker gets limits.listeners ports and not one more', onLinux, async t => {
  const { app, offender, victim, assertDescriptors, assertUndisturbed } = await start(t, { limits: { listeners: 20 } });
  await app.ask('app', 'askForPorts', { count: 2000 }, offender);
  await app.until('the report', () =>
    new RegExp(`app_worker#1:${offender} .*it has 20 listeners already \\(limits\\.listeners\\)`).test(app.out + app.err));
  await assert.rejects(app.ask('app', 'listen', { name: 'more', where: { port: 0 } }, offender), { code: 'EMFILE' });
  // Others have their own share.
  await app.ask('app', 'listen', { name: 'more', where: { port: 0 } }, victim);
  await assertUndisturbed();
  await assertDescriptors(22);
});

ownOnly(ORIGINAL, 'asking for the port of another again and again, and closing it, changes nothing for that one', onLinux, async t => {
  const { app, offender, port, peak, assertUndisturbed } = await start(t);
  const key = `127.0.0.1:${port}:4:undefined:0`;
  const query = cluster({ act: 'queryServer', index: 0, data: null, address: '127.0.0.1', port, addressType: 4, seq: 7 });
  const lines = [ cluster({ act: 'close', key, seq: 8 }), cluster({ act: 'close', key, seq: 8 }), query, query, query, cluster({ act: 'close', key, seq: 9 }) ];
  // A worker that shares a port and does not know it refuses its connections: others get them.
  await app.ask('app', 'say', { lines, times: 2000 }, offender);
  await assertUndisturbed();
  assert.ok(peak() < 64 * MIB, `${peak() / MIB} MiB`);
});

/** The test is the parent: it does not read, until it is told to go on. */
function stopReading(child) {
  const channel = child[Object.getOwnPropertySymbols(child).find(symbol => symbol.description === 'kChannelHandle')];
  channel.readStop();
  return () => channel.readStart();
}

ownOnly('its memory grows', 'whoever sends more to a parent that does not read has to wait, others do not, and nothing is lost', onLinux, async t => {
  const limits = { outboxBytes: MIB, stallTimeout: 600000 };
  const env = { MINI_QUIET: '1', NODE_NO_WARNINGS: '1', EGG_CLUSTER_RS_LOG: 'egg_cluster_rs::driver::channels=debug' };
  const { app, offender, other, peak, assertUndisturbed } = await start(t, { limits, env });
  const readOn = stopReading(app.child);
  const count = 15000;
  let whole = 0;
  app.child.on('message', ({ action, data }) => {
    if (action === 'flood' && data.length === 8192) whole++;
  });
  app.tell('app', 'flood', { to: 'parent', count, bytes: 8192 }, offender);
  await app.until('the worker is held', () => app.err.includes('not read until the parent has read its messages'));
  assert.ok(peak() < 100 * MIB, `${peak() / MIB} MiB`);
  readOn();
  await app.until('all messages', () => whole === count, 60000);
  assert.ok((await app.workerPids()).includes(other));
  await assertUndisturbed();
  assert.ok(peak() < 100 * MIB, `${peak() / MIB} MiB`);
  assert.doesNotMatch(app.out + app.err, /does not read|dropped/);
});

ownOnly('its memory grows', 'what is sent to a parent that has not read for limits.stallTimeout is dropped until it reads', onLinux, async t => {
  const { app, offender, peak, assertUndisturbed } = await start(t, { limits: { outboxBytes: MIB, stallTimeout: 1000 } });
  const readOn = stopReading(app.child);
  const count = 15000;
  app.tell('app', 'flood', { to: 'parent', count, bytes: 8192 }, offender);
  await app.stdout(/\[master\] the parent does not read its messages any more, those of workers are dropped until it does/);
  // The worker is read again: its connections are answered for.
  const reaches = async () => (await get(app.port)).json.pid === offender;
  assert.ok(await poll(reaches, 20000));
  readOn();
  const [ , dropped ] = await app.stdout(/\[master\] the parent reads again, (\d+) messages to it were dropped/);
  assert.ok(Number(dropped) > 0);
  assert.ok(await poll(reaches, 20000));
  await assertUndisturbed();
  assert.ok(peak() < 100 * MIB, `${peak() / MIB} MiB`);
});

ownOnly('its memory grows', 'nobody waits for a parent that has closed its channel', onLinux, async t => {
  const env = { MINI_QUIET: '1', NODE_NO_WARNINGS: '1', EGG_CLUSTER_RS_LOG: 'egg_cluster_rs::driver::channels=debug' };
  const { app, offender } = await start(t, { limits: { outboxBytes: MIB, stallTimeout: 600000 }, env });
  stopReading(app.child);
  app.tell('app', 'flood', { to: 'parent', count: 15000, bytes: 8192 }, offender);
  await app.until('the worker is held', () => app.err.includes('not read until the parent has read its messages'));
  app.child.disconnect();
  assert.ok(await poll(async () => (await get(app.port)).json.pid === offender, 20000));
});

ownOnly('its memory grows', 'a worker that does not read its messages is ended, its senders wait, others serve', onLinux, async t => {
  // A successor is sent to as well, and may be slow to boot on a busy machine.
  const limits = { outboxBytes: MIB, stallTimeout: 3000 };
  const { app, offender, victim, peak, assertUndisturbed } = await start(t, { limits });
  const before = app.mark();
  await app.ask('app', 'stopReading', {}, offender);
  const flooded = app.ask('app', 'flood', { to: 'app', count: 4000, bytes: 8192 }, victim);
  await app.until('the report', () =>
    new RegExp(`app_worker#1:${offender} does not read its messages any more and will be killed`).test(app.out + app.err));
  await app.stdout(/app_worker#[4-9]:\d+ started at/, before);
  await flooded;
  await assertUndisturbed();
  assert.ok(peak() < 64 * MIB, `${peak() / MIB} MiB`);
});

ownOnly('its memory grows', 'an agent that does not read its messages is replaced, others serve', onLinux, async t => {
  const limits = { outboxBytes: MIB, stallTimeout: 3000 };
  const { app, victim, peak, assertUndisturbed } = await start(t, { limits });
  const before = app.mark();
  const agent = await app.agentPid();
  await app.ask('agent', 'stopReading');
  const flooded = app.ask('app', 'flood', { to: 'agent', count: 4000, bytes: 8192 }, victim);
  await app.until('the report', () =>
    new RegExp(`agent_worker#1:${agent} does not read its messages any more and will be killed`).test(app.out + app.err));
  await app.stdout(/agent_worker#2:\d+ started/, before);
  await flooded;
  await assertUndisturbed();
  assert.ok(peak() < 64 * MIB, `${peak() / MIB} MiB`);
});
