'use strict';

// How many app workers there are by default: no more than the processors that the master may use.

const assert = require('assert');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');
const cgroup = require('./helper/cgroup');
const { status } = require('./helper/control');
const { ownOnly } = require('./helper/test');
const { root } = require('./helper/cluster');

const cpus = os.cpus().length;
const own = (name, ...rest) => ownOnly('there is one worker for each processor of the machine', name, ...rest);
const SAID = /\[master\] app workers: (\d+), for this process may use so many of the (\d+) processors/;

function fewer(reason) {
  return reason || (cpus < 2 && 'needs a machine of two processors or more');
}

function noTaskset() {
  return spawnSync('taskset', [ '-c', '0', 'true' ]).status === 0 ? false : 'needs taskset';
}

/** The number of workers is that of the processors, and the operator's tools say the same. */
async function assertProcessors(t, expected, { wrapper, workers }) {
  const app = await t.ready({ options: { workers }, wrapper });
  assert.strictEqual((await status(app.socket)).processors, expected);
  assert.strictEqual((await status(app.socket)).slots.length, expected);
  if (expected === cpus) {
    assert.doesNotMatch(app.out, SAID);
  } else {
    assert.deepStrictEqual(SAID.exec(app.out).slice(1), [ String(expected), String(cpus) ]);
  }
  const doctor = [ process.execPath, path.join(root, 'bin/egg-cluster-rs.js'), 'doctor', '--dir', app.options.baseDir ];
  const [ command, ...args ] = [ ...(wrapper || []), ...doctor ];
  const { stdout } = spawnSync(command, args, { encoding: 'utf8' });
  assert.match(stdout, new RegExp(`^ok {4}processors: ${expected}\\b`, 'm'));
}

const noCgroup = fewer(cgroup.skipReason('cpu'));
for (const [ quota, expected ] of [ [ 1, 1 ], [ 0.5, 1 ], [ 1.9, 1 ], [ cpus, cpus ], [ cpus + 3, cpus ] ]) {
  own(`a quota of ${quota} processors makes ${expected} workers`, { skip: noCgroup }, async t => {
    await assertProcessors(t, expected, { wrapper: cgroup.enter(t, 'cpu', quota) });
  });
}

for (const workers of [ undefined, null, 'auto' ]) {
  own(`affinity counts, with workers: ${workers}`, { skip: fewer(noTaskset()) }, async t => {
    await assertProcessors(t, 1, { wrapper: [ 'taskset', '-c', '0' ], workers });
  });
}

own('a number that is given stays as it is, and nothing is said', { skip: fewer(noTaskset()) }, async t => {
  const app = await t.ready({ options: { workers: 2 }, wrapper: [ 'taskset', '-c', '0' ] });
  assert.strictEqual((await status(app.socket)).slots.length, 2);
  assert.doesNotMatch(app.out, SAID);
});

own('threads of their own ports are as many as the ports', { skip: fewer(noTaskset()) }, async t => {
  const app = await t.ready({ options: { startMode: 'worker_threads', workers: undefined }, wrapper: [ 'taskset', '-c', '0' ] });
  assert.strictEqual((await status(app.socket)).slots.length, 1);
  assert.doesNotMatch(app.out, SAID);
});
