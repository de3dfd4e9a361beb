'use strict';

// The command line, with real masters.

const assert = require('assert');
const fs = require('fs');
const net = require('net');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');
const { ownOnly } = require('./helper/test');
const { PROGRAM, cli, startCli } = require('./helper/cli');
const { status, until } = require('./helper/control');
const { get, tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { kill, poll } = require('./helper/processes');
const { version } = require('../package.json');

const production = { env: 'prod' };
const NOBODY = 65534;
const own = (name, ...rest) => ownOnly('there is no command line', name, ...rest);

function temporaryDirectory(t) {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-')));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Why nobody else can run the command line here, if so. */
function noOtherUser() {
  if (process.getuid() !== 0) return 'only root can be another user';
  const { status: code } = spawnSync(process.execPath, [ PROGRAM, '--version' ], { uid: NOBODY, gid: NOBODY, cwd: '/', env: {} });
  return code === 0 ? false : 'no other user can run this Node and this package';
}

/** A server that is no master, on a unix socket. */
async function foreignServer(t, onConnection) {
  const socket = path.join(temporaryDirectory(t), 'foreign.sock');
  const server = net.createServer(connection => {
    connection.on('error', () => {});
    connection.resume();
    onConnection(connection);
  });
  await new Promise(resolve => server.listen(socket, resolve));
  t.after(() => new Promise(resolve => server.close(resolve)));
  return socket;
}

function assertFailed({ code, out, err }, expected, message, hint = /./) {
  assert.strictEqual(code, expected, `${out}${err}`);
  assert.match(err, message);
  assert.match(err, hint);
  assert.doesNotMatch(err, /\n\s+at /, 'no stack');
  assert.ok(!err.includes('\u001b'), 'no colours, as this is no terminal');
}

own('status shows the master and its workers, as a table and as JSON', async t => {
  const app = await t.ready({ copy: true, options: { ...production, workers: 2, control: undefined } });
  const pids = await app.workerPids();
  const { code, out, err } = await cli([ 'status' ], { cwd: app.options.baseDir });
  assert.deepStrictEqual([ code, err ], [ 0, '' ]);
  assert.match(out, new RegExp(`^egg-cluster-rs ${version}  running  pid ${app.pid}  up `));
  for (const [ slot, pid ] of pids.entries()) assert.match(out, new RegExp(`^${slot} +\\d+ +${pid} +ready `, 'm'));
  assert.ok(!out.includes('\u001b'));
  const json = JSON.parse((await cli([ 'status', '--json', '--dir', app.options.baseDir ])).out);
  assert.strictEqual(json.pid, app.pid);
  const list = await cli([ 'list' ]);
  assert.match(list.out, new RegExp(`^ *${app.pid} +running +2/2 .* ${app.options.baseDir} `, 'm'));
});

own('status of one place, top, and colours where they are asked for', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const at = [ '--socket', app.socket ];
  const [ pid ] = await app.workerPids();
  const slot = await cli([ 'status', '0', ...at ]);
  assert.deepStrictEqual([ slot.code, slot.err ], [ 0, '' ]);
  assert.match(slot.out, new RegExp(`^slot 0\nprocess +app worker \\d+, pid ${pid}\n`));
  const agent = JSON.parse((await cli([ 'status', 'agent', '--json', ...at ])).out);
  assert.strictEqual(agent.process.pid, await app.agentPid());
  assertFailed(await cli([ 'status', '1', ...at ]), 1, /there is no slot 1: the slots are 0 to 0/, /agent/);
  assert.ok((await cli([ 'status', ...at ], { env: { FORCE_COLOR: '1' } })).out.includes('\u001b[32mrunning\u001b[0m'));

  const top = startCli([ 'top', '--interval', '0.2', ...at ]);
  t.after(() => top.child.kill('SIGKILL'));
  const line = new RegExp(`^0 +${pid} +ready +\\d+% .* MB `, 'm');
  assert.ok(await poll(() => line.test(top.result.out), 20000), 'the share of a processor is known from the second look on');
  assert.ok(!top.result.out.includes('\u001b'), 'what is no terminal gets no orders');
  await app.close();
  const ended = await top.ended;
  assertFailed(ended, 3, /cannot reach a master at /);
});

own('who has read enough of it may close the pipe', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const top = startCli([ 'top', '--interval', '0.1', '--socket', app.socket ]);
  t.after(() => top.child.kill('SIGKILL'));
  await new Promise(resolve => top.child.stdout.once('data', resolve));
  top.child.stdout.destroy();
  const { code, err } = await top.ended;
  assert.deepStrictEqual([ code, err ], [ 0, '' ]);
});

