'use strict';

// The control socket of a running master, with real processes.

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');
const { ownOnly } = require('./helper/test');
const { ask, status, until, follow, pidsOf } = require('./helper/control');
const { get, tryConnect } = require('./helper/http');
const { startLoad } = require('./helper/load');
const { isAlive, kill, poll } = require('./helper/processes');

const production = { env: 'prod' };
const NOBODY = 65534;
const own = (name, ...rest) => ownOnly('there is no control socket', name, ...rest);

function runAsOther(script) {
  return spawnSync(process.execPath, [ '-e', script ], { uid: NOBODY, gid: NOBODY, cwd: '/', env: {}, encoding: 'utf8' });
}

function noOtherUser() {
  if (process.getuid() !== 0) return 'only root can be another user';
  return runAsOther('').status === 0 ? false : 'no other user can run this Node';
}

own('it answers and reloads while a worker is in an endless loop and the master\'s own JavaScript stands still', async t => {
  const app = await t.ready({ script: 'blocked.js', scriptArgs: { ms: 10000 }, options: { ...production, workers: 2 } });
  const [ stuck ] = await app.workerPids();
  app.tell('app', 'busy', { ms: 600000 }, stuck);
  const before = app.mark();
  app.tell('agent', 'send', { message: { to: 'master', action: 'block' } });
  await app.report('blocked', before);

  assert.strictEqual((await ask(app.socket, 'GET', '/healthz')).status, 200);
  assert.strictEqual((await ask(app.socket, 'GET', '/readyz')).status, 200);
  const report = await status(app.socket);
  assert.deepStrictEqual(pidsOf(report).includes(stuck), true);
  const { status: code, json } = await ask(app.socket, 'POST', '/reload');
  assert.deepStrictEqual([ code, json ], [ 202, { result: 'begun', reload: 1 } ]);
  await until(app.socket, ({ others }) => others.some(({ state }) => state === 'starting'));
  assert.deepStrictEqual(app.messages.slice(before.messages).filter(({ data }) => data && data.type === 'unblocked'), [],
    'the master had been blocked all the time');
  await app.report('unblocked', before);
  kill(stuck, 'SIGKILL');
  await until(app.socket, ({ lastReload }) => lastReload !== null);
});

own('status tells of the master, the agent and each slot', async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { interval: 100 } } });
  const workers = await app.workerPids();
  const report = await until(app.socket, ({ slots }) => slots.every(({ process }) => process && process.pingMs !== null));
  assert.deepStrictEqual([ report.phase, report.ready, report.notReady, report.paused ], [ 'running', true, null, false ]);
  assert.strictEqual(report.pid, app.pid);
  assert.strictEqual(report.baseDir, app.options.baseDir);
  assert.deepStrictEqual(report.control, { path: app.socket, tcp: null });
  assert.strictEqual(report.agent.process.pid, await app.agentPid());
  assert.deepStrictEqual(pidsOf(report), workers);
  assert.strictEqual(report.listeners.length, 1);
  assert.match(report.listeners[0].address, new RegExp(`:${app.port}$`));
  for (const { process, restarts } of [ report.agent, ...report.slots ]) {
    assert.strictEqual(process.state, 'ready');
    assert.strictEqual(restarts, 0);
    assert.ok(process.uptimeMs >= process.stateForMs);
    assert.ok(process.heardAgoMs >= 0 && process.outboxBytes === 0 && process.outboxMessages === 0);
    if (fs.existsSync('/proc/self/stat')) assert.ok(process.rssBytes > 10e6 && process.cpuMs > 0, JSON.stringify(process));
  }
  kill(workers[1], 'SIGKILL');
  const after = await until(app.socket, ({ slots }) => slots[1].restarts === 1 && slots[1].process && slots[1].process.state === 'ready');
  assert.strictEqual(after.slots[1].lastExit.signal, 'SIGKILL');
  assert.strictEqual(after.slots[1].lastExit.pid, workers[1]);
  assert.ok(after.slots[1].lastExitAgoMs > 0 && after.slots[0].lastExitAgoMs === null);
  assert.strictEqual(after.restarts.recent, 1);
});

