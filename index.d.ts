/// <reference types="node" />

import { EventEmitter } from 'events';

/** Certificate files of an https server. All paths are absolute. */
export interface HttpsOptions {
  /** The private key. */
  key: string;
  /** The certificate. */
  cert: string;
  /** The certificates of the authorities. */
  ca?: string;
}

/** How long app workers may drain. */
export interface DrainOptions {
  /**
   * For requests in flight, in ms, 0 to 2147483647. The environment variable
   * `EGG_CLUSTER_RS_DRAIN_TIMEOUT` goes before it. Default: the app close timeout
   * (`EGG_APP_CLOSE_TIMEOUT`, else `EGG_MASTER_CLOSE_TIMEOUT`, else 5000); outside
   * production at most 1000. 0 for both times is the same as `drain: false`.
   */
  timeout?: number | null;
  /** For WebSockets and other connections that have left HTTP, in ms. Default: `timeout`. */
  websocketTimeout?: number | null;
}

/**
 * Options of {@link startCluster}. Unknown ones are passed on to the workers, so all of
 * them must survive `JSON.stringify`. `null` and `undefined` mean "not given".
 */
export interface ClusterOptions {
  /**
   * The name of a framework in `node_modules`, or its absolute path. Without it
   * `egg.framework` of the application's package.json counts, and without that, `egg`.
   */
  framework?: string | null;
  /** The older name of {@link framework}. */
  customEgg?: string | null;
  /** The directory of the application. Default: `process.cwd()`. */
  baseDir?: string | null;
  /** Plugins to change, for tests: an object, or its JSON. */
  plugins?: object | string | null;
  /** The number of app workers. Default, also for 0: the number of CPUs. */
  workers?: number | string | null;
  /**
   * The public port, 1 to 65535. Without it `config.cluster.listen` of the application
   * counts. Default with https: 8443.
   */
  port?: number | string | null;
  /** Workers bind the port by themselves, with SO_REUSEPORT, where system and Node can. Default: false. */
  reusePort?: boolean | null;
  /** A second port, 1 to 65535, that serves plain http. */
  debugPort?: number | string | null;
  /** Serve https. `true` is the deprecated form that has `key` and `cert` beside it. */
  https?: HttpsOptions | boolean | null;
  /** Send all connections of one client to the same worker. Default: false. */
  sticky?: boolean | null;
  /** Modules that the agent and the app workers load first, as the worker scripts resolve them. */
  require?: string | string[] | null;
  /** A file to write the master's process id to. Its directory is made; the file goes when the master exits. */
  pidFile?: string | null;
  /** The environment of Egg, such as `prod`, `local` or `unittest`. Default: `EGG_SERVER_ENV`. */
  env?: string | null;
  /**
   * How long an app worker may finish what it serves before it is ended, at closing and by a
   * reload. `false`: it is ended at once. See {@link DrainOptions}.
   */
  drain?: DrainOptions | false | null;
  /** The title of the application, which tools look for in the process list. */
  title?: string | null;
  /**
   * `process` (the default), or `worker_threads`, which is run by the JavaScript egg-cluster
   * that this package depends on.
   */
  startMode?: 'process' | 'worker_threads' | null;
  /** With `worker_threads`: one app thread for each of these ports. */
  ports?: Array<number | string> | null;
  [name: string]: unknown;
}

/** The options as the workers get them, with all defaults. */
export interface ParsedOptions {
  /** The directory of the framework. */
  framework: string;
  baseDir: string;
  port?: number;
  reusePort: boolean;
  workers: number;
  plugins: object | string | null;
  https: HttpsOptions | false;
  startMode: string;
  ports: Array<number | string>;
  env: string | null;
  require?: string[];
  /** The process runs under the inspector. */
  isDebug?: true;
  /** A free port for the agent's cluster-client. */
  clusterPort: number;
  /** In sticky mode: the port that workers name when they listen; no socket has it. */
  stickyWorkerPort?: number;
  [name: string]: unknown;
}

/** The state of a worker, in the words of Node's `worker.state`. */
export type WorkerState = 'none' | 'online' | 'listening' | 'disconnected' | 'dead';

/** The agent or an app worker at the moment of the look-up. */
export interface WorkerInfo {
  /** `cluster.worker.id` of an app worker; the number of the agent, from 1. */
  readonly id: number;
  /** The process id. */
  readonly pid: number;
  /** The process id, by the name that egg-cluster has for it. */
  readonly workerId: number;
  /** The slot of an app worker, from 0; null for the agent. */
  readonly slot: number | null;
  readonly state: WorkerState;
  /** The agent has started; the app worker listens on the application's port. */
  readonly ready: boolean;
  readonly status: 'starting' | 'started';
}

/** Looks up workers, which it names by their process ids. */
export interface WorkerManager {
  /** The process ids of all app workers. */
  getWorkers(): number[];
  /** The process ids of all app workers. */
  listWorkerIds(): number[];
  /** The process ids of the app workers that listen. */
  getListeningWorkerIds(): number[];
  getWorker(pid: number): WorkerInfo | undefined;
  getAgent(): WorkerInfo | null;
  /** How many agents have started, and how many app workers there are. */
  count(): { agent: number; worker: number };
}

/** A message between processes. It travels as JSON. */
export interface Message {
  /** Its name. */
  action: string;
  data?: unknown;
  /** The sender. Default: `master`. */
  from?: 'master' | 'agent' | 'app' | 'parent';
  /** The receiver. Default: `app` for the agent's, `agent` for an app worker's, `master` for the parent's. */
  to?: 'master' | 'agent' | 'app' | 'parent';
  /** The process id of the one receiver, as a string; goes before `to`. */
  receiverPid?: string;
  [name: string]: unknown;
}

