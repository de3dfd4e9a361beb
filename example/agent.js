'use strict';

// The agent keeps the list of living workers and tells it to all of them.
//
//   worker --heartbeat--> master --> agent       each second, from every worker
//   agent  --processes--> master --> workers     each second, to every worker
//   master --egg-pids--> agent                   when a worker starts or dies

const INTERVAL_MS = 1000;

module.exports = class AgentBoot {
  constructor(agent) {
    this.agent = agent;
    this.startedAt = Date.now();
    /** Last heartbeat of each worker, by process id. */
    this.workers = new Map();
  }

  async didReady() {
    const { messenger } = this.agent;
    messenger.on('heartbeat', beat => {
      const isNew = !this.workers.has(beat.pid);
      this.workers.set(beat.pid, beat);
      if (isNew) this.broadcast();
    });
    messenger.on('egg-pids', pids => {
      for (const pid of this.workers.keys()) {
        if (!pids.includes(pid)) this.workers.delete(pid);
      }
      this.broadcast();
    });
  }

  // Before this Egg refuses to send to the workers.
  async serverDidReady() {
    this.timer = setInterval(() => this.broadcast(), INTERVAL_MS);
    this.broadcast();
  }

  broadcast() {
    if (!this.timer) return;
    this.agent.messenger.sendToApp('processes', {
      agent: { pid: process.pid, startedAt: this.startedAt },
      workers: [ ...this.workers.values() ].sort((a, b) => a.id - b.id),
    });
  }

  async beforeClose() {
    clearInterval(this.timer);
  }
};
