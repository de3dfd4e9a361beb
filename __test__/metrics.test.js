'use strict';

// What /metrics gives is what Prometheus reads, and what docs/metrics.md says.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { ownOnly } = require('./helper/test');
const { ask } = require('./helper/control');
const { get } = require('./helper/http');
const { kill } = require('./helper/processes');
const { until } = require('./helper/control');
const { parseMetrics } = require('./helper/metrics');

const own = (name, ...rest) => ownOnly('there are no metrics', name, ...rest);
const hasPromtool = spawnSync('promtool', [ '--version' ]).status === 0;

async function start(t) {
  return t.ready({ options: { env: 'prod', workers: 2, watchdog: { interval: 100 } } });
}

/** A cluster in which everything that is told of has happened. */
async function eventful(t) {
  const app = await start(t);
  await until(app.socket, ({ agent, slots }) => agent.process.pingMs !== null && slots.every(({ process }) => process.requests !== null));
  for (let i = 0; i < 20; i++) await get(app.port);
  return app;
}

function documented() {
  const text = fs.readFileSync(path.join(__dirname, '../docs/metrics.md'), 'utf8');
  const rows = [ ...text.matchAll(/^\| `(egg_cluster_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$/gm) ];
  return new Map(rows.map(([ , name, type, labels ]) => [ name, { type, labels: (labels.match(/\w+/g) || []).sort() } ]));
}

own('docs/metrics.md has the name, the type and the labels of every metric', async t => {
  const app = await eventful(t);
  const { headers, body } = await ask(app.socket, 'GET', '/metrics');
  assert.strictEqual(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
  const told = new Map();
  for (const [ name, { type, samples } ] of parseMetrics(body)) {
    const labels = new Set(samples.flatMap(sample => Object.keys(sample.labels)));
    told.set(name, { type, labels: [ ...labels ].sort() });
  }
  const expected = documented();
  // Only an empty place has it.
  told.get('egg_cluster_process_restart_delay_seconds').labels = [ 'role', 'slot' ];
  const ofProc = /_resident_memory_bytes$|_cpu_seconds_total$/;
  if (!fs.existsSync('/proc/self/stat')) for (const name of expected.keys()) if (ofProc.test(name)) told.set(name, expected.get(name));
  assert.deepStrictEqual([ ...told ].sort(), [ ...expected ].sort());
});

own('names have units, counters end in _total, and nothing else does', async t => {
  const app = await start(t);
  const metrics = parseMetrics((await ask(app.socket, 'GET', '/metrics')).body);
  for (const [ name, { type } ] of metrics) {
    assert.strictEqual(name.endsWith('_total'), type === 'counter', name);
    assert.doesNotMatch(name, /_(ms|milliseconds|kb|mb|percent)(_|$)/, name);
  }
});

own('counters go on when a worker is replaced', async t => {
  const app = await eventful(t);
  const read = async (name, slot) => {
    const metrics = parseMetrics((await ask(app.socket, 'GET', '/metrics')).body);
    return metrics.get(name).samples.find(({ labels }) => labels.slot === slot).value;
  };
  const before = await read('egg_cluster_connections_taken_total', '0');
  assert.ok(before > 0);
  kill((await app.workerPids())[0], 'SIGKILL');
  await until(app.socket, ({ slots }) => slots[0].restarts === 1 && slots[0].process && slots[0].process.state === 'ready');
  assert.ok(await read('egg_cluster_connections_taken_total', '0') >= before);
  assert.strictEqual(await read('egg_cluster_process_restarts_total', '0'), 1);
});

own('promtool has nothing to say', { skip: hasPromtool ? false : 'promtool (package prometheus) is not installed' }, async t => {
  const app = await eventful(t);
  const { body } = await ask(app.socket, 'GET', '/metrics');
  const { status, stdout, stderr } = spawnSync('promtool', [ 'check', 'metrics' ], { input: body, encoding: 'utf8' });
  assert.deepStrictEqual([ status, stdout, stderr ], [ 0, '', '' ]);
});
