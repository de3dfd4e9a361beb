'use strict';

// Plugins of Egg whose work goes through the master, unchanged: egg-logrotator, cluster-client, egg-socket.io.
// egg-schedule and egg-development are in egg_app.test.js.

const assert = require('assert');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { test } = require('./helper/test');
const { get } = require('./helper/http');
const { poll } = require('./helper/processes');

// Where Node has a WebSocket of its own the client would take it, and that cannot choose the address that it comes from.
delete globalThis.WebSocket;
const io = require('socket.io-client-2');

const egg = path.dirname(require.resolve('egg/package.json'));

function start(t, app, { options, ...config } = {}) {
  return t.ready({ app, copy: true, ...config, options: { framework: egg, workers: 2, env: 'prod', ...options } });
}

/** Asks until all workers have answered: their pids and the last answer of each. */
async function askEach(port, url, count) {
  const answers = new Map();
  const all = await poll(async () => {
    const { json } = await get(port, url);
    answers.set(json.askedBy || json.pid, json);
    return answers.size === count;
  }, 20000);
  assert.ok(all, `${answers.size} of ${count} workers have answered ${url}`);
  return answers;
}

function read(file) {
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '';
}

test('egg-logrotator: after a rotation every worker and the agent write into new files', async t => {
  const app = await start(t, 'egg');
  const dir = path.join(app.home, 'logs/egg-app');
  const written = (file, text) => poll(() => read(path.join(dir, file)).includes(text), 10000);
  const pids = [ ...(await askEach(app.port, '/log?text=before', 2)).keys() ];
  assert.ok(await written('egg-app-web.log', 'before'));
  await get(app.port, '/run-schedule?file=egg-logrotator/app/schedule/rotate_by_file');
  const rotated = name => fs.readdirSync(dir).find(file => new RegExp(`^${name}\\.log\\.\\d{4}-\\d\\d-\\d\\d$`).test(file));
  assert.ok(read(path.join(dir, rotated('egg-app-web'))).includes('before'));
  // The master relays `log-reload` to all. Each says so in its new log.
  for (const pid of pids) {
    const told = () => new RegExp(` ${pid} \\[egg-logrotator\\] app logger reload`).test(read(path.join(dir, 'egg-web.log')));
    assert.ok(await poll(told, 10000), `app ${pid} has not opened its logs again`);
  }
  assert.ok(await written('egg-agent.log', '[egg-logrotator] agent logger reload'));
  await askEach(app.port, '/log?text=after', 2);
  for (const pid of pids) {
    const wrote = () => new RegExp(`WARN ${pid} .*after`).test(read(path.join(dir, 'egg-app-web.log')));
    assert.ok(await poll(wrote, 10000), `app ${pid} writes into the old file`);
  }
  assert.ok(await written('egg-agent.log', 'after'));
  assert.doesNotMatch(read(path.join(dir, rotated('egg-app-web'))), /after/);
});

test('cluster-client: app workers subscribe, publish and invoke through the agent that leads on clusterPort', async t => {
  const app = await start(t, 'cluster-client');
  const before = app.mark();
  const heard = value => app.found(m => m.action === 'registry:heard' && m.data.value === value, before).map(m => m.data.pid);
  const { pid } = (await get(app.port, '/publish?value=one')).json;
  await app.until('both workers', () => new Set(heard('one')).size === 2);
  assert.ok(heard('one').includes(pid));
  const answers = [ ...(await askEach(app.port, '/invoke?question=who', 2)).values() ];
  const leaders = new Set(answers.map(answer => answer.pid));
  assert.strictEqual(leaders.size, 1);
  assert.ok(answers.every(answer => answer.question === 'who' && answer.pid !== answer.askedBy));
  const [ , agent, port ] = await app.stdout(/agent_worker#1:(\d+) start with clusterPort:(\d+)/);
  assert.deepStrictEqual([ ...leaders ], [ Number(agent) ]);
  assert.ok(Number(port) > 0);
});

test('cluster-client: a new agent leads on the same clusterPort, and the workers find it', async t => {
  const app = await start(t, 'cluster-client');
  const [ , first, port ] = await app.stdout(/agent_worker#1:(\d+) start with clusterPort:(\d+)/);
  const before = app.mark();
  process.kill(Number(first), 'SIGKILL');
  const [ , second, again ] = await app.stdout(/agent_worker#2:(\d+) start with clusterPort:(\d+)/, before);
  assert.strictEqual(again, port);
  await app.stdout(/agent_worker#2:\d+ started/, before);
  const found = await poll(async () => {
    // An invocation under way while the leader dies fails.
    const answer = await get(app.port, '/invoke?question=who');
    return answer.status === 200 && answer.json.pid === Number(second);
  }, 30000);
  assert.ok(found, 'the workers have not found the new agent');
  await get(app.port, '/publish?value=again');
  const heard = () => app.found(m => m.action === 'registry:heard' && m.data.value === 'again', before).map(m => m.data.pid);
  await app.until('both workers', () => new Set(heard()).size === 2);
});

const clients = Array.from({ length: 8 }, (_, i) => `127.0.0.${i + 1}`);

/** Connects from an address of its own, asks a few times, leaves; the pid that has answered all of it. */
async function talk(t, port, transports, localAddress) {
  const socket = io(`http://127.0.0.1:${port}`, {
    transports, agent: new http.Agent({ localAddress, keepAlive: false }), reconnection: false, forceNew: true,
  });
  t.after(() => socket.close());
  await new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    for (const event of [ 'connect_error', 'error', 'disconnect' ]) socket.once(event, reason => reject(new Error(`${event}: ${reason}`)));
  });
  const { engine } = socket.io;
  if (engine.transport.name !== transports[transports.length - 1]) await upgraded(engine);
  const pids = new Set();
  for (let round = 0; round < 5; round++) {
    const answer = await new Promise(resolve => socket.emit('echo', round, resolve));
    assert.strictEqual(answer.value, round);
    pids.add(answer.pid);
  }
  assert.strictEqual(pids.size, 1);
  assert.strictEqual(engine.transport.name, transports[transports.length - 1]);
  socket.removeAllListeners('disconnect');
  socket.close();
  return [ ...pids ][0];
}

function upgraded(engine) {
  return new Promise((resolve, reject) => {
    engine.once('upgrade', resolve);
    engine.once('upgradeError', reject);
  });
}

for (const transports of [ [ 'polling' ], [ 'websocket' ], [ 'polling', 'websocket' ] ]) {
  test(`egg-socket.io in sticky mode: ${transports.join(', then ')}`, async t => {
    const app = await start(t, 'egg-socketio', { options: { sticky: true, workers: 3 } });
    const talkAll = () => Promise.all(clients.map(client => talk(t, app.port, transports, client)));
    const pids = await talkAll();
    assert.ok(new Set(pids).size > 1, 'all clients are on one worker');
    assert.deepStrictEqual(await talkAll(), pids);
  });
}
