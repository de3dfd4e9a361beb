'use strict';

// A real Egg 3 application in threads: its messenger.

const assert = require('assert');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { get } = require('./helper/http');
const { freePort } = require('./helper/ports');

const egg = path.dirname(require.resolve('egg/package.json'));
const ORIGINAL = 'has a messenger that sends to its own thread only';

const heard = (app, action, since) => app.found(m => m.action === 'egg:heard' && m.data.action === action, since).map(m => m.data);

// An application of two threads in which every messenger has had egg-ready.
async function start(t) {
  const ports = [ await freePort(), await freePort() ];
  const options = { framework: egg, startMode: 'worker_threads', ports, port: ports[0], workers: 2, env: 'prod' };
  const app = await t.ready({ app: 'egg', copy: true, options, env: { NODE_ENV: 'production' } });
  await app.until('egg-ready everywhere', () => heard(app, 'egg-ready').length >= 3);
  const ids = role => heard(app, 'egg-ready').filter(h => h.role === role).map(h => h.threadId).sort();
  return { app, ports, apps: ids('app'), agent: ids('agent')[0] };
}

async function send(app, port, query, count) {
  const since = app.mark();
  await get(port, `/send?${query}`);
  const receivers = () => heard(app, 'news', since).map(h => h.threadId).sort();
  await app.until(`${count} receiver(s) of ${query}`, () => receivers().length >= count);
  return receivers();
}

ownOnly(ORIGINAL, 'the messenger of an app thread reaches what it names', async t => {
  const { app, ports, apps, agent } = await start(t);
  const from = (query, count) => send(app, ports[1], query, count);
  assert.deepStrictEqual(await from('how=sendToAgent', 1), [ agent ]);
  assert.deepStrictEqual(await from('how=sendToApp', 2), apps);
  assert.deepStrictEqual(await from('how=broadcast', 3), [ agent, ...apps ]);
  for (const id of [ agent, ...apps ]) {
    assert.deepStrictEqual(await from(`how=sendTo&to=${id}`, 1), [ id ], 'a thread is named by its id');
  }
  assert.strictEqual(app.err, '');
});

ownOnly(ORIGINAL, 'the messenger of the agent thread reaches what it names', async t => {
  const { app, ports, apps, agent } = await start(t);
  const from = (query, count) => send(app, ports[0], `by=agent&${query}`, count);
  assert.deepStrictEqual(await from('how=sendToApp', 2), apps);
  assert.deepStrictEqual(await from('how=sendToAgent', 1), [ agent ]);
  assert.deepStrictEqual(await from('how=broadcast', 3), [ agent, ...apps ]);
  assert.deepStrictEqual(await from(`how=sendTo&to=${apps[1]}`, 1), [ apps[1] ]);
  const receivers = await from('how=sendRandom', 1);
  assert.strictEqual(receivers.length, 1);
  assert.ok(apps.includes(receivers[0]));
});

ownOnly(ORIGINAL, 'after restarts of an app thread and of the agent the messengers know each other again', async t => {
  const { app, ports } = await start(t);
  const before = app.mark();
  app.send({ action: 'exit', receiverPid: '2' });
  await app.until('the new app thread', () => heard(app, 'egg-ready', before).length >= 1);
  await app.stdout(new RegExp(`app_worker#1:4 started at ${ports[0]}`), before);
  app.send({ action: 'exit', to: 'agent' });
  await app.until('the new agent', () => heard(app, 'egg-ready', before).some(h => h.role === 'agent'));
  assert.deepStrictEqual(await send(app, ports[0], 'how=sendRandom', 1), [ 5 ]);
  assert.deepStrictEqual(await send(app, ports[0], 'by=agent&how=sendToApp', 2), [ 3, 4 ]);
});

ownOnly(ORIGINAL, 'schedules run: `worker` on one thread a time, `all` on each', async t => {
  const { app, apps } = await start(t);
  const ticks = action => heard(app, action).map(h => h.threadId);
  await app.until('two ticks', () => ticks('tick-worker').length >= 2 && new Set(ticks('tick-all')).size >= 2);
  assert.ok(ticks('tick-worker').every(id => apps.includes(id)));
  assert.deepStrictEqual([ ...new Set(ticks('tick-all')) ].sort(), apps);
});
