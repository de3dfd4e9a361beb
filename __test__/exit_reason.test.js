'use strict';

// The last lines of a master: who has asked for its end, why it ends, and its exit code. Each way that a
// master can end is here.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawn, spawnSync } = require('child_process');
const { once } = require('events');
const { ownOnly } = require('./helper/test');
const { cli } = require('./helper/cli');
const { ask } = require('./helper/control');
const { tryConnect } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { isAlive } = require('./helper/processes');

const production = { env: 'prod' };
/** What names the command of a sender. */
const hasProc = fs.existsSync('/proc/self/cmdline');
const own = (name, ...rest) => ownOnly('the reason is not logged', name, ...rest);

/** Its last two lines are the reason and the code, at a level that fits. */
async function assertEnd(app, code, reason) {
  assert.deepStrictEqual(await app.end(), { code, signal: null });
  const [ text, level ] = code === 0 ? [ app.out, 'INFO' ] : [ app.err, 'ERROR' ];
  // Children that the master has left behind say theirs, too.
  const [ before, last ] = text.split('\n').filter(line => line.includes(` ${app.pid} [master] `)).slice(-2);
  assert.match(last, new RegExp(` ${level} ${app.pid} \\[master\\] exit with code:${code}$`));
  assert.match(before, new RegExp(` ${level} ${app.pid} \\[master\\] the reason of the exit: `));
  assert.match(before, reason);
  await app.noLeftovers();
  // What endWell awaits of a master is a code 0.
  app.close = async () => ({ code: 0 });
}

/** Sends a signal from a process that lives until its input ends. */
async function signalFrom(t, name, pid) {
  const sender = spawn('sh', [ '-c', `kill -${name} ${pid}; read _ # \u001b[31m\u202e` ], { stdio: [ 'pipe', 'ignore', 'ignore' ] });
  t.after(() => sender.kill('SIGKILL'));
  await once(sender, 'spawn');
  return sender;
}

for (const signal of [ 'SIGTERM', 'SIGINT', 'SIGQUIT' ]) {
  own(`${signal} is told with its sender`, async t => {
    const app = await t.ready({ options: production });
    const sender = await signalFrom(t, signal.slice(3), app.pid);
    const command = hasProc ? `sh -c kill -${signal.slice(3)} ${app.pid}; read _ # \\?\\[31m\\?` : '.*';
    const by = `sent by process ${sender.pid} \\(${command}\\), uid ${process.getuid()}`;
    await assertEnd(app, 0, new RegExp(`exit: signal ${signal}, ${by}$`));
    assert.match(app.out, new RegExp(`killed by signal ${signal}, closing\n.*\\[master\\] signal ${signal} was ${by}\n`));
    assert.strictEqual(app.err, '');
  });
}

own('SIGUSR2 is told with its sender, each time, also where listeners have gone and come again', async t => {
  const app = await t.ready({ options: production, script: 'facade.js' });
  for (let i = 0; i < 2; i++) {
    const before = app.mark();
    const sender = await signalFrom(t, 'USR2', app.pid);
    await app.stdout(new RegExp(`\\[master\\] signal SIGUSR2 was sent by process ${sender.pid} \\(`), before);
    await app.stdout(/\[master\] reload done/, before);
  }
  const before = app.mark();
  app.send({ action: 'facade:relisten', to: 'master', data: 'SIGTERM' });
  await app.report('relistened', before);
  const sender = await signalFrom(t, 'TERM', app.pid);
  await assertEnd(app, 0, new RegExp(`exit: signal SIGTERM, sent by process ${sender.pid} `));
});

own('a sender in another pid namespace is said to be out of sight', { skip: cannotUnshare() }, async t => {
  const app = await t.ready({ options: production, wrapper: [ 'unshare', '--pid', '--fork', '--kill-child', '--mount-proc' ] });
  // The program's process is that of unshare; the master is its child, and pid 1 of its namespace.
  const [ master ] = app.members().filter(pid => pid !== app.pid);
  process.kill(master, 'SIGTERM');
  await app.stdout(/\[master\] signal SIGTERM was sent by a process that cannot be seen from here/);
  await app.stdout(/ 1 \[master\] exit with code:0\n/);
  await app.end();
});

function cannotUnshare() {
  if (!hasProc) return 'there are no pid namespaces';
  const { status } = spawnSync('unshare', [ '--pid', '--fork', '--mount-proc', 'true' ]);
  return status === 0 ? false : 'unshare is not allowed here';
}

own('a stop through the control socket is told with who has asked', async t => {
  const app = await t.ready({ options: production });
  await ask(app.socket, 'POST', '/stop');
  // The one who asks is this process.
  const by = hasProc ? `process ${process.pid} \\(.*\\)` : '.*';
  await assertEnd(app, 0, new RegExp(`exit: stop through the control socket, asked for by ${by}$`));
  assert.match(app.out, new RegExp(`\\[master\\] stop is asked for through the control socket by ${by}\n.*send kill SIGTERM`));
});

own('other requests are told, too, but not those that change nothing', async t => {
  const app = await t.ready({ options: production });
  for (const path of [ '/resume', '/pause', '/pause', '/resume' ]) await ask(app.socket, 'POST', path);
  await app.stdout(/\[master\] resume is asked for/);
  assert.strictEqual(app.out.match(/ is asked for through the control socket by /g).length, 2);
});

own('close() of the program is a reason', async t => {
  const app = await t.ready({ options: production, script: 'facade.js' });
  app.send({ action: 'facade:close', to: 'master' });
  await assertEnd(app, 0, /exit: close\(\) was called$/);
});

