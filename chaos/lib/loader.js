'use strict';

// Starts and stops a load in its own process.

const { fork } = require('child_process');
const path = require('path');

/** Loads that run now, so that none outlives the harness. */
const running = new Set();
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')));

class RemoteLoad {
  /** @param {Object} setting - of a Load */
  constructor(setting) {
    this.child = fork(path.join(__dirname, 'load_process.js'), [ JSON.stringify(setting) ], { execArgv: [] });
    running.add(this.child);
    this.attempts = new Promise((resolve, reject) => {
      this.child.once('message', resolve);
      this.child.once('exit', (code, signal) => {
        running.delete(this.child);
        reject(new Error(`the load ended without a result (${signal || `exit code ${code}`})`));
      });
    });
    // Whoever calls stop() gets the error.
    this.attempts.catch(() => {});
  }

  /** Starts nothing more; resolves with every attempt when all have ended. */
  stop() {
    if (this.child.connected) this.child.send('stop');
    return this.attempts;
  }
}

module.exports = { RemoteLoad };
