'use strict';

const { Controller } = require('egg');
const { renderPage } = require('../lib/page');

module.exports = class HomeController extends Controller {
  /** GET / - the page. */
  index() {
    const { ctx } = this;
    ctx.type = 'html';
    ctx.body = renderPage(this.snapshot(), ctx.nonce);
    this.spread();
  }

  /** GET /processes - what the page asks for every second. */
  processes() {
    this.ctx.body = this.snapshot();
    this.spread();
  }

  /** Who runs at this moment, as this worker knows it, and who answers. */
  snapshot() {
    const { self, processes } = this.app;
    return {
      now: Date.now(),
      answeredBy: { id: self.id, pid: self.pid },
      // A worker is a direct child of the master. Options that the master does not know reach the application.
      master: { pid: process.ppid, startedAt: this.app.options.masterStartedAt },
      agent: processes.agent,
      // Of itself this worker knows better than its last heartbeat.
      workers: processes.workers.map(worker => (worker.pid === self.pid ? self : worker)),
    };
  }

  /** Ends the connection after the answer: a kept-alive one would bring all requests to one worker. */
  spread() {
    this.ctx.set('Connection', 'close');
    this.ctx.set('Cache-Control', 'no-store');
  }
};
