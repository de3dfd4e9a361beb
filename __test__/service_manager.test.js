'use strict';

// The master as a service: what it makes of the environment of systemd. What it says to a service manager is tested
// in tests/service_manager.rs, for Node has no datagram sockets of this kind.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { service, listen, hold } = require('./helper/activation');
const { cli } = require('./helper/cli');
const { status } = require('./helper/control');
const { get, tryConnect } = require('./helper/http');
const { startLoad } = require('./helper/load');
const { freePort } = require('./helper/ports');
const { kill, poll } = require('./helper/processes');

const own = (name, ...rest) => ownOnly('it knows no service manager', name, ...rest);
const VARIABLES = [ 'NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC', 'LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES' ];

for (const startMode of [ 'process', 'worker_threads' ]) {
  own(`a service manager that is not there is one line in the log, and no worker hears of it (${startMode})`, async t => {
    const socket = path.join(__dirname, 'nobody/notify');
    const given = Object.fromEntries(VARIABLES.map(name => [ name, '1' ]));
    const app = await t.ready({ options: { startMode }, env: { ...given, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '200000' } });
    for (const role of [ 'app', 'agent' ]) {
      const { env } = await app.ask(role, 'info', { env: [ ...VARIABLES, 'PATH' ] });
      assert.deepStrictEqual(Object.keys(env), [ 'PATH' ]);
    }
    await app.close();
    assert.match(app.out, /WATCHDOG_USEC is ignored: signs of life are expected of process 1 /);
    assert.strictEqual(app.out.split(`the service manager cannot be told anything at ${socket} (NOTIFY_SOCKET): `).length, 2, app.out);
  });
}

/** A running master, the first of `runs`, with a socket at its port, which others hold until the test is over if it `isHeld`. */
async function activated(t, { runs = 1, where = {}, isHeld = false, options = {}, env, ...config } = {}) {
  const port = await freePort();
  const socket = await listen({ port, ...where });
  if (isHeld) t.after(hold(socket.fd));
  const app = await t.ready({
    inherited: [ socket.fd ], wrapper: service(runs), env: { LISTEN_FDS: '1', LISTEN_FDNAMES: 'web', ...env },
    options: { port, env: 'prod', workers: 2, ...options }, ...config,
  });
  await socket.release();
  return app;
}

/** Ends the master of the shell, and waits for the end of the shell. */
async function endMaster(app) {
  kill((await status(app.socket)).pid, 'SIGTERM');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
}

for (const [ mode, options ] of [ [ 'round robin', {} ], [ 'sticky mode', { sticky: true } ] ]) {
  own(`no client is refused while a master with an inherited socket ends and another one starts, in ${mode}`, async t => {
    const app = await activated(t, { runs: 2, options });
    const first = await status(app.socket);
    assert.notStrictEqual(first.pid, app.pid, 'the shell is not the master');
    const load = startLoad(app.port, { concurrency: 8, timeout: 30000 });
    assert.ok(await poll(() => load.result.ok >= 20, 20000), 'the first master serves');
    const before = app.mark();
    kill(first.pid, 'SIGTERM');
    await app.message('egg-ready', before);
    const second = await status(app.socket);
    assert.notStrictEqual(second.pid, first.pid);
    // Served by the second, so that the gap between them is behind us.
    const { json } = await get(app.port);
    assert.ok(second.slots.some(slot => slot.process.pid === json.pid));
    const { errors, served } = await load.stop();
    assert.deepStrictEqual(errors, []);
    for (const { slots } of [ first, second ]) assert.ok(slots.some(slot => served[slot.process.pid]), JSON.stringify(served));
    await endMaster(app);
    assert.strictEqual(app.out.split(/listens by the socket that it was started with: .*:\d+ \(web\)$/m).length, 3, app.out);
    assert.doesNotMatch(app.out, /LISTEN_FDS/);
  });
}

