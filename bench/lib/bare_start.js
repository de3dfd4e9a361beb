'use strict';

// The processes of an Egg application, started in the order that Egg asks for, and nothing else: the agent, and when it is
// ready the app workers. What a master takes longer is its own.

const { fork } = require('child_process');
const cluster = require('cluster');
const net = require('net');
const path = require('path');

const SCRIPTS = path.join(__dirname, '..', '..', 'node_modules', 'egg-cluster', 'lib');

/** @param {{baseDir: string, port: number, workers: number, env: string}} options - of the application */
async function start(options) {
  process.env.EGG_SERVER_ENV = options.env;
  const framework = path.dirname(require.resolve('egg/package.json', { paths: [ options.baseDir ] }));
  const args = [ JSON.stringify({ framework, ...options, clusterPort: await freePort() }) ];
  const children = [ fork(path.join(SCRIPTS, 'agent_worker.js'), args) ];
  process.once('SIGTERM', () => {
    for (const child of children) child.kill('SIGKILL');
    process.exit(0);
  });
  await isReady(children[0]);
  cluster.setupPrimary({ exec: path.join(SCRIPTS, 'app_worker.js'), args });
  const workers = Array.from({ length: options.workers }, () => cluster.fork());
  children.push(...workers.map(worker => worker.process));
  await Promise.all(workers.map(worker => new Promise(resolve => worker.once('listening', resolve))));
  process.send({ action: 'egg-ready' });
}

function isReady(agent) {
  return new Promise(resolve => {
    agent.on('message', ({ action }) => {
      if (action === 'agent-start') resolve();
    });
  });
}

function freePort() {
  return new Promise(resolve => {
    const server = net.createServer().listen(0, () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

module.exports = { start };
