/// <reference types="node" />

import { EventEmitter } from 'events';

/**
 * Certificate files of an https server. The workers read them, and hand all of this object to
 * Node's `https.createServer`: what survives `JSON.stringify` may stand beside the paths.
 */
export interface HttpsOptions {
  /** The path of the private key. */
  key: string;
  /** The path of the certificate. */
  cert: string;
  /** The path of the certificates of the authorities. */
  ca?: string;
  /** What the private key is encrypted with. */
  passphrase?: string;
  [name: string]: unknown;
}

/** Which app workers are started ahead of time. */
export interface PrestartOptions {
  /** At the start, beside the agent. Default: true. */
  atStart?: boolean | null;
  /**
   * How many are kept in reserve, 0 to 64: in production for workers that die, elsewhere for
   * the next reload. Each of them has the framework in memory. Default: 0 in production, else 1.
   */
  spares?: number | null;
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
 * What names a client in sticky mode. Where the first bytes of a connection have to be seen
 * for it, the master looks at them without taking them.
 */
export interface StickyOptions {
  /**
   * - `address` (the default): the address that the connection comes from, as with `sticky: true`
   * - `forwarded`: the client's address in a header that a trusted proxy writes
   * - `cookie`: the value of the cookie `name`
   * - `query`: the value of the query parameter `name`
   * - `proxy-protocol`: the address in the PROXY header, version 1 or 2, of a trusted proxy. The
   *   header is taken off, so the worker gets what the client sent.
   *
   * Where it is not found, the client is named by its forwarded address if the proxy is
   * trusted, otherwise by the address that the connection comes from.
   */
  by?: 'address' | 'forwarded' | 'cookie' | 'query' | 'proxy-protocol' | null;
  /**
   * The name of the header (default: `X-Forwarded-For`, or `Forwarded` of RFC 7239 where there is
   * none), of the cookie (required), or of the query parameter (default: `sid`).
   */
  name?: string | null;
  /**
   * The proxies that are believed: addresses, networks such as `10.0.0.0/8`, or the names
   * `loopback`, `linklocal` and `private`. A string may hold several, with commas between.
   * Default: `['loopback', 'private']`.
   */
  trust?: string | string[] | null;
  /** How long the first bytes are awaited, in ms, 1 to 60000. Then the address counts. Default: 2000. */
  headTimeout?: number | null;
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
  /** The older name of {@link framework}, which goes before it where both are given. */
  customEgg?: string | null;
  /** The directory of the application. Default: `process.cwd()`. */
  baseDir?: string | null;
  /** Plugins to change, for tests: an object. Its JSON is handed to the workers as it is. */
  plugins?: object | string | null;
  /**
   * The number of app workers, 1 to 65535. Default, also for 0: `auto`, one for each processor that
   * the process may use by its affinity and by the CPU quotas of its control groups. See docs/options.md.
   */
  workers?: number | string | null;
  /**
   * The public port, 1 to 65535. Without it, or with 0, `config.cluster.listen` of the
   * application counts. Default with https: 8443.
   */
  port?: number | string | null;
  /**
   * Workers bind the port by themselves, with SO_REUSEPORT, and the system spreads the
   * connections: Node 22.12 or 23.1 and later, on Linux, FreeBSD, Solaris and AIX. Elsewhere
   * processes share the port as without it; more than one thread is an error. With
   * `worker_threads` `port` is required, and `workers` threads listen on it. Default: false.
   */
  reusePort?: boolean | null;
  /** A second port, 1 to 65535, that serves plain http. */
  debugPort?: number | string | null;
  /** Serve https. `true` is the deprecated form that has {@link key} and {@link cert} beside it. Default: false. */
  https?: HttpsOptions | boolean | null;
  /**
   * The path of the private key, with `https: true`.
   * @deprecated Give `https: { key, cert }`.
   */
  key?: string | null;
  /**
   * The path of the certificate, with `https: true`.
   * @deprecated Give `https: { key, cert }`.
   */
  cert?: string | null;
  /**
   * Send all connections of one client to the same worker; `true` tells clients apart by their
   * addresses. Default: false.
   */
  sticky?: boolean | StickyOptions | null;
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
  /**
   * App workers are started ahead of time, load `require` and the framework, and wait until they
   * are needed. `true`: with all defaults of {@link PrestartOptions}. The environment variable
   * `EGG_CLUSTER_RS_PRESTART` (`true` or `false`) says so where the option is not given. See
   * docs/restarts.md. Default: true outside production with NODE_ENV `development`, which
   * `egg-bin dev` sets; otherwise false.
   */
  prestart?: PrestartOptions | boolean | null;
  /** The title of the application, which tools look for in the process list. */
  title?: string | null;
  /**
   * `process` (the default): agent and app workers are processes. `worker_threads`: they are
   * threads of the master's process. These open their ports by themselves, and are ended by
   * `terminate()`: `drain` and `watchdog` have no effect, `sticky` is an error. Thread ids
   * take the place of process ids. See docs/threads.md.
   */
  startMode?: 'process' | 'worker_threads' | null;
  /**
   * With `worker_threads`: one app thread for each of these ports, 1 to 65535, each of them
   * once. Without it there is one app thread, on `port`. No effect with `reusePort`, and on
   * processes. Default: `[]`.
   */
  ports?: Array<number | string> | null;
  /**
   * The process is the master's own, and ends with it, by `process.exit`. `false`: it belongs to
   * another program, such as a test runner. Then {@link Master.close} resolves with nothing left,
   * a start that fails rejects, and the event `close` tells of every end. See docs/testing.md.
   * Default: true.
   */
  exitProcess?: boolean | null;
  /** The application is written in TypeScript. For the workers; the master makes no use of it. */
  typescript?: boolean | null;
  /**
   * Give the agent an inspector port and say `debug` to the parent. Set where the master runs
   * with `--inspect` or `--debug`; hardly ever to be given.
   */
  isDebug?: boolean | null;
  /** When what has died is started again. */
  restart?: RestartOptions | null;
  /** How hung workers are found and replaced; `false`: not at all. */
  watchdog?: WatchdogOptions | false | null;
  /** How many connections may wait while no worker can take them, and for how long. */
  hold?: HoldOptions | null;
  /** What each child may use of the master's memory and descriptors. */
  limits?: LimitsOptions | null;
  /** Where operators see and steer the master, and what probes and metrics are served on; `false`: nowhere. */
  control?: ControlOptions | false | null;
  [name: string]: unknown;
}

/** Why a cluster has not started, or has ended by itself. Only with `exitProcess: false`. */
export interface ClusterFailedError extends Error {
  code: 'ERR_EGG_CLUSTER_RS_FAILED';
  /** The code that the process would have ended with: 1, 69 where restarts did not help, or 70 after a defect. */
  exitCode: number;
}

/** When workers and the agent are started again after they died. See docs/restarts.md. */
export interface RestartOptions {
  /** Whoever has been ready for so long, in ms, is stable: its next death is the first again. Default: 10000. */
  stableTime?: number | null;
  /** The longest delay before a new worker, in ms. Default: 30000. */
  maxDelay?: number | null;
  /** More than `limit` restarts of app workers (default: 60) within `period` ms (default: 60000): all wait for `maxDelay`. */
  intensity?: { limit?: number | null; period?: number | null } | null;
  /**
   * The master exits with code 69 when no app worker has been ready for so long, in ms, and
   * restarts have become as slow as they get. `false`: it goes on for ever. Default: 60000.
   */
  giveUp?: number | false | null;
}

/** Connections that come while no worker can take them wait, and are closed when none comes. See docs/restarts.md. */
export interface HoldOptions {
  /** How long each may wait, in ms. Default: 10000. */
  timeout?: number | null;
  /** How many the master holds for a port, from 1 to 100000; the kernel's queue holds more. Default: 1024. */
  connections?: number | null;
}

/**
 * What a broken or hostile worker, or agent, may use of the master before it is stopped. Threads of
 * `worker_threads` have no such limits. See docs/reliability.md.
 */
export interface LimitsOptions {
  /** The longest message that it may send, in bytes of JSON, 65536 to 536870912. With a longer one it is killed. Default: 268435456 (256 MiB). */
  lineBytes?: number | null;
  /**
   * When more bytes than this wait to be read by it, whoever sends to it is not read until a quarter
   * is left. 65536 to 536870912. Default: 16777216 (16 MiB). The same holds for the parent process.
   */
  outboxBytes?: number | null;
  /** When so many wait for so long, in ms, from 1000, it is killed; what is sent to the parent is dropped until it reads. Default: 30000. */
  stallTimeout?: number | null;
  /** How many ports, unix sockets and datagram sockets it may listen on, 1 to 100000; one more fails with EMFILE. Default: 256. */
  listeners?: number | null;
}

/** The control socket of the master. See docs/control.md. */
export interface ControlOptions {
  /** The unix socket, absolute or below `baseDir`. Default: `run/egg-cluster-rs.sock`. */
  path?: string | null;
  /** Also serve `/healthz`, `/readyz` and `/metrics`, and nothing else, on a port of 127.0.0.1, or on `'host:port'`. Default: not. */
  tcp?: number | string | null;
}

/** How hung workers and agents are found. See docs/watchdog.md. */
export interface WatchdogOptions {
  /** An event loop that has not answered for so long, in ms, is hung. From 1000. Default: 60000. */
  timeout?: number | null;
  /** Whoever is not ready so long after its fork, in ms, is hung. From 1000. Default: `false`, no limit. */
  bootTimeout?: number | false | null;
  /** How often a process is asked that has no connection to answer, in ms. From 100. Default: 5000. */
  interval?: number | null;
  /**
   * `restart` (the default): a hung process is killed, and so replaced. `report`: it is only
   * logged. Where dead workers are not replaced (`local`, `unittest`), always the latter.
   */
  action?: 'restart' | 'report' | null;
  /**
   * Before a hung app worker is killed, its inspector is opened on 127.0.0.1 and the log says
   * where its JavaScript hangs. Linux only. Default: false.
   */
  stack?: boolean | null;
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
  /** `cluster.worker.id` of an app worker, of a thread its slot from 1; the number of the agent, from 1. */
  readonly id: number;
  /** The process id; with `worker_threads`, here and wherever else a process id is named, the thread id. */
  readonly pid: number;
  /** The process id, by the name that egg-cluster has for it. */
  readonly workerId: number;
  /** The slot of an app worker, from 0; null for the agent. */
  readonly slot: number | null;
  readonly state: WorkerState;
  /** The agent has started; the app worker listens on the application's port. */
  readonly ready: boolean;
  /** It answers, as far as it has been asked. */
  readonly responsive: boolean;
  readonly status: 'starting' | 'started';
}

/** What is kept of a slot, whoever is in it. */
export interface SlotInfo {
  /** From 0; null for the place of the agent. */
  readonly slot: number | null;
  /** The id of the process in it. */
  readonly worker: number | null;
  /** How often a new process had to take the place of a dead one. */
  readonly restarts: number;
  /** How often in a row it died before it was stable. */
  readonly strikes: number;
  /** It is empty, and a new process comes after a delay. */
  readonly waiting: boolean;
  /** The last end that the master had not brought about. */
  readonly lastExit: {
    readonly id: number;
    readonly pid: number;
    readonly code: number | null;
    readonly signal: NodeJS.Signals | null;
    /** It had been ready. */
    readonly ready: boolean;
  } | null;
  /** What else went wrong last: a process that could not be started, or was hung. */
  readonly lastError: string | null;
}

/** How often messages have had to wait: zeroes where all processes keep up with each other. */
export interface WaitsInfo {
  /** More than `limits.outboxBytes` waited for a process that did not read fast enough. */
  readonly fullOutboxes: number;
  /** A process was not read for a while, because the receivers of its messages, or the master's JavaScript, did not keep up. */
  readonly pausedSenders: number;
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
  /** The slots of the app workers. */
  getSlots(): SlotInfo[];
  /** The place of the agent; null before the start. */
  getAgentSlot(): SlotInfo | null;
  /** How often messages have had to wait since the start. */
  getWaits(): WaitsInfo;
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

