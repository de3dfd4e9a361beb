'use strict';

// EGG_CLUSTER_RS_LOG_FORMAT=json: every line of the master is JSON, in the words of /events.

const assert = require('assert');
const { ownOnly } = require('./helper/test');
const { ask, follow, until } = require('./helper/control');
const { freePort } = require('./helper/ports');

const env = { EGG_CLUSTER_RS_LOG_FORMAT: 'json' };
const production = { env: 'prod' };
const own = (name, ...rest) => ownOnly('its log is text', name, ...rest);

/** What the children print is theirs. */
const isOfChild = line => /^\[mini\] |\[(?:app|agent)_worker\]|^$/.test(line);

/** All lines of the master so far, parsed. */
function linesOf(app, text = app.out) {
  return text.split('\n').filter(line => !isOfChild(line)).map(line => {
    const parsed = JSON.parse(line);
    assert.match(parsed.time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
    assert.ok([ 'debug', 'info', 'warn', 'error' ].includes(parsed.level), line);
    assert.strictEqual(parsed.master, app.pid);
    assert.ok(typeof parsed.type === 'string');
    return parsed;
  });
}

const typesOf = lines => lines.map(({ type }) => type).filter(type => type !== 'log');

/** The types are there in this order, others between them. */
function assertOrder(lines, types) {
  const left = typesOf(lines);
  for (const type of types) {
    const at = left.indexOf(type);
    assert.ok(at >= 0, `${type} is missing or too early in ${typesOf(lines)}`);
    left.splice(0, at + 1);
  }
}

own('start, crash, reload and close are told in the words of /events, a line each', async t => {
  const app = await t.ready({ env, options: { ...production, workers: 1 } });
  const events = await follow(app.socket);
  t.after(() => events.stop());
  const [ pid ] = await app.workerPids();
  process.kill(pid, 'SIGKILL');
  await until(app.socket, ({ slots }) => slots[0].restarts === 1 && slots[0].process && slots[0].process.state === 'ready');
  await ask(app.socket, 'POST', '/reload');
  await until(app.socket, ({ lastReload }) => lastReload !== null);
  app.child.kill('SIGTERM');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  await events.next(({ type }) => type === 'closing-agent');

  const lines = linesOf(app);
  assertOrder(lines, [
    'agent-forked', 'agent-started', 'app-forked', 'app-listening', 'app-started', 'ready', 'app-disconnected', 'app-forked', 'app-started',
    'asked', 'reload-started', 'app-forked', 'reload-done', 'signal', 'closing-apps', 'closing-agent', 'closed', 'exit',
  ]);
  assertOrder(linesOf(app, app.err), [ 'app-exited' ]);
  const [ died ] = linesOf(app, app.err);
  assert.deepStrictEqual([ died.level, died.pid, died.signal ], [ 'error', pid, 'SIGKILL' ]);

  // Names and members are the same as there.
  const isSame = told => line => line.type === told.type && line.pid === told.pid && line.id === told.id && line.number === told.number;
  const all = [ ...lines, ...linesOf(app, app.err) ];
  for (const { uptimeMs, ...told } of events.seen) {
    const { time, level, master, uptimeMs: logged, ...members } = all.find(isSame(told)) || assert.fail(JSON.stringify(told));
    assert.deepStrictEqual(members, told, `${time} ${level} ${master}`);
    assert.ok(Math.abs(logged - uptimeMs) < 5000, `${logged} ${uptimeMs}`);
  }
  assert.ok(events.seen.length >= 10);

  const last = lines[lines.length - 1];
  assert.deepStrictEqual([ last.type, last.level, last.code ], [ 'exit', 'info', 0 ]);
  assert.match(last.reason, /^signal SIGTERM, sent by process \d+/);
  const signal = lines.find(({ type }) => type === 'signal');
  assert.deepStrictEqual([ signal.signal, signal.pid, signal.uid ], [ 'SIGTERM', process.pid, process.getuid() ]);
});

own('a failing start is told so, too', async t => {
  const port = await freePort();
  await t.ready({ options: { ...production, port } });
  const app = await t.start({ env, options: { ...production, port, sticky: true } });
  assert.deepStrictEqual(await app.end(), { code: 1, signal: null });
  linesOf(app);
  const lines = linesOf(app, app.err);
  assertOrder(lines, [ 'listen-failed', 'exit' ]);
  const { code, reason, level } = lines[lines.length - 1];
  assert.deepStrictEqual([ code, reason, level ], [ 1, `cannot listen on port ${port}: EADDRINUSE`, 'error' ]);
  app.close = async () => ({ code: 0 });
});

own('an uncaught exception and the errors of the logger are lines, too', async t => {
  const app = await t.ready({ env, script: 'facade.js', options: production });
  app.send({ action: 'facade:throw', to: 'master' });
  await app.stderr(/"type":"uncaught-exception"/);
  const [ line ] = linesOf(app, app.err);
  assert.strictEqual(line.message, 'thrown in the master');
  assert.match(line.error.stack, /facade\.js/);
});

own('the last words of a master whose JavaScript stands still are JSON as well', async t => {
  const app = await t.ready({ env, script: 'blocked.js', scriptArgs: { ms: 600000 }, options: production });
  app.tell('agent', 'send', { message: { to: 'master', action: 'block' } });
  await app.report('blocked');
  await ask(app.socket, 'POST', '/stop');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  const [ last ] = linesOf(app, app.err);
  assert.deepStrictEqual([ last.type, last.code ], [ 'exit', 0 ]);
  assert.match(last.reason, /has not reacted for 5000ms/);
});

own('threads are told in the same words', async t => {
  const app = await t.ready({ env, options: { ...production, startMode: 'worker_threads' } });
  app.child.kill('SIGTERM');
  assert.deepStrictEqual(await app.end(), { code: 0, signal: null });
  assertOrder(linesOf(app), [ 'agent-started', 'app-started', 'ready', 'signal', 'closed', 'exit' ]);
});

own('EGG_MASTER_LOGGER_LEVEL counts for JSON as well', async t => {
  const app = await t.ready({ env: { ...env, EGG_MASTER_LOGGER_LEVEL: 'WARN' }, options: production });
  await ask(app.socket, 'POST', '/pause');
  await ask(app.socket, 'POST', '/resume');
  await app.close();
  assert.deepStrictEqual(typesOf(linesOf(app)), [ 'paused', 'resumed' ]);
});

own('another format is refused with a warning, and the log is text', async t => {
  const app = await t.ready({ env: { EGG_CLUSTER_RS_LOG_FORMAT: 'JSON' }, options: production });
  assert.match(app.out, / WARN \d+ \[master\] environment variable EGG_CLUSTER_RS_LOG_FORMAT should be json or text, but is "JSON"; using text\n/);
  assert.match(app.out, /\[master\] framework-mini started on /);
});
