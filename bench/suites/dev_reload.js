'use strict';

const fs = require('fs');
const http = require('http');
const path = require('path');
const { FIXTURES, OURS, startMaster } = require('../lib/peers');
const { sleep, timed, appWorkers } = require('../lib/lifecycle');

/** What `egg-bin dev` sets. */
const DEV_ENV = { NODE_ENV: 'development', EGG_MASTER_CLOSE_TIMEOUT: '1000' };
const COPIES = path.join(__dirname, '..', 'results', 'dev');
/** The old worker has gone, the watcher of files rests, and a spare, where there is one, has loaded the framework. */
const PAUSE_MS = 4000;
/** egg-cluster's master can keep a connection that came during the reload, for ever: it is given up, and another tried. */
const ANSWER_MS = 500;

/** A file of an application in development is written; its server answers with the new code. */
function reloadWith(ownOptions, name, title = '') {
  return {
    name,
    title: `Reload in development, as with egg-bin dev${title}`,
    peers: [ 'egg-cluster', 'egg-cluster-rs' ],
    metrics: [ { key: 'served', title: 'file change to its answer', unit: 'ms', better: 'lower' } ],
    goals: [ { metric: 'served', atMost: ownOptions.prestart === false ? 1.05 : 0.7 } ],
    supports: peer => peer.egg,
    run: job => measureReloads(job, ownOptions),
  };
}

async function measureReloads({ peers, settings, progress }, ownOptions) {
  const rows = {};
  const masters = [];
  try {
    for (const peer of peers) {
      const baseDir = copyOf(peer.label);
      const options = { env: 'local', ...(peer.name === OURS && ownOptions) };
      const master = await startMaster(peer, { workers: 1, fixture: { baseDir }, options, env: DEV_ENV });
      masters.push(Object.assign(master, { baseDir }));
      rows[peer.label] = { failed: 0, series: { served: [] } };
    }
    for (let round = 0; round <= settings.rounds; round++) {
      for (let i = 0; i < masters.length; i++) {
        const master = masters[(i + round) % masters.length];
        await sleep(PAUSE_MS);
        const value = await reloadOnce(master, `round ${round}`);
        progress(`round ${round}/${settings.rounds} ${master.label}: ${value.toFixed(0)} ms`);
        if (round > 0) rows[master.label].series.served.push(value);
      }
    }
    return rows;
  } finally {
    await Promise.all(masters.map(master => master.stop()));
  }
}

/** Inside the repository, so that it finds the same Egg. */
function copyOf(label) {
  const to = path.join(COPIES, label.replace(/\W+/g, '-'));
  fs.rmSync(to, { recursive: true, force: true });
  fs.cpSync(FIXTURES.egg.baseDir, to, { recursive: true });
  // One worker, with the plugin that watches files.
  fs.writeFileSync(path.join(to, 'config', 'config.default.js'), `'use strict';

module.exports = ({ baseDir }) => ({ keys: 'bench', logger: { dir: baseDir + '/logs' }, rundir: baseDir + '/run' });
`);
  return to;
}

async function reloadOnce(master, text) {
  const [ before ] = appWorkers(master);
  fs.writeFileSync(path.join(master.baseDir, 'app', 'router.js'), `'use strict';

module.exports = app => {
  app.router.get('/', ctx => {
    ctx.set('Connection', 'close');
    ctx.body = '${text}';
  });
};
`);
  const served = await timed('the reload', async () => await answer(master.port) === text);
  await timed('the end of the old worker', () => !appWorkers(master).includes(before));
  return served;
}

/** What the application says; nothing while it cannot be reached. */
function answer(port) {
  return new Promise(resolve => {
    const request = http.get({ port, host: '127.0.0.1', agent: false, timeout: ANSWER_MS }, response => {
      let body = '';
      response.on('data', chunk => {
        body += chunk;
      });
      response.on('end', () => resolve(body));
      response.on('error', () => resolve(''));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(''));
  });
}

module.exports = [
  reloadWith({}, 'dev_reload'),
  reloadWith({ prestart: false }, 'dev_reload/no-prestart', ', ours without prestart'),
];