own('programs are told the outcome as JSON', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const ask = async (...args) => {
    const { code, out, err } = await cli([ ...args, '--json', '--socket', app.socket ]);
    assert.deepStrictEqual([ code, err ], [ 0, '' ]);
    return JSON.parse(out);
  };
  const { tookMs, ...reload } = await ask('reload');
  assert.deepStrictEqual(reload, { result: 'done', reload: 1 });
  assert.ok(tookMs > 0);
  assert.deepStrictEqual(await ask('restart', '0', '--no-wait'), { result: 'begun', reload: 2 });
  await until(app.socket, ({ lastReload }) => lastReload.number === 2);
  assert.deepStrictEqual(await ask('scale', '1'), { result: 'unchanged', workers: 1 });
  assert.deepStrictEqual(await ask('scale', '2'), { result: 'done', workers: 2 });
  assert.deepStrictEqual([ await ask('pause'), await ask('pause'), await ask('resume') ], [ { result: 'done' }, { result: 'unchanged' }, { result: 'done' } ]);
  assert.deepStrictEqual(await ask('stop'), { result: 'done' });
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
});

own('another user is told that it may not, and the master serves on', { skip: noOtherUser() }, async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  fs.chmodSync(app.home, 0o755);
  const other = { uid: NOBODY, gid: NOBODY, cwd: '/' };
  assertFailed(await cli([ 'status', '--socket', app.socket ], other), 3, /cannot reach a master at .*: no permission/, /as the user of the master, or as root/);
  fs.chmodSync(app.socket, 0o666);
  assertFailed(await cli([ 'stop', '--socket', app.socket ], other), 3, /only the user of the master, and root, may/, /as the user of the master/);
  assert.strictEqual((await get(app.port)).status, 200);
});

own('logs are the lines that the master logs', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const logs = startCli([ 'logs', '--socket', app.socket ]);
  t.after(() => logs.child.kill('SIGKILL'));
  assert.ok(await poll(async () => {
    await cli([ 'pause', '--socket', app.socket ]);
    await cli([ 'resume', '--socket', app.socket ]);
    return logs.result.out.includes('resumed');
  }, 20000));
  const mark = app.mark();
  const [ pid ] = await app.workerPids();
  kill(pid, 'SIGKILL');
  const line = new RegExp(`\\[master\\] app_worker#1:${pid} died \\(code: null, signal: SIGKILL, .*\\), current workers: .*`);
  const [ text ] = await app.stderr(line, mark);
  assert.ok(await poll(() => logs.result.out.includes(text), 20000), logs.result.out);
  await app.close();
  assert.strictEqual((await logs.ended).code, 0);
});

own('a master is found by its directory, its socket and its pid file', async t => {
  const pidFile = path.join(temporaryDirectory(t), 'master.pid');
  const app = await t.ready({ options: { ...production, pidFile } });
  for (const args of [ [ '--socket', app.socket ], [ '--pid-file', pidFile ] ]) {
    const { code, out, err } = await cli([ 'status', '--json', ...args ]);
    assert.deepStrictEqual([ code, err ], [ 0, '' ]);
    assert.strictEqual(JSON.parse(out).pid, app.pid);
  }
  const second = await t.ready({ copy: true, options: { ...production, control: undefined } });
  const third = await t.ready({ options: { ...production, baseDir: second.options.baseDir, control: undefined } });
  assertFailed(await cli([ 'status' ], { cwd: second.options.baseDir }), 2, /2 masters run in /, /choose one with --socket/);
  await third.close();
  assert.strictEqual((await cli([ 'status' ], { cwd: second.options.baseDir })).code, 0);
  const fromEnv = await cli([ 'status', '--json' ], { cwd: path.dirname(app.socket), env: { EGG_CLUSTER_RS_CONTROL: path.basename(app.socket) } });
  assert.strictEqual(JSON.parse(fromEnv.out).pid, app.pid, 'where the master reads it, the command line does');
});

