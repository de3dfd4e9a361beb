'use strict';

// Reads the command line of `npm run bench`.

/** Settings and what they are unless given. */
const DEFAULTS = { workers: 2, connections: 20000, concurrency: 32, rounds: 5, peers: '', check: false, record: false };

/**
 * @param {string[]} args - names of suites and `--option=value`
 * @return {{names: string[], settings: Object}} the names as they stand, and all settings
 */
function parseArguments(args) {
  const settings = { ...DEFAULTS };
  const names = [];
  for (const arg of args) {
    const option = arg.match(/^--([^=]*)(?:=(.*))?$/);
    if (option) settings[option[1]] = parseValue(option[1], option[2]);
    else names.push(arg);
  }
  if (settings.record && settings.check) throw new Error('--check compares with what --record writes: give one of them');
  if (settings.record && settings.peers) throw new Error('--record needs all peers, not some of them');
  return { names, settings };
}

function parseValue(key, value) {
  if (!Object.hasOwn(DEFAULTS, key)) {
    throw new Error(`no option is called --${key}; there are --${Object.keys(DEFAULTS).join(', --')}`);
  }
  const kind = typeof DEFAULTS[key];
  if (kind === 'boolean') return parseFlag(key, value);
  if (kind === 'string') return value || '';
  const number = Number(value);
  if (!value || !Number.isInteger(number) || number < 1) throw new Error(`--${key} takes a whole number from 1, not ${value}`);
  return number;
}

function parseFlag(key, value) {
  if (value !== undefined) throw new Error(`--${key} takes no value`);
  return true;
}

module.exports = { DEFAULTS, parseArguments };
