'use strict';

const { WORKERS } = require('../lib/master');
const { nothingLostBut, atRest } = require('../lib/promises');
const { sleep, until } = require('../lib/time');

const RECOVERY_TIMEOUT_MS = 10_000;

/** Kills workers that serve, one at a time, at times that have nothing to do with what they do. */
async function killTimes(trial, times) {
  const { master, random } = trial;
  for (let i = 0; i < times; i++) {
    await sleep(random.between(100, 500));
    await until(() => master.ended || master.ledger.serving().length > 0, RECOVERY_TIMEOUT_MS);
    const serving = master.ledger.serving();
    if (serving.length > 0) trial.kill(random.pick(serving));
  }
  await recover(trial);
}

/** Until as many workers serve as there should. */
async function recover({ master }) {
  await until(() => master.ended || master.ledger.serving().length === WORKERS, RECOVERY_TIMEOUT_MS);
}

module.exports = {
  name: 'kill',
  title: 'SIGKILL of workers under load',
  promise: 'only requests that a dead worker had begun fail, none hangs or is refused',
  act: trial => killTimes(trial, trial.quick ? 5 : 10),
  judge: result => [ ...nothingLostBut(result), ...atRest(result) ],
  killTimes,
  recover,
};
