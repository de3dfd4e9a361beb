// Checked with `tsc --noEmit --strict`; never run.
import { startCluster, Master, ClusterOptions, StickyOptions, WorkerInfo } from '../..';
import MasterClass = require('../../lib/master');

const options: ClusterOptions = {
  framework: 'egg',
  baseDir: __dirname,
  plugins: null,
  workers: 2,
  port: '7001',
  debugPort: 7002,
  https: { key: '/key.pem', cert: '/cert.pem' },
  sticky: true,
  require: [ 'ts-node/register' ],
  pidFile: '/run/app.pid',
  env: 'prod',
  title: 'app',
  startMode: 'process',
  drain: { timeout: 3000, websocketTimeout: 60000 },
  exitProcess: false,
  customOption: { passed: 'on' },
};

const sticky: StickyOptions[] = [
  {},
  { by: 'forwarded', name: 'X-Real-IP', trust: [ 'loopback', '10.0.0.0/8' ], headTimeout: 500 },
  { by: 'cookie', name: 'uid', trust: 'private' },
];

async function main() {
  await startCluster({ sticky: sticky[1] });
  const master: Master = await startCluster(options);
  await startCluster({}, (error?: Error) => console.log(error && error.message));

  await master.ready();
  master.ready(error => console.log(error));
  master.ready(true);

  const pids: number[] = master.workerManager.getWorkers();
  const worker: WorkerInfo | undefined = master.workerManager.getWorker(pids[0]);
  if (worker) console.log(worker.state === 'listening', worker.workerId.toFixed());
  const agent = master.agentWorker.instance;
  if (agent) console.log(agent.status);
  const { agent: agents, worker: workers }: { agent: number; worker: number } = master.workerManager.count();
  console.log(agents + workers, master.options.clusterPort.toFixed(), master.options.port?.toFixed());

  master.messenger.send({ action: 'hello', to: 'app', data: { any: 'thing' } });
  master.on('app-exit', ({ workerId, code, signal }) => console.log(workerId.toFixed(), code, signal));
  master.on('custom', (data: string) => console.log(data));
  master.on('close', ({ code, error }) => console.log(code.toFixed(), error && error.exitCode.toFixed()));
  master.logger.info('[master] %s', 'text');
  master.reload();
  await master.close();
}

class CustomMaster extends MasterClass {
  getAppWorkerFile(): string {
    return super.getAppWorkerFile();
  }
}
new CustomMaster(options).ready(() => {});
main().catch(console.error);

// @ts-expect-error options are needed
startCluster();
// @ts-expect-error the number of workers is no object
startCluster({ workers: {} });
// @ts-expect-error a port is no boolean
startCluster({ port: true });
// @ts-expect-error env is a string
startCluster({ env: 1 });
// @ts-expect-error baseDir is a string
startCluster({ baseDir: [ '/app' ] });
// @ts-expect-error https needs a certificate
startCluster({ https: { key: '/key.pem' } });
// @ts-expect-error there are two start modes
startCluster({ startMode: 'threads' });
// @ts-expect-error modules are named by strings
startCluster({ require: [ 1 ] });
// @ts-expect-error the callback is a function
startCluster({}, 'callback');
// @ts-expect-error a message has an action
new Master({}).messenger.send({ data: 1 });
// @ts-expect-error workers are named by numbers
new Master({}).workerManager.getWorker('1');
// @ts-expect-error the master is no thenable
new Master({}).then(() => {});
