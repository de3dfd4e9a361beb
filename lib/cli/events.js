'use strict';

/** `events` and `logs`: what happens. */

const util = require('util');
const Reporter = require('../reporter');
const { eventOf, follow, statusOf } = require('./client');
const { clean } = require('./text');

/** Too long for a line, or told by the other words of it. */
const LEFT_OUT = [ 'type', 'uptimeMs', 'backtrace' ];
const LEVEL_COLOURS = { WARN: 'yellow', ERROR: 'red' };

async function events({ socket, out, paint }, { json }) {
  await follow(socket, '/events', line => {
    if (line !== '') out(json ? line : eventText(eventOf(line, socket), paint));
  });
}

/** The same in the words of the master's log. */
async function logs({ socket, out, paint }, { json }) {
  if (json) {
    await events({ socket, out, paint }, { json });
    return;
  }
  const reporter = logReporter((await statusOf(socket)).pid, out, paint);
  await follow(socket, '/events', line => {
    if (line !== '') reporter.report(eventOf(line, socket));
  });
}

function eventText(event, paint) {
  const time = new Date().toTimeString().slice(0, 8);
  const members = Object.entries(event).filter(([ name, value ]) => !LEFT_OUT.includes(name) && value !== null);
  const words = members.map(([ name, value ]) => clean(`${name}=${typeof value === 'object' ? JSON.stringify(value) : value}`));
  return [ paint('dim', time), paint('bold', event.type), ...words ].join(' ');
}

/**
 * @param {number} pid - of the master
 * @param {function(string): void} out
 * @param {function(string, string): string} paint
 * @return {Reporter} it writes the lines of the master's log
 */
function logReporter(pid, out, paint) {
  const write = level => (...args) => {
    const line = `${Reporter.logDate()} ${level} ${pid} ${textOf(args)}`;
    out(LEVEL_COLOURS[level] ? paint(LEVEL_COLOURS[level], line) : line);
  };
  const logger = { info: write('INFO'), warn: write('WARN'), error: write('ERROR') };
  const plain = (...args) => out(textOf(args));
  const lines = { skipped: (r, { events: count }) => r.logger.warn('[master] %s events are left out here: this reader does not keep up', count) };
  return new Reporter({ logger, log: logger.info, options: {}, frameworkName: 'application', pid, console: { info: plain, error: plain }, lines });
}

function textOf([ format, ...args ]) {
  const text = format instanceof Error ? `${format.name}: ${format.message}` : util.format(format, ...args);
  return text.split('\n').map(clean).join('\n    ');
}

module.exports = { events, logs, eventText, logReporter };