export interface Messenger {
  /**
   * Send a message. One that cannot be sent is logged at level WARN and dropped, and so is
   * one for a parent that is not there.
   */
  send(message: Message): void;
}

/** The logger of the master: an EggConsoleLogger. Formats as `util.format`; ERROR goes to stderr. */
export interface Logger {
  debug(message: unknown, ...args: unknown[]): void;
  info(message: unknown, ...args: unknown[]): void;
  warn(message: unknown, ...args: unknown[]): void;
  error(message: unknown, ...args: unknown[]): void;
}

/** Where an app worker listens. */
export interface WorkerAddress {
  /** 4, 6, -1 for a unix socket, or the type of a UDP socket. */
  addressType: number | string;
  /** The host, or the path of a unix socket, or null for all addresses. */
  address: string | null;
  port: number | null;
  fd?: number;
}

/**
 * The master of a cluster. It starts as soon as it is made; workers are forked in the next
 * tick, so that constructors of subclasses can finish first.
 *
 * Messages to the master are emitted as events: `action` is the name, `data` the argument.
 */
export class Master extends EventEmitter {
  /**
   * @throws TypeError, RangeError or AssertionError for options that are wrong; Error for a
   *   package that is missing, a native binding that cannot be loaded, or a pid file that
   *   cannot be written
   */
  constructor(options: ClusterOptions);

  readonly options: ParsedOptions;
  readonly logger: Logger;
  readonly messenger: Messenger;
  readonly workerManager: WorkerManager;
  /** Dead app workers are replaced: `env` is neither `local` nor `unittest`, or NODE_ENV is `production`. */
  isProduction: boolean;
  /** All app workers have been ready once. */
  isStarted: boolean;
  /** Closing has begun. */
  closed: boolean;
  /** The agent. */
  readonly agentWorker: {
    /** The agent as it is now, or null. */
    readonly instance: WorkerInfo | null;
    /** When it was forked, in ms since 1970. */
    readonly startTime: number;
    /** Can be replaced before the next tick after construction. */
    getAgentWorkerFile(): string;
  };
  /** The app workers. */
  readonly appWorker: {
    readonly isAllWorkerStarted: boolean;
    /** How many app workers are ready. */
    readonly startSuccessCount: number;
    /** When they were first forked, in ms since 1970. */
    readonly startTime: number;
    /** Can be replaced before the next tick after construction. */
    getAppWorkerFile(): string;
  };

  /** Wait until all app workers listen. */
  ready(): Promise<void>;
  /** Call back when all app workers listen; at once if they do already. Without argument on success. */
  ready(callback: (error?: Error) => void): void;
  /** Set the flag that the other forms wait for; `false` takes it back. */
  ready(flag: boolean | Error): void;

  /**
   * End the app workers, then the agent, then this process with code 0. Times:
   * `EGG_APP_CLOSE_TIMEOUT` and `EGG_AGENT_CLOSE_TIMEOUT`, else `EGG_MASTER_CLOSE_TIMEOUT`,
   * else 5000 ms; they are read when the cluster starts.
   */
  close(): Promise<void>;

  /** Replace the app workers one after the other, without losing requests. */
  reload(): void;

  /** What the event `reload-worker` does: {@link reload}. */
  onReload(): void;

  /** For subclasses: the agent has started. */
  onAgentStart(): void;

  /** For subclasses: the agent has ended. */
  onAgentExit(data: { code: number | null; signal: string | null }): void;

  /** For subclasses: an app worker listens. */
  onAppStart(data: { workerId: number; address: object }): void;

  /** For subclasses: an app worker has ended. */
  onAppExit(data: { workerId: number; code: number | null; signal: string | null }): void;

  /** What SIGINT, SIGQUIT and SIGTERM do: log and {@link close}. */
  onSignal(signal: NodeJS.Signals): void;

  /** What the `exit` of the process does: remove the pid file and log. */
  onExit(code: number): void;

  /** Log at level INFO, but at DEBUG where env is `local` or NODE_ENV is `development`. */
  log(message: unknown, ...args: unknown[]): void;

  /** The script of the agent, for subclasses to override. */
  getAgentWorkerFile(): string;
  /** The script of the app workers, for subclasses to override. */
  getAppWorkerFile(): string;

  /** The agent has started. */
  on(event: 'agent-start', listener: () => void): this;
  /** The agent has ended, other than by closing. */
  on(event: 'agent-exit', listener: (exit: { code: number | null; signal: NodeJS.Signals | null }) => void): this;
  /** An app worker listens somewhere; `workerId` is its process id. */
  on(event: 'app-start', listener: (start: { workerId: number; address: WorkerAddress }) => void): this;
  /** An app worker has ended; `workerId` is its process id. */
  on(event: 'app-exit', listener: (exit: { workerId: number; code: number | null; signal: NodeJS.Signals | null }) => void): this;
  /** An app worker has told the port and the protocol of the application. */
  on(event: 'realport', listener: (real: { port?: number; protocol?: string }) => void): this;
  /** The app workers are to be replaced. Emitting it asks for that. */
  on(event: 'reload-worker', listener: () => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
}

/**
 * Start an Egg application: one agent, then the app workers.
 *
 * @param options - see {@link ClusterOptions}
 * @param callback - called without argument when all app workers listen
 * @returns a promise that resolves at the same time. If the start fails, the process exits
 *   with code 1.
 * @throws at once, and not through the promise, what the constructor of {@link Master}
 *   throws, and TypeError for a callback that is no function
 */
export function startCluster(options: ClusterOptions, callback?: ((error?: Error) => void) | null): Promise<Master>;
