'use strict';

// Sets the clients' attempts against the workers' notes: what was lost, and whose fault it was.

const { OUTCOMES } = require('./exchange');

/**
 * @param {Object[]} attempts - of a load, each with its `reader` and `taker` of the ledger: `{pid, at}` of the worker
 *   that began it, and of the one that took its connection
 * @param {Map<number, {at: number, unread: Map<string, number>}|null>} killed - processes that were ended from outside,
 *   and what waited unread when they stopped, where that is known
 * @return {{counts: Object, byKind: Object, failures: Object[]}} the account. Each failure has a `verdict`:
 *   - `retriable`: reset on a connection used before, and no worker had begun the request
 *   - `readByDead`: a worker that was killed had begun it, or had read it and was about to
 *   - `takenByDead`: a worker that was killed had taken the connection, but had not begun it
 *   - `unread`: no worker that was killed had taken the connection, and none had begun it
 *   - `lost`: a worker that was not killed had begun it
 */
function account(attempts, killed) {
  const counts = zeroes();
  const byKind = {};
  const failures = [];
  for (const attempt of attempts) {
    byKind[attempt.kind] = byKind[attempt.kind] || zeroes();
    counts[attempt.outcome]++;
    byKind[attempt.kind][attempt.outcome]++;
    if (attempt.outcome !== 'answered') {
      failures.push({ ...attempt, verdict: judge(attempt, killed) });
    }
  }
  return { counts, byKind, failures };
}

function zeroes() {
  return Object.fromEntries(OUTCOMES.map(outcome => [ outcome, 0 ]));
}

function judge({ outcome, reader, taker, client, sentAt }, killed) {
  if (!reader && outcome === 'reuse') return 'retriable';
  if (!reader && taker && killed.has(taker.pid)) {
    return hadRead(killed.get(taker.pid), client, sentAt) ? 'readByDead' : 'takenByDead';
  }
  if (!reader) return 'unread';
  return killed.has(reader.pid) ? 'readByDead' : 'lost';
}

/** The request had come when the worker stopped, and nothing of it waited in its connection. */
function hadRead(stopped, client, sentAt) {
  return Boolean(stopped) && sentAt < stopped.at && stopped.unread.get(client) === 0;
}

module.exports = { account };
