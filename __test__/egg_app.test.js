'use strict';

const assert = require('assert');
const path = require('path');
const fs = require('fs');
const { test } = require('./helper/test');
const { get } = require('./helper/http');
const { freePort } = require('./helper/ports');
const { startEgg, sendNews: send, heardBy } = require('./helper/egg_app');
const { startLoad } = require('./helper/load');
const { poll } = require('./helper/processes');

const egg = path.dirname(require.resolve('egg/package.json'));

const start = (t, config) => startEgg(t, egg, config);

test('an Egg application starts, serves and ends, with nothing on stderr', async t => {
  const { app, pids } = await start(t, { env: { NODE_ENV: 'production' } });
  const { version } = JSON.parse(fs.readFileSync(path.join(egg, 'package.json'), 'utf8'));
  assert.ok(app.out.includes(`[master] egg version ${version}\n`), app.out);
  await app.stdout(new RegExp(`\\[master\\] egg started on http://127\\.0\\.0\\.1:${app.port} \\(\\d+ms\\)`));
  for (let i = 0; i < 6; i++) assert.ok(pids.includes((await get(app.port)).json.pid));
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.strictEqual(app.err, '');
  assert.strictEqual(app.out.match(/\[egg-app\] app \d+ closed/g).length, 2);
  await app.stdout(/\[egg-app\] agent \d+ closed/);
});

test('the messenger of an app reaches what it names', async t => {
  const { app, pids, agent } = await start(t);
  assert.deepStrictEqual((await send(app, 'how=sendToAgent', 1)).receivers, [ agent ]);
  assert.deepStrictEqual((await send(app, 'how=sendToApp', 2)).receivers, pids);
  assert.deepStrictEqual((await send(app, 'how=broadcast', 3)).receivers, [ ...pids, agent ].sort());
  assert.deepStrictEqual((await send(app, `how=sendTo&to=${pids[1]}`, 1)).receivers, [ pids[1] ]);
  assert.deepStrictEqual((await send(app, `how=sendTo&to=${agent}`, 1)).receivers, [ agent ]);
});

test('the messenger of the agent reaches what it names', async t => {
  const { app, pids, agent } = await start(t);
  assert.deepStrictEqual((await send(app, 'by=agent&how=sendToApp', 2)).receivers, pids);
  assert.deepStrictEqual((await send(app, 'by=agent&how=sendToAgent', 1)).receivers, [ agent ]);
  assert.deepStrictEqual((await send(app, 'by=agent&how=broadcast', 3)).receivers, [ ...pids, agent ].sort());
  assert.deepStrictEqual((await send(app, `by=agent&how=sendTo&to=${pids[0]}`, 1)).receivers, [ pids[0] ]);
  const random = await send(app, 'by=agent&how=sendRandom', 1);
  assert.strictEqual(random.receivers.length, 1);
  assert.ok(pids.includes(random.receivers[0]));
});

test('after a restart of the agent both sides know each other again', async t => {
  const { app, pids, agent } = await start(t);
  const before = app.mark();
  process.kill(agent, 'SIGKILL');
  await app.stdout(/agent_worker#2:\d+ started/, before);
  const { data } = await app.message(m => m.action === 'egg:heard' && m.data.action === 'egg-ready' && m.data.role === 'agent', before);
  const random = await send(app, 'how=sendRandom', 1);
  assert.deepStrictEqual(random.receivers, [ data.pid ]);
  const back = await send(app, 'by=agent&how=sendRandom', 1);
  assert.ok(pids.includes(back.receivers[0]));
});

test('schedules run: `worker` on one worker a time, `all` on each', async t => {
  const { app, pids } = await start(t);
  const ticks = action => heardBy(app, action);
  await app.until('two ticks', () => ticks('tick-worker').length >= 2 && ticks('tick-all').length >= 4);
  assert.ok(ticks('tick-worker').every(pid => pids.includes(pid)));
  assert.deepStrictEqual([ ...new Set(ticks('tick-all')) ].sort(), pids);
  // Its log tells each job that the agent has sent by a number, and who has got it.
  const log = path.join(app.home, 'logs/egg-app/egg-schedule.log');
  const jobs = file => {
    const lines = fs.readFileSync(log, 'utf8').matchAll(new RegExp(`INFO (\\d+) \\[Job#(\\w+)\\] \\S*/${file} executing by app`, 'g'));
    const byId = new Map();
    for (const [ , pid, id ] of lines) byId.set(id, [ ...(byId.get(id) || []), Number(pid) ].sort());
    return [ ...byId.values() ];
  };
  const logged = () => fs.existsSync(log) && jobs('worker.js').length >= 2 && jobs('all.js').length >= 2;
  assert.ok(await poll(logged, 10000));
  assert.ok(jobs('worker.js').every(got => got.length === 1));
  assert.deepStrictEqual(jobs('all.js')[0], pids);
});

test('an uncaught error in production: the worker is replaced when it disconnects, service goes on', async t => {
  const { app, pids } = await start(t);
  const before = app.mark();
  const { pid } = (await get(app.port, '/crash')).json;
  const [ , forked ] = await app.stderr(/new worker:(\d+) fork/, before);
  await app.stdout(new RegExp(`app_worker#3:${forked} started at`), before);
  assert.ok(pids.includes(pid));
  const load = startLoad(app.port, { concurrency: 2 });
  assert.ok(await poll(() => load.result.served[forked] > 0, 5000));
  const { served } = await load.stop();
  assert.strictEqual(served[pid], undefined);
});

for (const key of [ 'port', 'path' ]) {
  test(`config.cluster.listen.${key} is used where the options name no port`, async t => {
    const value = key === 'port' ? await freePort() : path.join(require('os').tmpdir(), `egg-cluster-test-egg-${process.pid}.sock`);
    const { app } = await start(t, { options: { port: undefined }, env: { TEST_LISTEN: JSON.stringify({ [key]: value }) } });
    const { address } = await app.ready();
    assert.strictEqual(address, key === 'port' ? `http://127.0.0.1:${value}` : value);
    assert.strictEqual((await get(value)).status, 200);
  });
}

test('sticky serves an Egg application', async t => {
  const { app } = await start(t, { options: { sticky: true } });
  const first = (await get(app.port)).json.pid;
  for (let i = 0; i < 5; i++) assert.strictEqual((await get(app.port)).json.pid, first);
});

test('in local, egg-development\'s order to reload replaces the workers', async t => {
  const { app, pids } = await start(t, { options: { env: 'local', workers: 1 } });
  const before = app.mark();
  // A changed file under app/ makes the plugin's agent ask for it.
  fs.appendFileSync(path.join(app.options.baseDir, 'app/router.js'), '\n// changed\n');
  await app.stdout(/app_worker#2:\d+ listening on/, before);
  await app.stdout(new RegExp(`app_worker#1:${pids[0]} disconnect`), before);
  assert.notStrictEqual((await get(app.port)).json.pid, pids[0]);
});