  /**
   * Wait until all app workers listen. With `exitProcess: false` it rejects when the start fails
   * ({@link ClusterFailedError}) or the cluster is closed before.
   */
  ready(): Promise<void>;
  /** Call back when all app workers listen; at once if they do already. Without argument on success. */
  ready(callback: (error?: Error) => void): void;
  /** Set the flag that the other forms wait for; `false` takes it back. */
  ready(flag: boolean | Error): void;

  /**
   * End the app workers, then the agent, then this process with code 0; with
   * `exitProcess: false` the promise resolves instead, when no child process, thread, descriptor
   * or listener is left. It never rejects. Times:
   * `EGG_APP_CLOSE_TIMEOUT` and `EGG_AGENT_CLOSE_TIMEOUT`, else `EGG_MASTER_CLOSE_TIMEOUT`,
   * else 5000 ms; they are read when the cluster starts.
   */
  close(): Promise<void>;

  /**
   * Replace the app workers, one after the other, without losing requests. SIGUSR2 does the
   * same. During a reload, one more is done after it. The promise rejects when a new worker
   * fails, and the old ones go on serving; it may be left alone.
   *
   * With `agent: true` the agent is ended first, a new one started, and then the app workers
   * are replaced. The promise rejects, too, when the new agent fails.
   */
  reload(options?: { agent?: boolean }): Promise<void>;

  /** What the event `reload-worker` does: {@link reload}. */
  onReload(options?: { agent?: boolean }): void;

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
  /** All app workers have been replaced. */
  on(event: 'reload-done', listener: () => void): this;
  /** A new worker has failed, and the old ones go on serving. */
  on(event: 'reload-failed', listener: (data: { reason: string }) => void): this;
  /** With `exitProcess: false`: nothing is left of the cluster. `error` is null after {@link close}. */
  on(event: 'close', listener: (end: { code: number; error: ClusterFailedError | null }) => void): this;
  on(event: string | symbol, listener: (...args: any[]) => void): this;
}

/**
 * Start an Egg application: one agent, then the app workers.
 *
 * @param options - see {@link ClusterOptions}
 * @param callback - called without argument when all app workers listen
 * @returns a promise that resolves at the same time. If the start fails, the process exits
 *   with code 1; with `exitProcess: false` the promise rejects ({@link ClusterFailedError}).
 * @throws at once, and not through the promise, what the constructor of {@link Master}
 *   throws, and TypeError for a callback that is no function
 */
export function startCluster(options: ClusterOptions, callback?: ((error?: Error) => void) | null): Promise<Master>;
