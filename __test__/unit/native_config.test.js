'use strict';

const assert = require('assert');
const cluster = require('cluster');
const test = require('./helpers/test');
const util = require('util');

const { checkControl } = require('../../lib/control');
const { nativeConfig, childExecArgv } = require('../../lib/native_config');
const { withEnv } = require('./helpers/app');

const OPTIONS = { baseDir: '/app', workers: 2, port: 7001, https: false, clusterPort: 40001 };

const NO_TIMES = {
  EGG_MASTER_CLOSE_TIMEOUT: undefined,
  EGG_APP_CLOSE_TIMEOUT: undefined,
  EGG_AGENT_CLOSE_TIMEOUT: undefined,
  EGG_CLUSTER_RS_DRAIN_TIMEOUT: undefined,
  EGG_CLUSTER_RS_CONTROL: undefined,
};

function build(options = {}, isProduction = true) {
  const warnings = [];
  const config = nativeConfig({
    options: { ...OPTIONS, ...options },
    isProduction,
    agentWorkerFile: '/a.js',
    appWorkerFile: '/b.js',
    isEgg3Worker: true,
    warn: (...args) => warnings.push(util.format(...args)),
  });
  return { config, warnings };
}

test('everything that the native master is told', t => {
  withEnv(t, { HOST: '10.0.0.1', ...NO_TIMES, NODE_OPTIONS: undefined, EGG_CLUSTER_RS_LOG_FORMAT: undefined });
  const { config, warnings } = build();
  delete config.env;
  assert.deepStrictEqual(config, {
    execPath: process.execPath,
    execArgv: process.execArgv,
    agentWorkerFile: '/a.js',
    appWorkerFile: '/b.js',
    optionsJson: '{"baseDir":"/app","workers":2,"port":7001,"https":false,"clusterPort":40001}',
    workers: 2,
    port: 7001,
    protocol: 'http',
    host: '10.0.0.1',
    stickyPort: null,
    stickyKey: null,
    debugPort: null,
    production: true,
    isDebug: false,
    agentInspectPort: null,
    appInspectBase: null,
    shareListeners: false,
    threads: false,
    appCloseTimeoutMs: 5000,
    agentCloseTimeoutMs: 5000,
    control: { path: '/app/run/egg-cluster-rs.sock', tcp: null, baseDir: '/app' },
    exitLimitMs: 5000,
    jsonLog: false,
    restart: { stableTimeMs: 10000, maxDelayMs: 30000, intensityLimit: 60, intensityPeriodMs: 60000, giveUpMs: 60000 },
    watchdog: { timeoutMs: 60000, bootTimeoutMs: null, intervalMs: 5000, kills: true, stack: false },
    hold: { timeoutMs: 10000, connections: 1024 },
    limits: { lineBytes: 268435456, outboxBytes: 16777216, stallTimeoutMs: 30000, listeners: 256 },
    preloadFile: require.resolve('../../lib/worker_preload.js'),
    drain: { timeoutMs: 5000, websocketTimeoutMs: 5000 },
    prestart: { atStart: false, spares: 0 },
  });
  assert.deepStrictEqual(warnings, []);
});

test('only a process of the master\'s own that nobody inspects is ended by the native side', t => {
  withEnv(t, { ...NO_TIMES, NODE_OPTIONS: undefined, EGG_CLUSTER_RS_LOG_FORMAT: 'json' });
  assert.deepStrictEqual([ build().config.exitLimitMs, build().config.jsonLog ], [ 5000, true ]);
  assert.strictEqual(build({ exitProcess: false }).config.exitLimitMs, null);
  withEnv(t, { NODE_OPTIONS: '--inspect=0' });
  assert.strictEqual(build().config.exitLimitMs, null);
});

