'use strict';

// Commands as documents show them: whether what they name exists.

const fs = require('fs');
const path = require('path');
const { program } = require('../../lib/cli');

const root = path.join(__dirname, '../..');
const { scripts } = require('../../package.json');

/** npm's own scripts, of which `npm NAME` is short for `npm run NAME`. */
const SHORT = [ 'start', 'test' ];

/**
 * @param {string} command - one line
 * @return {string|null} what it names and is not there; null: all is well, or it is no command of ours
 */
function whatIsMissing(command) {
  const words = command.replace(/\s#.*$/, '').trim().split(/\s+/).filter(word => !/^\w+=/.test(word));
  const [ first, second ] = words;
  if (first === 'npm' && second === 'run') return scripts[words[2]] ? null : `npm script ${words[2]}`;
  if (first === 'npm' && SHORT.includes(second)) return scripts[second] ? null : `npm script ${second}`;
  if (first === 'node') return missingFiles(words.slice(1));
  const rest = first === 'npx' ? words.slice(1) : words;
  if (rest[0] === 'egg-cluster-rs') return missingInCli(rest.slice(1));
  if (first === 'npx') return missingBin(rest[0]) || missingFiles(rest.slice(1));
  return null;
}

function missingInCli([ name, ...args ]) {
  const cli = program();
  const command = cli.commands.find(it => it.name() === name);
  if (!command && name !== undefined && !name.startsWith('-')) return `egg-cluster-rs ${name}`;
  const flags = [ ...cli.options, ...(command ? command.options : []) ].flatMap(({ short, long }) => [ short, long ]).concat('--help', '-h');
  const unknown = [ ...(command ? [] : [ name ]), ...args ].find(arg => arg !== undefined && /^--?[a-z]/.test(arg) && !flags.includes(arg.split('=')[0]));
  return unknown ? `${unknown} of egg-cluster-rs ${name}` : null;
}

function missingBin(name) {
  return fs.existsSync(path.join(root, 'node_modules/.bin', name)) ? null : `program ${name}`;
}

function missingFiles(words) {
  const missing = words.find(word => !word.startsWith('-') && word.includes('/') && !word.includes('$') && !fs.existsSync(path.join(root, word)));
  return missing ? `file ${missing}` : null;
}

module.exports = { whatIsMissing };