own('restart, scale, pause and resume do what they say, and wait for it', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const at = [ '--socket', app.socket ];
  const [ old ] = await app.workerPids();
  const restarted = await cli([ 'restart', '0', ...at ]);
  assert.deepStrictEqual([ restarted.code, restarted.err ], [ 0, '' ]);
  assert.match(restarted.out, /restart of slot 0 done in /);
  assert.notStrictEqual((await get(app.port)).json.pid, old);
  for (const count of [ 3, 1 ]) {
    const { code, out } = await cli([ 'scale', String(count), ...at ]);
    assert.deepStrictEqual([ code, out ], [ 0, `${count} workers are ready\n` ]);
    assert.strictEqual((await status(app.socket)).slots.length, count);
  }
  assert.match((await cli([ 'pause', ...at ])).out, /^paused/);
  assert.match((await cli([ 'status', ...at ])).out, /not ready: paused/);
  assert.match((await cli([ 'resume', ...at ])).out, /^resumed/);
  assertFailed(await cli([ 'restart', '5', ...at ]), 1, /there is no slot 5: the slots are 0 to 0/);
});

own('reload tells its progress, and fails with the reason when it is rolled back', async t => {
  const flag = path.join(temporaryDirectory(t), 'flag');
  const app = await t.ready({
    options: { ...production, workers: 2 },
    mini: { app: { onlyIfFile: flag, throwInConstructor: 'broken by the last edit' } },
  });
  const old = await app.workerPids();
  const done = await cli([ 'reload', '--socket', app.socket ]);
  assert.deepStrictEqual([ done.code, done.err ], [ 0, '' ]);
  assert.match(done.out, /slot 0: the new worker starts\n/);
  assert.match(done.out, /reload done in /);
  const now = await app.workerPids();
  assert.ok(now.every(pid => !old.includes(pid)));
  fs.writeFileSync(flag, '');
  assertFailed(await cli([ 'reload', '--socket', app.socket ]), 1, /reload failed: the new worker app_worker#\d+ failed/, /the old workers go on serving/);
  const asJson = await cli([ 'reload', '--json', '--socket', app.socket ]);
  assert.strictEqual(asJson.code, 1);
  const { result, reason } = JSON.parse(asJson.out);
  assert.deepStrictEqual([ result, typeof reason ], [ 'failed', 'string' ]);
  assert.deepStrictEqual(await app.workerPids(), now);
});

own('events are followed until the master ends', async t => {
  const app = await t.ready({ options: { ...production, workers: 1 } });
  const json = startCli([ 'events', '--json', '--socket', app.socket ]);
  const text = startCli([ 'events', '--socket', app.socket ]);
  t.after(() => [ json, text ].forEach(({ child }) => child.kill('SIGKILL')));
  // Nothing is told before they are connected.
  assert.ok(await poll(async () => {
    await cli([ 'pause', '--socket', app.socket ]);
    await cli([ 'resume', '--socket', app.socket ]);
    return json.result.out.includes('resumed') && text.result.out.includes('resumed');
  }, 20000));
  await app.close();
  const [ ofJson, ofText ] = [ await json.ended, await text.ended ];
  assert.deepStrictEqual([ ofJson.code, ofText.code ], [ 0, 0 ]);
  const types = ofJson.out.trim().split('\n').map(line => JSON.parse(line).type);
  assert.ok(types.includes('closing-apps'), types.join());
  assert.match(ofText.out, /^\d\d:\d\d:\d\d closing-apps timeoutMs=\d+$/m);
});

own('stop waits until the processes are gone and the port is free', t => assertStops(t, {}));
own('and so it does in sticky mode', t => assertStops(t, { sticky: true }));

async function assertStops(t, options) {
  const app = await t.ready({ options: { ...production, workers: 2, ...options } });
  const members = app.members();
  const { code, out, err } = await cli([ 'stop', '--socket', app.socket ]);
  assert.deepStrictEqual([ code, out, err ], [ 0, 'stopped\n', '' ]);
  assert.strictEqual(await tryConnect({ host: '127.0.0.1', port: app.port }), 'ECONNREFUSED');
  for (const pid of members) assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  assertFailed(await cli([ 'stop', '--socket', app.socket ]), 3, /cannot reach a master at .*: there is no socket/);
}

own('without a master, and with a socket of something else, it says what to do', async t => {
  const dir = temporaryDirectory(t);
  assertFailed(await cli([ 'status' ], { cwd: dir }), 3, /no master is found in /, /--dir.*--socket/);
  assertFailed(await cli([ 'status', '--pid-file', path.join(dir, 'none.pid') ]), 3, /cannot read the pid file/);
  const pidFile = path.join(dir, 'own.pid');
  fs.writeFileSync(pidFile, String(process.pid));
  assertFailed(await cli([ 'status', '--pid-file', pidFile ]), 3, /has no control socket/);
  fs.writeFileSync(pidFile, 'many');
  assertFailed(await cli([ 'status', '--pid-file', pidFile ]), 3, /holds no process id/);
  fs.writeFileSync(path.join(dir, 'file'), '');
  assertFailed(await cli([ 'status', '--socket', path.join(dir, 'file') ]), 3, /it is no socket|nobody listens/);

  const babbling = await foreignServer(t, connection => connection.end('SSH-2.0-none\r\n'));
  assertFailed(await cli([ 'status', '--socket', babbling ]), 3, /is not the control socket of egg-cluster-rs/);
  const web = await foreignServer(t, connection => connection.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<html>'));
  assertFailed(await cli([ 'status', '--socket', web ]), 3, /is not the control socket of egg-cluster-rs/);
  const polite = await foreignServer(t, connection => connection.end('HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{}\n'));
  for (const name of [ 'status', 'top', 'events', 'logs', 'stop' ]) {
    assertFailed(await cli([ name, '--socket', polite ]), 3, /is not the control socket of egg-cluster-rs/);
  }
  const silent = await foreignServer(t, () => {});
  assertFailed(await cli([ 'status', '--socket', silent ]), 3, /gives no answer within 10 seconds/, /SIGSTOP/);
});

own('a socket whose path is longer than an address can be used', { skip: process.platform === 'linux' ? false : 'only on Linux' }, async t => {
  const dir = path.join(temporaryDirectory(t), 'd'.repeat(110));
  const app = await t.ready({ options: { ...production, control: { path: path.join(dir, 'control.sock') } } });
  const { code, out } = await cli([ 'status', '--json', '--socket', app.socket ]);
  assert.strictEqual(code, 0);
  assert.strictEqual(JSON.parse(out).control.path, app.socket);
});

own('a wrong command line is refused with what there is', async () => {
  const wrong = [
    [ [ 'statsu' ], /unknown command 'statsu'/ ],
    [ [ 'status', '--jsno' ], /unknown option '--jsno'/ ],
    [ [ 'restart' ], /missing required argument 'slot'/ ],
    [ [ 'restart', 'one' ], /a whole number from 0/ ],
    [ [ 'scale', '0' ], /a whole number from 1/ ],
    [ [ 'scale', '1e3' ], /a whole number from 1/ ],
    [ [ 'status', '--watch', '0' ], /a number of seconds/ ],
    [ [ 'status', '-1' ], /unknown option '-1'/ ],
    [ [ 'status', 'one' ], /the number of a slot, from 0, or "agent"/ ],
    [ [ 'top', '--interval', 'often' ], /a number of seconds/ ],
    [ [ 'completion', 'tcsh' ], /Allowed choices are bash, zsh, fish/ ],
    [ [ 'status', '--dir', '.', '--socket', 'x' ], /cannot be used with/ ],
  ];
  for (const [ args, message ] of wrong) assertFailed(await cli(args), 2, message, /--help|Did you mean/);
  const help = await cli([ '--help' ]);
  assert.strictEqual(help.code, 0);
  for (const name of [ 'status', 'top', 'events', 'logs', 'list', 'completion', 'doctor', 'reload', 'restart', 'scale', 'pause', 'resume', 'stop' ]) {
    assert.match(help.out, new RegExp(`^ {2}${name}\\b`, 'm'));
    assert.strictEqual((await cli([ name, '--help' ])).code, 0);
  }
  assert.strictEqual((await cli([ '--version' ])).out, `${version}\n`);
});

own('doctor says what is in the way, and who has a port', async t => {
  const app = await t.ready({ options: production });
  const taken = await cli([ 'doctor', '--dir', app.options.baseDir, '--port', String(app.port) ]);
  assertFailed(taken, 1, /1 of \d+ checks failed/);
  const owner = fs.existsSync('/proc/net/tcp') ? ` by process ${app.pid} ` : '';
  assert.match(taken.out, new RegExp(`^FAIL {2}port ${app.port} is in use${owner}`, 'm'));
  assert.match(taken.out, new RegExp(`^ok {4}Node\\.js ${process.versions.node}`, 'm'));
  const free = await cli([ 'doctor', '--json', '--dir', app.options.baseDir, '--port', String(await freePort()) ]);
  assert.strictEqual(free.code, 0, free.out);
  assert.ok(JSON.parse(free.out).every(({ level, text }) => level !== 'fail' && text !== ''));
});