test('where the control socket is', t => {
  const place = (control, env, more) => {
    withEnv(t, { EGG_CLUSTER_RS_CONTROL: env });
    const config = build({ control, ...more }).config.control;
    return config && [ config.path, config.tcp ];
  };
  const usual = '/app/run/egg-cluster-rs.sock';
  assert.deepStrictEqual(place(undefined), [ usual, null ]);
  assert.deepStrictEqual(place({ path: 'x.sock', tcp: 9100 }), [ '/app/x.sock', '127.0.0.1:9100' ]);
  assert.deepStrictEqual(place({ path: '/x.sock', tcp: '0.0.0.0:9100' }), [ '/x.sock', '0.0.0.0:9100' ]);
  assert.deepStrictEqual(place({ tcp: '[::1]:1' }), [ usual, '[::1]:1' ]);
  assert.deepStrictEqual(place({ tcp: 'localhost:9100' }), [ usual, '127.0.0.1:9100' ]);
  assert.strictEqual(place(false), null);
  assert.strictEqual(place(undefined, undefined, { exitProcess: false }), null);
  assert.deepStrictEqual(place({}, undefined, { exitProcess: false }), [ usual, null ]);
  assert.deepStrictEqual(place({ path: '/x.sock', tcp: 9100 }, '/env.sock'), [ '/env.sock', '127.0.0.1:9100' ]);
  assert.deepStrictEqual(place(false, 'env.sock'), [ '/app/env.sock', null ]);
  assert.strictEqual(place({ path: '/x.sock' }, 'false'), null);
  withEnv(t, { EGG_CLUSTER_RS_CONTROL: '/env.sock' });
  assert.ok(!('EGG_CLUSTER_RS_CONTROL' in build().config.env), 'a master that a worker starts has its own');
});

test('addresses for probes that make no sense', () => {
  const wrong = [ 'somewhere', 'host:9100', ':9100', '1.2.3.4', '::1:9100', '[::1]', true, {}, -1, 1.5, NaN ];
  for (const tcp of wrong) assert.throws(() => checkControl({ tcp }), { name: 'TypeError', message: /^options\.control\.tcp must be a port/ }, String(tcp));
  for (const tcp of [ 65536, '0.0.0.0:70000' ]) assert.throws(() => checkControl({ tcp }), RangeError);
});

test('sticky, https and debug port', () => {
  const { config } = build({ sticky: true, stickyWorkerPort: 40002, https: { key: 'k' }, debugPort: '7002', port: undefined });
  assert.deepStrictEqual([ config.stickyPort, config.protocol, config.debugPort, config.port ], [ 40002, 'https', 7002, null ]);
});

test('the environment has no trace of the channel to our own parent', t => {
  withEnv(t, { NODE_CHANNEL_FD: '3', NODE_CHANNEL_SERIALIZATION_MODE: 'json', NODE_UNIQUE_ID: '1', SOME_VARIABLE: 'x' });
  const { env } = build().config;
  assert.strictEqual(env.SOME_VARIABLE, 'x');
  assert.deepStrictEqual(Object.keys(env).filter(name => /^NODE_(CHANNEL|UNIQUE)/.test(name)), []);
});

test('close timeouts: the special one, else the common one, else 5 s; nonsense is told and not used', t => {
  withEnv(t, { EGG_MASTER_CLOSE_TIMEOUT: '1000', EGG_APP_CLOSE_TIMEOUT: '0', EGG_AGENT_CLOSE_TIMEOUT: '5s' });
  const { config, warnings } = build();
  assert.deepStrictEqual([ config.appCloseTimeoutMs, config.agentCloseTimeoutMs ], [ 0, 1000 ]);
  assert.deepStrictEqual(warnings, [ '[master] environment variable EGG_AGENT_CLOSE_TIMEOUT should be a time in ms, but is "5s"; using 1000' ]);
});

test('inspector ports', t => {
  withEnv(t, { EGG_AGENT_DEBUG_PORT: undefined, NODE_OPTIONS: '--inspect-port=0' });
  const { config } = build({ isDebug: true });
  assert.deepStrictEqual([ config.isDebug, config.agentInspectPort, config.appInspectBase ], [ true, 5800, process.debugPort ]);
  process.env.EGG_AGENT_DEBUG_PORT = '5999';
  assert.strictEqual(build({ isDebug: true }).config.agentInspectPort, 5999);
  assert.strictEqual(build().config.agentInspectPort, 5999);
  delete process.env.NODE_OPTIONS;
  assert.strictEqual(build().config.agentInspectPort, null);
  assert.strictEqual(build({ isDebug: true }).config.appInspectBase, null);
});

