'use strict';

/**
 * Gathers why a master ends, from the events of the native one and from what happens to its
 * process, for whoever is not content with an exit code.
 */

const errnoName = require('./errno_name');
const { describeAsker } = require('./asker');

const FAILED_CODE = 'ERR_EGG_CLUSTER_RS_FAILED';

/** Event type -> (event) -> the reason in words; null where the cluster goes on. */
const CAUSES = {
  'agent-exited': event => (event.restartInMs === null ? diedAtStart('agent_worker', event) : null),
  'app-exited': event => (event.whileStarting ? diedAtStart('app_worker', event) : null),
  'spawn-failed': ({ reason }) => reason,
  'listen-failed': ({ port, errno }) => `cannot listen on port ${port}: ${errnoName(errno)}`,
};

/** These are the reason, whatever happened before. */
const LAST_CAUSES = {
  'check-failed': ({ agent, worker }) => `${agent} agent and ${worker} worker(s) were alive`,
  'gave-up': ({ noneReadyMs }) => `no app worker has been ready for ${noneReadyMs}ms and restarts do not help`,
  'fatal': ({ reason }) => `internal error: ${reason}`,
};

/** Event type -> (event) -> why the master closes, though nothing has failed; null where it does not. */
const CLOSINGS = {
  'asked': event => (event.request === 'stop' ? `stop through the control socket, asked for by ${describeAsker(event)}` : null),
  'app-exited': ({ id, pid, byDebugger }) => (byDebugger ? `a debugger has ended app_worker#${id}:${pid}` : null),
};

function diedAtStart(role, { id, pid, code, signal }) {
  return `${role}#${id}:${pid} died while it was starting (code: ${code}, signal: ${signal}), its output says why`;
}

class Failure {
  #reason = null;
  #started = false;
  /** Why it has begun to close; null where it has not. */
  #closing = null;
  /** What nobody has caught. */
  #uncaught = null;

  /** @param {string} reason - why the closing begins; the first one counts */
  closes(reason) {
    if (this.#closing === null) this.#closing = reason;
  }

  /** @param {Error} err - what makes the start fail */
  failed(err) {
    this.#reason = messageOf(err);
  }

  /** @param {*} thrown - what ends the process, for nobody has caught it */
  uncaught(thrown) {
    this.#uncaught = thrown;
  }

  /**
   * @param {number} code - the exit code
   * @param {boolean} isOurs - it is the master that ends the process
   * @return {string} the reason in words
   */
  reasonOf(code, isOurs) {
    if (isOurs) return messageOf((code === 0 ? this.#closing : this.#reason) || this.#closing || this.#reason || 'not known');
    const what = this.#uncaught === null
      ? 'the program of the master has called process.exit()'
      : `an error in the program of the master, which nobody has caught: ${messageOf(this.#uncaught)}`;
    return this.#closing === null ? what : `${what} before everything was closed, which had begun by ${this.#closing}`;
  }

  /** @param {Object} event - of the native master */
  note(event) {
    if (CLOSINGS[event.type]) this.#noteClosing(CLOSINGS[event.type](event));
    if (event.type === 'ready') {
      this.#started = true;
      this.#reason = null;
    } else if (LAST_CAUSES[event.type]) {
      this.#reason = LAST_CAUSES[event.type](event);
    } else if (CAUSES[event.type] && this.#reason === null) {
      this.#reason = CAUSES[event.type](event);
    }
  }

  #noteClosing(reason) {
    if (reason !== null) this.closes(reason);
  }

  /**
   * @param {number} code - the exit code that the process would have had
   * @param {Error} [cause]
   * @return {Error} with `code` ERR_EGG_CLUSTER_RS_FAILED and `exitCode`
   */
  toError(code, cause) {
    const what = this.#started ? 'the cluster has ended' : 'the cluster has not started';
    const reason = cause ? cause.message : this.#reason;
    const err = new Error(`${what}: ${reason || `exit code ${code}`}`, cause && { cause });
    return Object.assign(err, { code: FAILED_CODE, exitCode: code });
  }
}

/** One line of it. */
function messageOf(err) {
  const text = String((err && err.message) || err);
  return text.split('\n')[0];
}

module.exports = Failure;
