'use strict';

const { nothingLostBut, atRest } = require('../lib/promises');
const { sleep, until } = require('../lib/time');

const RESTART_TIMEOUT_MS = 5000;

/** Kills the agent, each time when a new one is there. */
async function killAgent(trial) {
  const { master, random } = trial;
  for (let i = 0; i < (trial.quick ? 1 : 3); i++) {
    await sleep(random.between(200, 500));
    const [ pid ] = master.agents();
    if (pid === undefined) break;
    trial.kill(pid);
    await until(() => master.ended || master.agents().some(other => other !== pid), RESTART_TIMEOUT_MS);
  }
}

module.exports = {
  name: 'agent',
  title: 'SIGKILL of the agent under load',
  promise: 'no request fails, the workers stay',
  act: killAgent,
  judge: result => [ ...nothingLostBut(result), ...atRest(result) ],
};