own('docs/control.md shows the members of the status, and all of them', async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const report = await until(app.socket, ({ slots }) => slots.every(({ process }) => process && process.requests !== null));
  const text = fs.readFileSync(path.join(__dirname, '../docs/control.md'), 'utf8');
  const [ slot, whole ] = [ ...text.split('### Status')[1].matchAll(/```json\n([^]*?)```/g) ].map(match => JSON.parse(match[1]));
  const names = object => Object.keys(object).sort();
  assert.deepStrictEqual(names(slot), names(report.slots[1]));
  for (const name of [ 'process', 'counters' ]) assert.deepStrictEqual(names(slot[name]), names(report.slots[1][name]), name);
  assert.deepStrictEqual(names(whole), names(report));
  for (const name of [ 'connections', 'restarts', 'hold', 'control', 'master' ]) {
    assert.deepStrictEqual(names(whole[name]), names(report[name]), name);
  }
  assert.deepStrictEqual(names(whole.listeners[0]), names(report.listeners[0]));
});

own('the counters add up to what a load generator has sent', async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const [ pid ] = await app.workerPids();
  const before = await status(app.socket);
  const load = startLoad(app.port);
  t.after(() => load.stop());
  assert.ok(await poll(() => load.result.ok >= 200, 20000));
  const { ok, errors } = await load.stop();
  assert.deepStrictEqual(errors, []);
  const sum = (report, name) => report.slots.reduce((total, { counters }) => total + counters[name], 0);
  const after = await until(app.socket, report => sum(report, 'taken') - sum(before, 'taken') === ok);
  assert.strictEqual(after.connections.accepted - before.connections.accepted, ok);
  assert.strictEqual(sum(after, 'handedOver') - sum(before, 'handedOver'), ok);
  assert.strictEqual(after.connections.waiting, 0);

  const told = after.slots[0].counters;
  const agent = after.agent.counters;
  const data = 'x'.repeat(1000);
  await app.ask('app', 'send', { message: { to: 'agent', action: 'counted', data }, times: 50 }, pid);
  const last = await until(app.socket, report => report.agent.counters.messagesTo - agent.messagesTo >= 50);
  // One more is the answer to `ask`.
  assert.strictEqual(last.slots[0].counters.messagesFrom - told.messagesFrom, 51);
  assert.strictEqual(last.agent.counters.messagesTo - agent.messagesTo, 50);
  assert.ok(last.agent.counters.bytesTo - agent.bytesTo > 50000);
});

own('a look asks each process how it is: the delay of its event loop, requests in flight and connections', async t => {
  const app = await t.ready({ options: { ...production, workers: 2, watchdog: { interval: 60000 } } });
  const [ busy ] = await app.workerPids();
  const sum = (report, name) => report.slots.reduce((total, { process }) => total + process[name], 0);
  // What passes may pass between two looks, where the machine has much else to do.
  const seen = async (act, isSo) => {
    for (let attempt = 1; ; attempt++) {
      const done = act();
      const report = await until(app.socket, isSo, 5000).catch(err => {
        if (attempt === 5) throw err;
      });
      if (report) return { report, done };
      await done;
    }
  };
  const slow = () => Promise.all(Array.from({ length: 6 }, () => get(app.port, '/slow?ms=3000', { timeout: 20000 })));
  const { report, done } = await seen(slow, it => sum(it, 'requests') === 6);
  assert.ok(sum(report, 'connections') >= 6);
  for (const { process } of [ report.agent, ...report.slots ]) assert.ok(process.pingMs >= 0 && process.pingAgoMs >= 0);
  await done;
  await until(app.socket, it => sum(it, 'requests') === 0);

  const { report: delayed } = await seen(() => app.tell('app', 'busy', { ms: 2000 }, busy), ({ slots }) => slots[0].process.pingMs > 500);
  assert.ok(delayed.slots[1].process.pingMs < delayed.slots[0].process.pingMs);
});

own('how often messages have had to wait is the same in status, metrics and look-ups', async t => {
  const app = await t.ready({ script: 'facade.js', options: { ...production, limits: { outboxBytes: 1 << 20 } } });
  const [ pid ] = await app.workerPids();
  assert.deepStrictEqual((await status(app.socket)).waits, { fullOutboxes: 0, pausedSenders: 0 });
  app.tell('app', 'busy', { ms: 1500 }, pid);
  const message = { to: 'app', action: 'big', data: 'x'.repeat(1 << 16) };
  app.tell('agent', 'send', { message, times: 100 });
  const { waits } = await until(app.socket, report => report.waits.fullOutboxes > 0 && report.waits.pausedSenders > 0 &&
    report.slots[0].counters.messagesTo >= 100);
  app.send({ action: 'facade:look', to: 'master' });
  assert.deepStrictEqual((await app.report('look')).seen.waits, waits);
  const { body } = await ask(app.socket, 'GET', '/metrics');
  assert.match(body, new RegExp(`^egg_cluster_messages_full_outboxes_total ${waits.fullOutboxes}$`, 'm'));
  assert.match(body, new RegExp(`^egg_cluster_messages_paused_senders_total ${waits.pausedSenders}$`, 'm'));
});

