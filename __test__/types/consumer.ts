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
  https: { key: '/key.pem', cert: '/cert.pem', passphrase: 'secret', requestCert: true },
  reusePort: false,
  ports: [ 7001, '7002' ],
  typescript: true,
  isDebug: false,
  restart: { stableTime: 1000, maxDelay: 5000, intensity: { limit: 5, period: 1000 }, giveUp: false },
  watchdog: { timeout: 5000, bootTimeout: false, interval: 1000, action: 'report', stack: true },
  control: { path: '/run/app.sock', tcp: '0.0.0.0:9100' },
  sticky: true,
  require: [ 'ts-node/register' ],
  pidFile: '/run/app.pid',
  env: 'prod',
  title: 'app',
  startMode: 'process',
  drain: { timeout: 3000, websocketTimeout: 60000 },
  prestart: { atStart: true, spares: 1 },
  exitProcess: false,
  customOption: { passed: 'on' },
};

const deprecated: ClusterOptions = { customEgg: 'egg', https: true, key: '/key.pem', cert: '/cert.pem' };
const off: ClusterOptions = { drain: false, watchdog: false, sticky: false, plugins: { x: false }, require: 'a' };

const sticky: StickyOptions[] = [
  {},
  { by: 'forwarded', name: 'X-Real-IP', trust: [ 'loopback', '10.0.0.0/8' ], headTimeout: 500 },
  { by: 'cookie', name: 'uid', trust: 'private' },
];

async function main() {
  await startCluster({ sticky: sticky[1] });
  for (const more of [ deprecated, off ]) await startCluster(more);
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
  const { fullOutboxes, pausedSenders } = master.workerManager.getWaits();
  console.log(fullOutboxes + pausedSenders);
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
// One wrong value for each option.
// @ts-expect-error baseDir is a string
startCluster({ baseDir: [ '/app' ] });
// @ts-expect-error a framework is named by a string
startCluster({ framework: { name: 'egg' } });
// @ts-expect-error so is its older name
startCluster({ customEgg: true });
// @ts-expect-error env is a string
startCluster({ env: 1 });
// @ts-expect-error a title is a string
startCluster({ title: 1 });
// @ts-expect-error a file is named by a string
startCluster({ pidFile: true });
// @ts-expect-error the number of workers is no object
startCluster({ workers: {} });
// @ts-expect-error a port is no boolean
startCluster({ port: true });
// @ts-expect-error nor is the other one
startCluster({ debugPort: true });
// @ts-expect-error reusePort is a boolean
startCluster({ reusePort: 'yes' });
// @ts-expect-error https needs a certificate
startCluster({ https: { key: '/key.pem' } });
// @ts-expect-error a key is a path
startCluster({ https: true, key: Buffer.from('') });
// @ts-expect-error a certificate is a path
startCluster({ https: true, cert: Buffer.from('') });
// @ts-expect-error sticky is no name
startCluster({ sticky: 'cookie' });
// @ts-expect-error plugins are no list
startCluster({ plugins: 1 });
// @ts-expect-error modules are named by strings
startCluster({ require: [ 1 ] });
// @ts-expect-error there are two start modes
startCluster({ startMode: 'threads' });
// @ts-expect-error ports are a list
startCluster({ ports: 7001 });
// @ts-expect-error typescript is a boolean
startCluster({ typescript: 'yes' });
// @ts-expect-error isDebug is a boolean
startCluster({ isDebug: 1 });
// @ts-expect-error prestart is no number
startCluster({ prestart: 5 });
// @ts-expect-error prestart has no such key
startCluster({ prestart: { spare: 1 } });
// @ts-expect-error drain is false or an object
startCluster({ drain: true });
// @ts-expect-error restart is an object
startCluster({ restart: false });
// @ts-expect-error watchdog is false or an object
startCluster({ watchdog: true });

// And for what the objects among them hold.
// @ts-expect-error a passphrase is a string
startCluster({ https: { key: '/key.pem', cert: '/cert.pem', passphrase: 1 } });
// @ts-expect-error there is no such key
startCluster({ sticky: { key: 'cookie' } });
// @ts-expect-error clients are not named so
startCluster({ sticky: { by: 'ip' } });
// @ts-expect-error a time is a number
startCluster({ sticky: { headTimeout: '2s' } });
// @ts-expect-error a time is a number
startCluster({ drain: { timeout: '5s' } });
// @ts-expect-error there is no such time
startCluster({ drain: { timeOut: 5000 } });
// @ts-expect-error a time is a number
startCluster({ restart: { maxDelay: true } });
// @ts-expect-error a limit is a number
startCluster({ restart: { intensity: { limit: 'few' } } });
// @ts-expect-error it is a boolean
startCluster({ exitProcess: 'no' });
// @ts-expect-error a number of connections
startCluster({ hold: { connections: 'many' } });
// @ts-expect-error a port or an address
startCluster({ control: { tcp: true } });
// @ts-expect-error a number of bytes
startCluster({ limits: { lineBytes: '1 MB' } });
// @ts-expect-error there are two actions
startCluster({ watchdog: { action: 'kill' } });
// @ts-expect-error stack is a boolean
startCluster({ watchdog: { stack: 'yes' } });

// @ts-expect-error the callback is a function
startCluster({}, 'callback');
// @ts-expect-error a message has an action
new Master({}).messenger.send({ data: 1 });
// @ts-expect-error workers are named by numbers
new Master({}).workerManager.getWorker('1');
// @ts-expect-error the master is no thenable
new Master({}).then(() => {});
