'use strict';

/**
 * Brings options into the form that index.d.ts gives them, where a command line or a
 * package.json has given them another: numbers and booleans as text, names with hyphens,
 * objects as JSON. What cannot be read so is left as it is, for the checks to refuse.
 *
 * egg-scripts hands flags on as yargs understands them, see docs/options.md.
 */

const { describe } = require('./describe');

/** The options that egg-cluster does not have, or not as objects; others go on as egg-cluster would pass them. */
const OWN = [ 'drain', 'prestart', 'restart', 'hold', 'limits', 'watchdog', 'sticky', 'control' ];
/** Where the text `false` would count as true. */
const FLAGS = [ 'exitProcess', 'https', 'isDebug', 'reusePort', 'sticky', 'typescript' ];
/** Keys of our own options whose values are text, even where they look like something else. */
const TEXTS = [ 'by', 'name', 'trust', 'action', 'path', 'tcp' ];

/**
 * @param {*} options - as given to startCluster; not changed
 * @param {string[]} names - of all options there are
 * @return {*} the same, or a copy with other forms
 * @throws {TypeError|SyntaxError} a form that can only be a mistake
 */
function readForms(options, names) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return options;
  const entries = Object.entries(options).map(([ given, value ]) => [ nameOf(given, options, names), value ]);
  return Object.fromEntries(entries.filter(([ name ]) => name !== null).map(([ name, value ]) => [ name, readOption(name, value) ]));
}

function readOption(name, value) {
  if (OWN.includes(name)) return readOwn(`options.${name}`, value);
  if (FLAGS.includes(name)) return readFlag(value);
  return name === 'ports' && isPort(value) ? [ value ] : value;
}

/** @return {string|null} null for a name with hyphens beside the same one without */
function nameOf(given, options, names) {
  const [ first, ...rest ] = given.split('.');
  if (rest.length > 0 && OWN.includes(first)) {
    throw new TypeError(`options has '${given}', which nobody reads: give ${first} as an object, such as { ${rest[0]}: … }`);
  }
  const camel = camelCase(given);
  if (camel === given || !names.includes(camel)) return given;
  return camel in options ? null : camel;
}

function readOwn(name, value) {
  if (typeof value === 'string') return readOwnText(name, value);
  if (Array.isArray(value)) return readParts(name, value);
  return isObject(value) ? readKeys(name, value) : value;
}

/** `--sticky --sticky.by=cookie --sticky.name=uid` comes as `[true, {by}, {name}]`. */
function readParts(name, parts) {
  const objects = parts.filter(part => part !== true).map(part => readOwn(name, part));
  const areParts = objects.length > 0 && objects.length < parts.length && objects.every(isObject);
  return areParts ? Object.assign({}, ...objects) : parts;
}

function readOwnText(name, text) {
  if (!text.trim().startsWith('{')) return readFlag(text);
  let value;
  try {
    value = JSON.parse(text);
  } catch (err) {
    throw new SyntaxError(`${name} is not valid JSON (${err.message}), but got ${describe(text)}`, { cause: err });
  }
  return readKeys(name, value);
}

function readKeys(name, object) {
  // yargs gives names with hyphens both ways.
  const entries = Object.entries(object).filter(([ key ]) => camelCase(key) === key || !(camelCase(key) in object));
  return Object.fromEntries(entries.map(([ given, value ]) => {
    const key = camelCase(given);
    return [ key, TEXTS.includes(key) ? readText(value) : readValue(`${name}.${key}`, value) ];
  }));
}

function readValue(name, value) {
  if (isObject(value)) return readKeys(name, value);
  if (typeof value !== 'string') return value;
  if (value.trim().startsWith('{')) return readOwnText(name, value);
  return /^\d+$/.test(value) ? Number(value) : readFlag(value);
}

/** A cookie may be called 7. */
function readText(value) {
  return typeof value === 'number' ? String(value) : value;
}

function readFlag(value) {
  return value === 'true' || value === 'false' ? value === 'true' : value;
}

function camelCase(name) {
  return name.replace(/([a-z])-([a-z])/g, (_, before, after) => before + after.toUpperCase());
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isPort(value) {
  return typeof value === 'number' || (typeof value === 'string' && /^\d+$/.test(value));
}

module.exports = { readForms };