own('a paused master leaves new connections to the kernel, and serves them when it goes on', async t => {
  const app = await t.ready({ options: production });
  assert.deepStrictEqual((await ask(app.socket, 'POST', '/pause')).json, { result: 'done' });
  const accepted = (await status(app.socket)).connections.accepted;
  const answers = Promise.all(Array.from({ length: 5 }, () => get(app.port, '/')));
  const ready = await ask(app.socket, 'GET', '/readyz');
  assert.deepStrictEqual([ ready.status, ready.json ], [ 503, { status: 'not ready', reason: 'paused' } ]);
  assert.strictEqual(await tryConnect({ host: '127.0.0.1', port: app.port }), 'connected');
  const paused = await status(app.socket);
  assert.strictEqual(paused.connections.accepted, accepted);
  assert.strictEqual(paused.listeners[0].accepting, false);
  assert.deepStrictEqual((await ask(app.socket, 'POST', '/pause')).json, { result: 'unchanged' });
  assert.deepStrictEqual((await ask(app.socket, 'POST', '/resume')).json, { result: 'done' });
  assert.ok((await answers).every(({ status: code }) => code === 200));
});

own('more and fewer workers cost no request', async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const load = startLoad(app.port, { path: '/slow?ms=20' });
  t.after(() => load.stop());
  const serving = ({ slots, others }, count) => slots.length === count && others.length === 0 &&
    slots.every(({ process }) => process && process.state === 'ready');
  for (const workers of [ 4, 1, 3 ]) {
    const { status: code, json } = await ask(app.socket, 'POST', '/scale', { workers });
    assert.deepStrictEqual([ code, json ], [ 202, { result: 'done' } ]);
    const report = await until(app.socket, it => serving(it, workers));
    assert.strictEqual(app.members().length, 1 + 1 + workers);
    assert.ok(pidsOf(report).every(isAlive));
  }
  const served = load.result.ok;
  assert.ok(await poll(() => load.result.ok > served + 20, 10000));
  const { errors } = await load.stop();
  assert.deepStrictEqual(errors, []);
  assert.match(app.out, /\[master\] scale app workers from 4 to 1\n/);
  assert.doesNotMatch(app.err, /AppWorkerDiedError/);
  // The next worker of a slot that was added is forked as ever.
  kill(pidsOf(await status(app.socket))[2], 'SIGKILL');
  await until(app.socket, ({ slots }) => slots[2].restarts === 1 && slots[2].process && slots[2].process.state === 'ready');
});

own('the worker of one slot is replaced, and nobody else', async t => {
  const app = await t.ready({ options: { ...production, workers: 2 } });
  const old = await app.workerPids();
  const load = startLoad(app.port);
  t.after(() => load.stop());
  const { status: code, json } = await ask(app.socket, 'POST', '/workers/1/restart');
  assert.deepStrictEqual([ code, json ], [ 202, { result: 'begun', reload: 1 } ]);
  assert.strictEqual((await ask(app.socket, 'POST', '/workers/0/restart')).status, 409);
  const report = await until(app.socket, ({ lastReload }) => lastReload !== null);
  assert.deepStrictEqual([ report.lastReload.slot, report.lastReload.result ], [ 1, 'done' ]);
  const now = pidsOf(report);
  assert.strictEqual(now[0], old[0]);
  assert.notStrictEqual(now[1], old[1]);
  assert.deepStrictEqual((await load.stop()).errors, []);
  await app.stdout(/\[master\] restart of slot 1 done \(\d+ms\)\n/);
});

own('events tell what happens, and the last one is told before the end', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const events = await follow(app.socket);
  t.after(() => events.stop());
  const [ pid ] = await app.workerPids();
  kill(pid, 'SIGKILL');
  const exited = await events.next(({ type }) => type === 'app-exited');
  assert.deepStrictEqual([ exited.pid, exited.signal ], [ pid, 'SIGKILL' ]);
  assert.ok(Number.isInteger(exited.uptimeMs));
  await events.next(({ type }) => type === 'app-started');
  app.send({ action: 'secret', to: 'app', data: 'not for everybody' });
  await ask(app.socket, 'POST', '/pause');
  await events.next(({ type }) => type === 'paused');
  assert.ok(events.seen.every(event => !JSON.stringify(event).includes('secret')));
  await ask(app.socket, 'POST', '/stop');
  await events.next(({ type }) => type === 'closing-agent');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  assert.ok(!fs.existsSync(app.socket));
});

