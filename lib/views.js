'use strict';

/**
 * What egg-cluster shows of its workers, looked up in the native master at each call;
 * nothing of it is kept here.
 *
 * Each class is given `snapshot()`: the cluster as it is now, `{ phase, agent, workers }`.
 */

/** A worker or the agent at the moment of the look-up. */
function workerView(worker) {
  if (!worker) return null;
  const { id, pid, slot, state, ready, responsive } = worker;
  return { id, pid, workerId: pid, slot, state, ready, responsive, status: ready ? 'started' : 'starting' };
}

/** `master.workerManager`. Workers are named by their process ids. */
class WorkerManager {
  #snapshot;

  constructor(snapshot) {
    this.#snapshot = snapshot;
  }

  /** @return {number[]} the process ids of all app workers */
  getWorkers() {
    return this.#snapshot().workers.map(worker => worker.pid);
  }

  /** @return {number[]} the process ids of all app workers */
  listWorkerIds() {
    return this.getWorkers();
  }

  /** @return {number[]} the process ids of the app workers that listen */
  getListeningWorkerIds() {
    return this.#snapshot().workers.filter(worker => worker.state === 'listening').map(worker => worker.pid);
  }

  /**
   * @param {number} pid
   * @return {Object|undefined}
   */
  getWorker(pid) {
    return workerView(this.#snapshot().workers.find(worker => worker.pid === pid)) || undefined;
  }

  /** @return {Object|null} */
  getAgent() {
    return workerView(this.#snapshot().agent);
  }

  /** @return {Object[]} what is kept of each app worker's slot: restarts, the last exit */
  getSlots() {
    return this.#snapshot().slots;
  }

  /** @return {Object|null} the same of the agent's place; null before the start */
  getAgentSlot() {
    return this.#snapshot().agentSlot;
  }

  /** @return {{fullOutboxes: number, pausedSenders: number}} how often messages have had to wait */
  getWaits() {
    return this.#snapshot().waits;
  }

  /** @return {{agent: number, worker: number}} the agents that have started, and the app workers there are */
  count() {
    const { agent, workers } = this.#snapshot();
    return { agent: agent && agent.ready ? 1 : 0, worker: workers.length };
  }
}

/** `master.agentWorker` */
class AgentWorker {
  #master;
  #snapshot;

  constructor(master, snapshot) {
    this.#master = master;
    this.#snapshot = snapshot;
    /** When the last agent was forked, in ms since 1970. */
    this.startTime = 0;
  }

  get instance() {
    return workerView(this.#snapshot().agent);
  }

  getAgentWorkerFile() {
    return this.#master.getAgentWorkerFile();
  }
}

/** `master.appWorker` */
class AppWorker {
  #master;
  #snapshot;

  constructor(master, snapshot) {
    this.#master = master;
    this.#snapshot = snapshot;
    /** When the app workers were first forked, in ms since 1970. */
    this.startTime = 0;
  }

  get isAllWorkerStarted() {
    return this.#master.isStarted;
  }

  get startSuccessCount() {
    return this.#snapshot().workers.filter(worker => worker.ready).length;
  }

  getAppWorkerFile() {
    return this.#master.getAppWorkerFile();
  }
}

module.exports = { WorkerManager, AgentWorker, AppWorker };
