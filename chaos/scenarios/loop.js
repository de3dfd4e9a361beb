'use strict';

const fs = require('fs');
const { OURS } = require('../../bench/lib/peers');
const { exchange } = require('../lib/exchange');
const { nothingLostBut, atRest } = require('../lib/promises');
const { isAlive } = require('../lib/processes');
const { sleep, until } = require('../lib/time');
const { recover } = require('./kill');

const WATCHDOG_MS = 3000;
/** Two beats may pass before a worker counts as hung, and it takes a moment to end. */
const REPLACED_WITHIN_MS = 2 * WATCHDOG_MS + 1500;
/** One, and more only where connections had to wait for all workers. */
const MOST_WAITING = 4;
const CLIENT_TIMEOUT_MS = REPLACED_WITHIN_MS + 1500;

async function loopForever(trial) {
  const { master } = trial;
  const id = 'spin';
  const { port } = master;
  const spinning = exchange({ port, path: `/spin/${id}`, agent: false, expected: Buffer.alloc(0), timeoutMs: CLIENT_TIMEOUT_MS });
  const reader = () => {
    master.ledger.read();
    return master.ledger.begun.get(id);
  };
  await until(() => reader() !== undefined, 2000);
  const { pid } = reader();
  trial.mark('loop', pid);
  const isReplaced = await until(() => !isAlive(pid), REPLACED_WITHIN_MS);
  trial.seen.loop = { pid, replaced: isReplaced };
  if (isReplaced) {
    // The master ended it: its requests are the price.
    trial.killed.set(pid, null);
    await recover(trial);
  } else {
    // Long enough for what hangs to show.
    await sleep(CLIENT_TIMEOUT_MS - REPLACED_WITHIN_MS);
  }
  trial.seen.loop.spin = (await spinning).outcome;
  trial.seen.loop.waited = waitedIn(pid, master.logFile);
}

function replaced({ facts: { loop } }) {
  return loop.replaced ? [] : [ `the worker was not replaced within ${REPLACED_WITHIN_MS} ms` ];
}

/** Connections that waited in the worker for its end; only our master tells. */
function waitedIn(pid, logFile) {
  const line = new RegExp(`app_worker#\\d+:${pid} had not taken (\\d+) connections?`);
  const found = line.exec(fs.readFileSync(logFile, 'utf8'));
  return found ? Number(found[1]) : 0;
}

function fewWaited({ facts: { loop } }) {
  return loop.waited <= MOST_WAITING ? [] : [ `${loop.waited} connections waited in the looping worker` ];
}

function details({ facts: { loop }, failures }) {
  const taken = failures.filter(({ verdict }) => verdict === 'takenByDead').length;
  return `connections that waited in the looping worker for its end: ${loop.waited}; `
    + `that it had taken in its last moments and that died with it: ${taken}`;
}

module.exports = {
  name: 'loop',
  title: 'A worker in an endless loop under load',
  promise: 'the watchdog replaces it, no request hangs, no more than its window had waited in it',
  timeoutMs: CLIENT_TIMEOUT_MS,
  options: ({ name }) => (name === OURS ? { watchdog: { timeout: WATCHDOG_MS } } : {}),
  act: loopForever,
  details,
  judge: result => [ ...replaced(result), ...fewWaited(result), ...nothingLostBut(result), ...atRest(result) ],
};