own('clients that come after the end wait, and their server is there when the next master is', async t => {
  const app = await activated(t, { runs: 2 });
  const first = await status(app.socket);
  const before = app.mark();
  kill(first.pid, 'SIGTERM');
  await app.stdout(/exit with code:0/, before);
  assert.strictEqual(await tryConnect({ port: app.port }), 'connected');
  const early = get(app.port, '/', { timeout: 30000 });
  await app.message('egg-ready', before);
  const { slots } = await status(app.socket);
  const { pid } = (await early).json;
  assert.ok(slots.some(slot => slot.process.pid === pid), 'a worker of the second master has answered');
  await endMaster(app);
});

own('a socket of one address serves an application that wants all of them', async t => {
  const app = await activated(t, { where: { host: '127.0.0.1' } });
  const { listeners } = await status(app.socket);
  assert.deepStrictEqual(listeners.map(({ address, inherited }) => [ address, inherited ]), [ [ `127.0.0.1:${app.port}`, true ] ]);
  assert.strictEqual((await get(app.port)).status, 200);
  await endMaster(app);
});

own('the command line does not wait for an inherited socket to close', async t => {
  const app = await activated(t, { isHeld: true });
  const { code, out, err } = await cli([ 'stop', '--socket', app.socket ]);
  assert.deepStrictEqual([ code, out, err ], [ 0, 'stopped\n', '' ]);
  await app.end();
  assert.strictEqual(await tryConnect({ port: app.port }), 'connected', 'it listens still');
});

own('the file of an inherited unix socket is neither bound again nor removed', async t => {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-activation-'));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const file = path.join(home, 'app.sock');
  const socket = await listen({ path: file });
  const app = await t.ready({
    app: 'protocol', inherited: [ socket.fd ], wrapper: service(2), env: { LISTEN_FDS: '1' }, options: { env: 'prod' },
  });
  await socket.release();
  await app.stdout(new RegExp(`nobody listens on what the master was started with \\(LISTEN_FDS\\): ${file}$`, 'm'));
  await app.ask('app', 'listen', { name: 'web', where: { path: file } });
  await app.stdout(new RegExp(`listens by the socket that it was started with: ${file}$`, 'm'));
  assert.strictEqual(await tryConnect({ path: file }), 'connected');
  const before = app.mark();
  kill((await status(app.socket)).pid, 'SIGTERM');
  await app.message('egg-ready', before);
  // The second master does not listen there yet, and the shell never will: the queue of the kernel answers.
  assert.strictEqual(await tryConnect({ path: file }), 'connected');
  await endMaster(app);
  assert.ok(fs.existsSync(file));
});

own('what is no listening socket, or nobody\'s, is told and does no harm', async t => {
  const port = await freePort();
  const free = await listen({ port: 0 });
  const file = fs.openSync(__filename, 'r');
  t.after(() => fs.closeSync(file));
  const app = await t.ready({
    inherited: [ file, free.fd ], wrapper: service(), options: { port }, env: { LISTEN_FDS: '4', LISTEN_FDNAMES: 'a:b:c:d' },
  });
  await free.release();
  assert.strictEqual((await get(port)).status, 200);
  await endMaster(app);
  assert.match(app.out, /descriptor 3 \(a\) of LISTEN_FDS is ignored: it is no socket$/m);
  assert.match(app.out, /descriptor 5 \(c\) of LISTEN_FDS is ignored: it does not listen; a socket unit needs Accept=no$/m, 'the channel');
  assert.match(app.out, /descriptor 6 \(d\) of LISTEN_FDS is ignored: /m);
  assert.match(app.out, /nobody listens on what the master was started with \(LISTEN_FDS\): .*:\d+ \(b\)$/m);
});

own('sockets for another process are left alone, and a line says so', async t => {
  const port = await freePort();
  const socket = await listen({ port: 0 });
  const app = await t.ready({ inherited: [ socket.fd ], options: { port }, env: { LISTEN_FDS: '1', LISTEN_PID: String(process.pid) } });
  await socket.release();
  await app.stdout(new RegExp(`LISTEN_FDS is ignored: the sockets are for process ${process.pid} \\(LISTEN_PID\\), and this is ${app.pid}$`, 'm'));
  assert.doesNotMatch(app.out, /nobody listens/);
});