own('a reader that does not read holds up nobody', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const slow = net.connect(app.socket);
  t.after(() => slow.destroy());
  slow.on('error', () => {});
  slow.pause();
  slow.write('GET /events HTTP/1.1\r\nhost: x\r\n\r\n');
  for (let i = 0; i < 4000; i++) await ask(app.socket, 'POST', i % 2 ? '/resume' : '/pause');
  const { eventsSkipped } = await status(app.socket);
  assert.ok(eventsSkipped > 0, `${eventsSkipped} skipped`);
  assert.strictEqual((await get(app.port)).status, 200);
});

own('what is huge, slow, unknown or too much is refused, and the master serves on', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const refusals = [
    [ 'POST', '/scale', 'x'.repeat(100000), 413 ],
    [ 'POST', '/scale', '{"workers":', 400 ],
    [ 'POST', '/scale', { workers: 0 }, 400 ],
    [ 'POST', '/scale', { workers: 70000 }, 400 ],
    [ 'POST', '/scale', undefined, 400 ],
    [ 'POST', '/workers/1/restart', undefined, 404 ],
    [ 'POST', '/workers/x/restart', undefined, 400 ],
    [ 'POST', '/pause', { now: true }, 400 ],
    [ 'GET', '/pause', undefined, 405 ],
    [ 'POST', '/status', undefined, 405 ],
    [ 'DELETE', '/status', undefined, 405 ],
    [ 'GET', '/', undefined, 404 ],
    [ 'GET', '/workers/0', undefined, 404 ],
  ];
  for (const [ method, target, body, expected ] of refusals) {
    const { status: code, json } = await ask(app.socket, method, target, body);
    assert.strictEqual(code, expected, `${method} ${target}`);
    assert.match(json.error, /\w+ \w+/);
  }
  assert.strictEqual((await get(app.socket, '/status', { headers: { x: 'y'.repeat(60000) } })).status, 431);
  // Half a request on each of more connections than there may be.
  const many = [];
  t.after(() => many.forEach(socket => socket.destroy()));
  for (let i = 0; i < 40; i++) {
    const socket = net.connect(app.socket);
    many.push(socket);
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    socket.on('error', () => {});
    socket.write('GET /status HTTP/1.1\r\n');
  }
  assert.ok(await poll(async () => {
    const answer = await ask(app.socket, 'GET', '/healthz').catch(() => ({ status: 0 }));
    return answer.status === 503;
  }, 10000), 'there is a limit');
  assert.strictEqual((await get(app.port)).status, 200);
  many.forEach(socket => socket.destroy());
  assert.ok(await poll(async () => (await ask(app.socket, 'GET', '/healthz')).status === 200, 10000));
});

own('who sends a head or a body too slowly is sent away, while others are served', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const said = async text => {
    const socket = net.connect(app.socket);
    t.after(() => socket.destroy());
    socket.write(text);
    const chunks = [];
    for await (const chunk of socket) chunks.push(chunk);
    return String(Buffer.concat(chunks));
  };
  const slow = Promise.all([
    said('GET /status HTTP/1.1\r\nhost: x\r\n'),
    said('POST /scale HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 20\r\n\r\n{"work'),
    said(''),
  ]);
  for (let i = 0; i < 20; i++) assert.strictEqual((await ask(app.socket, 'GET', '/healthz')).status, 200);
  assert.strictEqual((await get(app.port)).status, 200);
  const [ head, body, nothing ] = await slow;
  assert.match(head, /^(HTTP\/1\.1 408 |$)/);
  assert.match(body, /^HTTP\/1\.1 408 [^]*the body has not come in time/);
  assert.match(nothing, /^(HTTP\/1\.1 408 |$)/);
  assert.strictEqual((await status(app.socket)).slots.length, 1);
});

