'use strict';

// Each worker counts what it answers, tells the agent once a second, and keeps the list that the agent sends back.

const cluster = require('cluster');

const INTERVAL_MS = 1000;

module.exports = class AppBoot {
  constructor(app) {
    this.app = app;
    app.self = {
      id: cluster.worker ? cluster.worker.id : 0,
      pid: process.pid,
      startedAt: Date.now(),
      requests: 0,
    };
    /** The agent's last word; empty until it has spoken. */
    app.processes = { agent: null, workers: [] };
  }

  configWillLoad() {
    this.app.config.coreMiddleware.unshift('count');
  }

  async serverDidReady() {
    const { messenger } = this.app;
    messenger.on('processes', processes => {
      this.app.processes = processes;
    });
    this.beat();
    this.timer = setInterval(() => this.beat(), INTERVAL_MS);
  }

  beat() {
    this.app.messenger.sendToAgent('heartbeat', this.app.self);
  }

  async beforeClose() {
    clearInterval(this.timer);
  }
};
