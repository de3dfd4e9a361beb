'use strict';

const assert = require('assert');
const fs = require('fs');
const { test } = require('./helper/test');
const { get } = require('./helper/http');

test('twenty starts and ends in a row on one port leave nothing behind', async t => {
  let port;
  for (let round = 0; round < 20; round++) {
    const app = await t.ready({ options: { workers: 2, ...(port ? { port } : {}) } });
    port = app.port;
    assert.strictEqual((await get(port)).status, 200);
    assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
    await app.noLeftovers();
  }
});

test('the master keeps no descriptor of connections and workers that are gone', { skip: !fs.existsSync('/proc/self/fd') && 'no /proc' }, async t => {
  const app = await t.ready({ options: { workers: 2, env: 'prod' } });
  const round = async () => {
    await Promise.all(Array.from({ length: 50 }, () => get(app.port)));
    const before = app.mark();
    const [ first ] = await app.workerPids();
    process.kill(first, 'SIGKILL');
    await app.message('app-worker-died', before);
    await app.stdout(/app_worker#\d+:\d+ started at/, before);
  };
  const count = () => fs.readdirSync(`/proc/${app.pid}/fd`).length;
  await round();
  const before = count();
  for (let i = 0; i < 4; i++) await round();
  assert.ok(count() <= before + 2, `${before} descriptors, then ${count()}`);
});
