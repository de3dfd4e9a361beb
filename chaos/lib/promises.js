'use strict';

// Promises that several scenarios hold a master to. Each takes a result and returns what is wrong with it, in words.

const { WORKERS } = require('./master');

/**
 * RSS may grow by as much between the end of the warm-up and the end, in bytes. The first death of a worker costs about
 * 8 MiB, once: the master then loads what it logs errors with.
 */
const RSS_SLACK = 12 * 1024 * 1024;

/** Verdicts on failures that no kill excuses. */
const FAULTS = {
  takenByDead: 'that a worker had taken but not begun when it was killed',
  unread: 'that no worker had begun',
  lost: 'in a worker that was not killed',
};

/** Every failed request had been begun by a worker that was killed; none was refused or hung. */
function nothingLostBut({ failures, counts }) {
  const wrong = [];
  for (const [ verdict, words ] of Object.entries(FAULTS)) {
    const some = failures.filter(failure => failure.verdict === verdict);
    if (some.length > 0) wrong.push(`${some.length} failed ${words}`);
  }
  if (counts.hung > 0) wrong.push(`${counts.hung} hung`);
  if (counts.refused > 0) wrong.push(`${counts.refused} refused`);
  return wrong;
}

/** The master runs on with all workers and one agent, holds what it held before, and ends without a remainder. */
function atRest({ facts: { start, end, exit, leftovers } }) {
  const wrong = [];
  if (end === null) return [ `the master ended (${exit.signal || `code ${exit.code}`})` ];
  if (end.serving !== WORKERS) wrong.push(`${end.serving} workers serve at the end`);
  if (end.appWorkers !== WORKERS) wrong.push(`${end.appWorkers} app workers at the end`);
  if (end.agents !== 1) wrong.push(`${end.agents} agents at the end`);
  if (end.zombies > 0) wrong.push(`${end.zombies} children not reaped`);
  if (end.descriptors > start.descriptors) wrong.push(`descriptors ${start.descriptors} -> ${end.descriptors}`);
  if (end.rss > start.rss + RSS_SLACK) wrong.push(`RSS grew by ${Math.round((end.rss - start.rss) / 2 ** 20)} MiB`);
  return [ ...wrong, ...cleanEnd({ facts: { exit, leftovers } }) ];
}

function cleanEnd({ facts: { exit, leftovers } }) {
  const wrong = [];
  if (exit.code !== 0) wrong.push(`the master ended with ${exit.signal || `code ${exit.code}`}`);
  if (leftovers > 0) wrong.push(`${leftovers} processes left behind`);
  return wrong;
}

module.exports = { nothingLostBut, atRest, cleanEnd };