test('threads have no channel, no signals and no inspector of their own', t => {
  withEnv(t, { NODE_OPTIONS: '--inspect-port=0', ...NO_TIMES });
  const { config } = build({ startMode: 'worker_threads', isDebug: true, drain: { timeout: 100 }, watchdog: { stack: true } });
  const { threads, agentInspectPort, appInspectBase, watchdog, preloadFile, drain } = config;
  assert.strictEqual(threads, true);
  assert.deepStrictEqual([ agentInspectPort, appInspectBase, watchdog, preloadFile, drain ], [ null, null, null, null, null ]);
});

test('listeners are shared under SCHED_NONE', t => {
  const before = cluster.schedulingPolicy;
  t.after(() => {
    cluster.schedulingPolicy = before;
  });
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  assert.strictEqual(build().config.shareListeners, true);
});

const times = (drain, isProduction) => {
  const { config, warnings } = build({ drain }, isProduction);
  assert.strictEqual(config.preloadFile === null, config.drain === null);
  return [ config.drain && [ config.drain.timeoutMs, config.drain.websocketTimeoutMs ], warnings ];
};

test('drain times: the variable, else the option, else the app close timeout, short outside production', t => {
  withEnv(t, NO_TIMES);
  assert.deepStrictEqual(times(undefined), [[ 5000, 5000 ], []]);
  assert.deepStrictEqual(times(undefined, false), [[ 1000, 1000 ], []]);
  assert.deepStrictEqual(times({ timeout: 7000.5 }, false), [[ 7000, 7000 ], []]);
  assert.deepStrictEqual(times({ websocketTimeout: 60000 }), [[ 5000, 60000 ], []]);
  assert.deepStrictEqual(times({ timeout: 100, websocketTimeout: 0 }), [[ 100, 0 ], []]);
  process.env.EGG_APP_CLOSE_TIMEOUT = '600';
  assert.deepStrictEqual(times(undefined), [[ 600, 600 ], []]);
  assert.deepStrictEqual(times(undefined, false), [[ 600, 600 ], []]);
  process.env.EGG_CLUSTER_RS_DRAIN_TIMEOUT = '20';
  assert.deepStrictEqual(times({ timeout: 7000 }), [[ 20, 20 ], []]);
  assert.deepStrictEqual(times(false), [[ 20, 20 ], []]);
  process.env.EGG_CLUSTER_RS_DRAIN_TIMEOUT = 'long';
  assert.deepStrictEqual(times({ timeout: 7000 }), [[ 7000, 7000 ], [
    '[master] environment variable EGG_CLUSTER_RS_DRAIN_TIMEOUT should be a time in ms, but is "long"; using 7000',
  ]]);
});

test('workers are not drained where that is switched off, takes no time, or the file may be out of their reach', t => {
  withEnv(t, { ...NO_TIMES, NODE_OPTIONS: undefined });
  assert.deepStrictEqual(times(false), [ null, []]);
  assert.deepStrictEqual(times({ timeout: 0 }), [ null, []]);
  process.env.EGG_CLUSTER_RS_DRAIN_TIMEOUT = '0';
  assert.deepStrictEqual(times({ timeout: 1000 }), [ null, []]);
  delete process.env.EGG_CLUSTER_RS_DRAIN_TIMEOUT;
  for (const flag of [ '--permission', '--experimental-permission' ]) {
    process.env.NODE_OPTIONS = `--no-warnings ${flag} --allow-fs-read=/app`;
    assert.deepStrictEqual(times({ timeout: 1000 }), [ null, []]);
  }
});

test('a program given on the command line is not run by the workers', () => {
  assert.deepStrictEqual(childExecArgv([ '--inspect', '-e', 'start()', '--no-deprecation' ], 'start()'), [ '--inspect', '--no-deprecation' ]);
  assert.deepStrictEqual(childExecArgv([ '-pe', 'start()' ], 'start()'), []);
  assert.deepStrictEqual(childExecArgv([ '--eval=start()', '--inspect' ], 'start()'), [ '--inspect' ]);
  assert.deepStrictEqual(childExecArgv([ '--inspect' ], undefined), [ '--inspect' ]);
});