own('over TCP there are probes and metrics, and nothing else', async t => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-'));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const socket = path.join(home, 'control.sock');
  const app = await t.ready({ options: { ...production, control: { path: socket, tcp: 0 } } });
  const { control } = await status(socket);
  const port = Number(/^127\.0\.0\.1:(\d+)$/.exec(control.tcp)[1]);
  await app.stdout(new RegExp(`\\[master\\] probes and metrics on http://127\\.0\\.0\\.1:${port}\n`));
  for (const target of [ '/healthz', '/readyz', '/metrics' ]) {
    assert.strictEqual((await get(port, target)).status, 200, target);
  }
  for (const target of [ '/status', '/events' ]) assert.strictEqual((await get(port, target)).status, 404, target);
  for (const target of [ '/stop', '/reload', '/scale', '/pause' ]) {
    assert.strictEqual((await get(port, target, { method: 'POST' })).status, 404, target);
  }
});

own('the socket is for its owner only, in a directory that is made for it', async t => {
  const app = await t.ready({ copy: true, options: { ...production, control: undefined } });
  const socket = path.join(app.options.baseDir, 'run/egg-cluster-rs.sock');
  assert.strictEqual(fs.statSync(socket).mode & 0o777, 0o600);
  assert.strictEqual((await status(socket)).control.path, socket);
  await app.close();
  assert.ok(!fs.existsSync(socket));
});

own('another user is turned away, even where the file has been opened to all', { skip: noOtherUser() }, async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  fs.chmodSync(app.home, 0o755);
  fs.chmodSync(app.socket, 0o666);
  const { stdout, stderr } = runAsOther(`require('http').get({ socketPath: ${JSON.stringify(app.socket)}, path: '/status' }, response => {
    response.on('data', text => console.log(response.statusCode, String(text)));
  })`);
  assert.deepStrictEqual([ stdout, stderr ], [ '403 {"error":"only the user of the master, and root, may"}\n\n', '' ]);
  assert.strictEqual((await ask(app.socket, 'GET', '/healthz')).status, 200);
});

own('a second master in the same directory has a socket of its own, and one left by a killed master is replaced', async t => {
  const first = await t.start({ copy: true, options: { ...production, control: undefined } });
  await first.ready();
  const { baseDir } = first.options;
  const second = await t.ready({ options: { ...production, baseDir, control: undefined } });
  const socket = path.join(baseDir, 'run/egg-cluster-rs.sock');
  const beside = path.join(baseDir, `run/egg-cluster-rs.${second.pid}.sock`);
  await second.stdout(/\[master\] control socket: .* is in use by another master/);
  assert.strictEqual((await status(socket)).pid, first.pid);
  assert.strictEqual((await status(beside)).pid, second.pid);
  await second.close();
  assert.ok(!fs.existsSync(beside) && fs.existsSync(socket));

  const members = first.members();
  kill(first.pid, 'SIGKILL');
  assert.ok(await poll(() => !members.some(isAlive), 20000));
  assert.strictEqual(await tryConnect({ path: socket }), 'ECONNREFUSED');
  const third = await t.ready({ options: { ...production, baseDir, control: undefined } });
  assert.strictEqual((await status(socket)).pid, third.pid);
  await third.close();
  // The helper asks every master for a clean end.
  t.apps.splice(t.apps.indexOf(first), 1);
  await first.destroy();
});

own('where no socket can be made there is a warning, and the application runs', async t => {
  const app = await t.ready({ options: { ...production, control: { path: '/proc/none/control.sock' } } });
  await app.stdout(/\[master\] control socket: cannot listen on \/proc\/none\/control\.sock: .* options\.control/);
  assert.strictEqual((await get(app.port)).status, 200);
});

own('with control: false there is no socket', async t => {
  const app = await t.ready({ copy: true, options: { ...production, control: false } });
  assert.ok(!fs.existsSync(path.join(app.options.baseDir, 'run', 'egg-cluster-rs.sock')));
});

own('threads are shown, and what they cannot do is refused', async t => {
  const app = await t.ready({ options: { ...production, startMode: 'worker_threads' } });
  const report = await status(app.socket);
  assert.deepStrictEqual(report.slots.map(({ process }) => process.state), [ 'ready' ]);
  for (const [ target, body ] of [ [ '/scale', { workers: 2 } ], [ '/workers/0/restart' ], [ '/pause' ] ]) {
    const { status: code, json } = await ask(app.socket, 'POST', target, body);
    assert.strictEqual(code, 409, target);
    assert.match(json.error, /worker_threads|by themselves/);
  }
  await ask(app.socket, 'POST', '/reload');
  await until(app.socket, ({ lastReload }) => lastReload && lastReload.result === 'done');
});
