'use strict';

/**
 * Gathers from the events of the native master why it ends, for whoever is not content with
 * an exit code.
 */

const errnoName = require('./errno_name');

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

function diedAtStart(role, { id, pid, code, signal }) {
  return `${role}#${id}:${pid} died while it was starting (code: ${code}, signal: ${signal}), its output says why`;
}

class Failure {
  #reason = null;
  #started = false;

  /** @param {Object} event - of the native master */
  note(event) {
    if (event.type === 'ready') {
      this.#started = true;
      this.#reason = null;
    } else if (LAST_CAUSES[event.type]) {
      this.#reason = LAST_CAUSES[event.type](event);
    } else if (CAUSES[event.type] && this.#reason === null) {
      this.#reason = CAUSES[event.type](event);
    }
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

module.exports = Failure;
