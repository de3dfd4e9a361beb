'use strict';

const { WORKERS, GRACE_MS } = require('../lib/master');
const { nothingLostBut, atRest } = require('../lib/promises');
const { until } = require('../lib/time');

const READY_TIMEOUT_MS = 10_000;

/** Reloads, each when the last is over or its time is. */
async function reloadTimes(trial, times) {
  const { master } = trial;
  const before = master.ledger.served.length;
  master.ledger.watchServing();
  for (let i = 1; i <= times; i++) {
    trial.mark('reload');
    master.tell('reload-worker');
    const isReplaced = () => {
      const serving = master.ledger.serving().length;
      return master.ended || (master.ledger.served.length >= before + i * WORKERS && serving <= WORKERS);
    };
    await until(isReplaced, READY_TIMEOUT_MS);
    // The old ones have their time to finish.
    await until(() => master.ended || master.appWorkers().length <= WORKERS, 2 * GRACE_MS);
    trial.mark('reloaded', { appWorkers: master.appWorkers().length, serving: master.ledger.serving().length });
  }
  master.ledger.serving();
  trial.seen.reloads = { times, replaced: master.ledger.served.length - before, leastServing: master.ledger.leastServing };
}

function reloaded({ facts: { reloads } }) {
  const wrong = [];
  const expected = reloads.times * WORKERS;
  if (reloads.replaced !== expected) wrong.push(`${reloads.replaced} workers started instead of ${expected}`);
  if (reloads.leastServing < WORKERS) wrong.push(`only ${reloads.leastServing} workers served at one time`);
  return wrong;
}

module.exports = {
  name: 'reload',
  title: 'Reload under load',
  promise: 'no request fails, never fewer than 3 workers serve, 3 at the end',
  act: trial => reloadTimes(trial, trial.quick ? 1 : 3),
  judge: result => [ ...nothingLostBut(result), ...reloaded(result), ...atRest(result) ],
  reloadTimes,
  reloaded,
};
