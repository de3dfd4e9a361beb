'use strict';

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { test } = require('./helper/test');
const { isReference } = require('./helper/cluster');

// Three rounds of ten seconds each.
test('in production the master gives up when no agent has been alive for three rounds', async t => {
  const flag = path.join(os.tmpdir(), `egg-cluster-test-agent-${process.pid}`);
  t.after(() => fs.rmSync(flag, { force: true }));
  const app = await t.ready({
    options: { env: 'prod' },
    mini: { agent: { onlyIfFile: flag, throwInConstructor: 'no agent any more' } },
  });
  fs.writeFileSync(flag, '');
  const start = Date.now();
  process.kill(await app.agentPid(), 'SIGKILL');
  await app.stderr(/agent_worker#2:\d+ died/);
  assert.deepStrictEqual(await app.end(45000), { code: 1, signal: null });
  const elapsed = Date.now() - start;
  assert.ok(elapsed > 20000, `after ${elapsed} ms already`);
  await app.stderr(
    /nodejs\.ClusterWorkerExceptionError: \[master\] 0 agent and 1 worker\(s\) alive, exit to avoid unknown state\n/);
  await app.stderr(/\[master\] exit with code:1\n/);
  if (!isReference) assert.match(app.err, /\[master\] the reason of the exit: 0 agent and 1 worker\(s\) were alive\n/);
});
