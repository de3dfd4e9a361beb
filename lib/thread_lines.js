'use strict';

/**
 * The log lines of `startMode: 'worker_threads'`, where they are not those of processes. The
 * texts are those of egg-cluster as far as it has them; see `reporter.js`.
 */

const util = require('util');
const { reportClosing, namedError, roleName, childName } = require('./reporter');

const none = () => {};

/** Event type -> (reporter, event) -> lines. */
module.exports = {
  'agent-forked': (r, { id, pid }) => r.log('[master] agent_worker#%s:%s start with worker_threads', id, pid),
  'apps-forking': none,
  'app-forked': (r, { id, pid }) => r.log('[master] app_worker#%s (tid:%s) start', id, pid),
  'app-listening': none,
  'app-disconnected': none,
  'app-exited': reportAppExited,
  'spawn-failed': (r, event) =>
    r.logger.error('[master] cannot start the thread of %s#%s: %s', roleName(event.role), event.id, event.reason),
  'reload-failed': (r, { reason }) =>
    r.logger.error('[master] reload failed, the other workers go on serving: %s', reason),
  'killed': (r, event) =>
    r.logger.warn('[master] %s did not end in time, it is busy outside of JavaScript', childName(event)),
  'closing-agent': (r, { timeoutMs }) => reportClosing(r, 'agent worker', timeoutMs),
};

function reportAppExited(r, { id, pid, code, signal, state, expected, reloaded, reforkInMs, whileStarting, pids }) {
  if (expected && !reloaded) return;
  r.log('[master] app_worker#%s (tid:%s) exit with code: %s', id, pid, code);
  if (reloaded) return;
  // A thread cannot say whether it leaves of its own will; egg-cluster writes `true`.
  r.logger.error(namedError('AppWorkerDiedError', util.format(
    '[master] app_worker#%s:%s died (code: %s, signal: %s, suicide: true, state: %s), current workers: %j',
    id, pid, code, signal, state, pids)));
  if (whileStarting) {
    r.logger.error('[master] app_worker#%s:%s start fail, exiting with code:1', id, pid);
  } else if (reforkInMs !== null) {
    r.log('[master] app_worker#%s (tid:%s) refork after %ss', id, pid, reforkInMs / 1000);
  }
}
