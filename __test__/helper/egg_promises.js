'use strict';

// What an application of every generation of Egg is promised under the native master.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { ownOnly } = require('./test');
const { get } = require('./http');
const { startLoad } = require('./load');
const { startEgg, sendNews, heardBy } = require('./egg_app');

/**
 * Registers the tests.
 *
 * @param {object} egg
 *  - {string} name in the names of the tests
 *  - {string} framework, {string} cwd, {string|false} skip as of `helper/eggs`
 *  - {string} app the application, a directory of fixtures/apps
 *  - {string} scripts the directory of the worker scripts as the end of a path
 *  - {object} config more for `cluster.start`
 */
function promise({ name, framework, cwd, skip, app: appName = 'egg', scripts, config }) {
  const start = (t, { options, ...rest } = {}) => startEgg(t, framework, { app: appName, cwd, ...config, ...rest, options: { ...options } });
  const check = (what, body) => ownOnly('runs worker scripts of its own', `${name}: ${what}`, { skip }, body);

  check('it starts with its own worker scripts, serves and ends, with nothing on stderr', async t => {
    const { app, pids } = await start(t, { env: { NODE_ENV: 'production' } });
    const { version } = JSON.parse(fs.readFileSync(path.join(framework, 'package.json'), 'utf8'));
    assert.ok(app.out.includes(`[master] egg version ${version}\n`), app.out);
    const { json } = await get(app.port);
    assert.ok(pids.includes(json.pid));
    for (const [ role, argv ] of [[ 'app', json.argv ], [ 'agent', (await get(app.port, '/agent')).json.argv ]]) {
      assert.ok(argv[1].endsWith(`${scripts}/${role}_worker.js`), argv[1]);
    }
    assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
    assert.strictEqual(app.err, '');
    assert.strictEqual(app.out.match(/\[egg-app\] app \d+ closed/g).length, 2);
    await app.stdout(/\[egg-app\] agent \d+ closed/);
    assert.ok(app.out.lastIndexOf('[egg-app] app') < app.out.indexOf('[egg-app] agent'), 'the apps end before the agent');
  });

  check('messages reach what they name, both ways', async t => {
    const { app, pids, agent } = await start(t);
    assert.deepStrictEqual((await sendNews(app, 'how=sendToAgent', 1)).receivers, [ agent ]);
    assert.deepStrictEqual((await sendNews(app, 'how=broadcast', 3)).receivers, [ ...pids, agent ].sort());
    assert.deepStrictEqual((await sendNews(app, `how=sendTo&to=${pids[1]}`, 1)).receivers, [ pids[1] ]);
    assert.deepStrictEqual((await sendNews(app, `how=sendTo&to=${agent}`, 1)).receivers, [ agent ]);
    assert.deepStrictEqual((await sendNews(app, 'by=agent&how=sendToApp', 2)).receivers, pids);
    assert.deepStrictEqual((await sendNews(app, `by=agent&how=sendTo&to=${pids[0]}`, 1)).receivers, [ pids[0] ]);
    const random = await sendNews(app, 'by=agent&how=sendRandom', 1);
    assert.ok(pids.includes(random.receivers[0]));
  });

  check('schedules run: `worker` on one worker a time, `all` on each', async t => {
    const { app, pids } = await start(t);
    await app.until('two ticks', () => heardBy(app, 'tick-worker').length >= 2 && heardBy(app, 'tick-all').length >= 4);
    assert.ok(heardBy(app, 'tick-worker').every(pid => pids.includes(pid)));
    assert.deepStrictEqual([ ...new Set(heardBy(app, 'tick-all')) ].sort(), pids);
  });

  check('a killed worker is replaced, and the others learn of it', async t => {
    const { app, pids, agent } = await start(t);
    const before = app.mark();
    process.kill(pids[0], 'SIGKILL');
    await app.message('app-worker-died', before);
    const [ , forked ] = await app.stdout(/app_worker#3:(\d+) started at/, before);
    const now = [ pids[1], Number(forked) ].sort();
    assert.deepStrictEqual((await sendNews(app, 'by=agent&how=sendToApp', 2)).receivers, now);
    assert.deepStrictEqual((await sendNews(app, 'how=sendToAgent', 1)).receivers, [ agent ]);
  });

  check('an uncaught error in production: the worker is replaced when it disconnects', async t => {
    const { app, pids } = await start(t);
    const before = app.mark();
    const { pid } = (await get(app.port, '/crash')).json;
    const [ , forked ] = await app.stdout(/app_worker#3:(\d+) started at/, before);
    assert.ok(pids.includes(pid));
    await app.stdout(new RegExp(`app_worker#\\d:${pid} disconnect`), before);
    for (let i = 0; i < 6; i++) assert.ok([ ...pids.filter(each => each !== pid), Number(forked) ].includes((await get(app.port)).json.pid));
  });

  check('after a restart of the agent both sides know each other again', async t => {
    const { app, pids, agent } = await start(t);
    const before = app.mark();
    process.kill(agent, 'SIGKILL');
    await app.stdout(/agent_worker#2:\d+ started/, before);
    const { data } = await app.message(m => m.action === 'egg:heard' && m.data.action === 'egg-ready' && m.data.role === 'agent', before);
    assert.deepStrictEqual((await sendNews(app, 'how=sendRandom', 1)).receivers, [ data.pid ]);
    const back = await sendNews(app, 'by=agent&how=sendRandom', 1);
    assert.ok(pids.includes(back.receivers[0]));
  });

  check('a reload replaces the workers and loses no request', async t => {
    const { app, pids } = await start(t);
    const load = startLoad(app.port, { concurrency: 2 });
    process.kill(app.pid, 'SIGUSR2');
    await app.stdout(/\[master\] reload done/);
    const { errors, ok } = await load.stop();
    assert.deepStrictEqual(errors, []);
    assert.ok(ok > 0);
    const { receivers } = await sendNews(app, 'by=agent&how=sendToApp', 2);
    assert.strictEqual(receivers.length, 2);
    assert.ok(receivers.every(pid => !pids.includes(pid)));
  });

  check('sticky: a client keeps its worker', async t => {
    const { app } = await start(t, { options: { sticky: true } });
    const first = (await get(app.port)).json.pid;
    for (let i = 0; i < 5; i++) assert.strictEqual((await get(app.port)).json.pid, first);
  });
}

module.exports = { promise };