own('a parent that goes does not end the master', async t => {
  const app = await t.ready({ options: production });
  app.child.disconnect();
  assert.strictEqual(await tryConnect({ host: '127.0.0.1', port: app.port }), 'connected');
  app.child.kill('SIGTERM');
  await assertEnd(app, 0, /exit: signal SIGTERM, sent by process \d+/);
});

own('process.exit() of the program is a reason', async t => {
  const app = await t.ready({ options: production, script: 'facade.js' });
  app.send({ action: 'facade:exit', to: 'master', data: 3 });
  await assertEnd(app, 3, /exit: the program of the master has called process\.exit\(\)$/);
});

own('an error that nobody catches is a reason', async t => {
  const app = await t.start({ options: production, script: 'broken-program.js' });
  await assertEnd(app, 1, /exit: an error in the program of the master, which nobody has caught: thrown too early$/);
});

own('a debugger that ends a worker is a reason', async t => {
  const app = await t.ready({ options: { ...production, isDebug: true } });
  const [ pid ] = await app.workerPids();
  process.kill(pid, 'SIGKILL');
  await assertEnd(app, 0, new RegExp(`exit: a debugger has ended app_worker#1:${pid}$`));
});

own('a failed start of the agent is a reason', async t => {
  const app = await t.start({ options: production, mini: { agent: { exitAtBoot: 7 } } });
  await assertEnd(app, 1, /exit: agent_worker#1:\d+ died while it was starting \(code: 7, signal: null\)/);
});

own('a failed start of an app worker is a reason', async t => {
  const app = await t.start({ options: production, mini: { app: { exitAtBoot: 9 } } });
  await assertEnd(app, 1, /exit: app_worker#1:\d+ died while it was starting \(code: 9, signal: null\)/);
});

own('a port that is taken is a reason', async t => {
  const port = await freePort();
  await t.ready({ options: { ...production, port } });
  const app = await t.start({ options: { ...production, port, sticky: true } });
  await assertEnd(app, 1, new RegExp(`exit: cannot listen on port ${port}: EADDRINUSE$`));
});

own('a worker script that is missing is a reason', async t => {
  const app = await t.start({ options: production, script: 'broken-program.js', scriptArgs: { app: '/no/such/file.js' } });
  await assertEnd(app, 1, /exit: getAppWorkerFile\(\) must return the path of an existing file/);
});

own('an application that does not come up again is a reason', async t => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-reason-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, 'crash');
  const app = await t.ready({
    options: { ...production, restart: { maxDelay: 100, giveUp: 1000 } },
    mini: { app: { onlyIfFile: file, exitAtBoot: 4 } },
  });
  fs.writeFileSync(file, '');
  for (const pid of await app.workerPids()) process.kill(pid, 'SIGKILL');
  await assertEnd(app, 69, /exit: no app worker has been ready for \d+ms and restarts do not help$/);
});

/** The two last lines are the core thread's. */
async function assertEndedByCore(app, code) {
  assert.deepStrictEqual(await app.end(), { code, signal: null });
  const lines = app.err.trimEnd().split('\n');
  const start = new RegExp(`^\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z ERROR ${app.pid} \\[master\\] `);
  assert.match(lines[0], start);
  assert.match(lines[0], /the reason of the exit: everything had ended, and the JavaScript of the master has not reacted for 5000ms$/);
  assert.match(lines[1], new RegExp(`${start.source}exit with code:${code}$`));
  assert.strictEqual(lines.length, 2);
  assert.doesNotMatch(app.out, /exit with code/);
  await app.noLeftovers();
  assert.strictEqual(await tryConnect({ host: '127.0.0.1', port: app.port }), 'ECONNREFUSED');
}

/** Has the JavaScript of the master stand still, for as long as the test may take. */
async function block(app) {
  const before = app.mark();
  app.tell('agent', 'send', { message: { to: 'master', action: 'block' } });
  await app.report('blocked', before);
}

const blocked = { script: 'blocked.js', scriptArgs: { ms: 600000 } };

own('a master whose JavaScript stands still for ever ends by a stop, with all that it has started', async t => {
  const app = await t.ready({ ...blocked, options: { ...production, workers: 2 } });
  const members = app.members();
  await block(app);
  const before = Date.now();
  const stopped = await cli([ 'stop', '--socket', app.socket ]);
  assert.deepStrictEqual([ stopped.code, stopped.err ], [ 0, '' ], stopped.out);
  assert.ok(Date.now() - before >= 5000);
  assert.ok(members.every(pid => !isAlive(pid)));
  await assertEndedByCore(app, 0);
});

own('a master whose JavaScript does not come back from an exit listener is ended, too', async t => {
  const app = await t.ready({ script: 'blocked.js', scriptArgs: { ms: 600000, atExit: true }, options: production });
  app.child.kill('SIGTERM');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  await app.noLeftovers();
  assert.match(app.err, /everything had ended, and the JavaScript of the master has not reacted for 5000ms\n.* exit with code:0\n$/);
});

own('where nobody reads its output the end does not wait either', async t => {
  const app = await t.ready({ ...blocked, options: production });
  await block(app);
  app.child.stderr.pause();
  app.child.stderr.destroy();
  await ask(app.socket, 'POST', '/stop');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
});

own('a master that reacts in time ends by itself', async t => {
  const app = await t.ready({ script: 'blocked.js', scriptArgs: { ms: 2000 }, options: production });
  await block(app);
  await ask(app.socket, 'POST', '/stop');
  await assertEnd(app, 0, /exit: stop through the control socket/);
});

own('a master under the inspector is not ended: somebody may be looking at it', async t => {
  const app = await t.ready({ script: 'blocked.js', scriptArgs: { ms: 8000 }, execArgv: [ '--inspect=0' ], options: production });
  await block(app);
  await ask(app.socket, 'POST', '/stop');
  await app.report('unblocked');
  await assertEnd(app, 0, /exit: stop through the control socket/);
});
