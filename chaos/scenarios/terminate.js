'use strict';

const { GRACE_MS } = require('../lib/master');
const { cleanEnd } = require('../lib/promises');
const { now, sleep } = require('../lib/time');

const END_TIMEOUT_MS = 3 * GRACE_MS;

async function terminate(trial) {
  const { master } = trial;
  await sleep(trial.random.between(200, 600));
  trial.mark('SIGTERM');
  trial.seen.signalledAt = now();
  master.child.kill('SIGTERM');
  await Promise.race([ master.exit, sleep(END_TIMEOUT_MS) ]);
  trial.seen.endedAfterMs = master.ended && Math.round(master.ended.at - trial.seen.signalledAt);
}

/** Requests that workers had begun before the signal are answered; what comes later may be refused, but not left hanging. */
function judge(result) {
  const { facts, failures, counts } = result;
  const wrong = [];
  const inFlight = failures.filter(({ reader }) => reader && reader.at < facts.signalledAt);
  if (inFlight.length > 0) wrong.push(`${inFlight.length} in flight were not answered`);
  if (counts.hung > 0) wrong.push(`${counts.hung} hung`);
  if (facts.endedAfterMs === null) wrong.push(`the master still ran ${END_TIMEOUT_MS} ms after the signal`);
  return [ ...wrong, ...cleanEnd(result) ];
}

/** How many requests and sessions were in flight at the signal, and what came of them. */
function details({ facts, failures, attempts }) {
  const begunBefore = ({ reader }) => reader && reader.at < facts.signalledAt;
  const inFlight = attempts.filter(attempt => begunBefore(attempt) && attempt.endedAt > facts.signalledAt);
  const answered = inFlight.filter(({ outcome }) => outcome === 'answered').length;
  const late = failures.filter(({ reader }) => reader && reader.at >= facts.signalledAt).length;
  return `in flight ${inFlight.length}, of them answered ${answered}; begun after the signal and failed ${late}; `
    + `ended after ${facts.endedAfterMs} ms`;
}

module.exports = {
  name: 'terminate',
  title: 'SIGTERM of the master under load',
  promise: 'what workers had begun before the signal is answered',
  act: terminate,
  judge,
  details,
};
