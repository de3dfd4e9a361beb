'use strict';

/**
 * The option `sticky` where it is an object: what names a client, and who is believed in it.
 */

/** What `by` may be, and the name that is looked for where the options give none. */
const DEFAULT_NAMES = {
  address: undefined,
  forwarded: undefined,
  cookie: undefined,
  query: 'sid',
  'proxy-protocol': undefined,
};
const TAKES_NAME = [ 'forwarded', 'cookie', 'query' ];
const KEYS = [ 'by', 'name', 'trust', 'headTimeout' ];
const DEFAULT_TRUST = [ 'loopback', 'private' ];
const DEFAULT_HEAD_TIMEOUT_MS = 2000;
const MAX_HEAD_TIMEOUT_MS = 60000;
/** A token of RFC 9110: what a header or a cookie may be called. */
const TOKEN = /^[\w!#$%&'*+.^`|~-]+$/;

const PRIVATE = [ '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7' ];
/** Networks with a name, by the names of Express and one that says what it means. */
const NAMED_NETWORKS = {
  loopback: [ '127.0.0.0/8', '::1/128' ],
  linklocal: [ '169.254.0.0/16', 'fe80::/10' ],
  uniquelocal: PRIVATE,
  private: PRIVATE,
};

/**
 * @param {Object} options - of startCluster, with a `sticky` that is not falsy
 * @return {Object|*} the complete `sticky`; what is no object is returned as it is
 * @throws {TypeError|RangeError} something in it that is wrong
 */
function checkSticky({ sticky }) {
  if (typeof sticky !== 'object') return sticky;
  if (Array.isArray(sticky)) throw new TypeError(`options.sticky must be true or an object, but got ${show(sticky)}`);
  for (const key of Object.keys(sticky)) {
    if (!KEYS.includes(key)) throw new TypeError(`options.sticky.${key} is unknown: options.sticky has ${list(KEYS)}`);
  }
  const by = given(sticky.by) ? sticky.by : 'address';
  if (!Object.prototype.hasOwnProperty.call(DEFAULT_NAMES, by)) {
    throw new TypeError(`options.sticky.by must be one of ${list(Object.keys(DEFAULT_NAMES))}, but got ${show(by)}`);
  }
  const name = checkName(by, sticky.name);
  return {
    by,
    ...(name && { name }),
    trust: checkTrust(sticky.trust),
    headTimeout: checkHeadTimeout(sticky.headTimeout),
  };
}

function checkName(by, name) {
  if (!given(name)) {
    if (by === 'cookie') throw new TypeError('options.sticky.name must be the name of a cookie, for sticky.by is \'cookie\'');
    return DEFAULT_NAMES[by];
  }
  if (!TAKES_NAME.includes(by)) {
    throw new TypeError(`options.sticky.name is of no use with sticky.by ${show(by)}: ` +
      `leave it out, or choose one of ${list(TAKES_NAME)}`);
  }
  const isName = typeof name === 'string' && (by === 'query' ? /^[^&=#\s]+$/ : TOKEN).test(name);
  if (!isName) {
    const what = { forwarded: 'header', cookie: 'cookie', query: 'query parameter' }[by];
    throw new TypeError(`options.sticky.name must be the name of a ${what}, but got ${show(name)}`);
  }
  return name;
}

function checkTrust(trust) {
  if (!given(trust)) return DEFAULT_TRUST;
  const entries = typeof trust === 'string' ? trust.split(',').map(entry => entry.trim()) : trust;
  if (!Array.isArray(entries)) {
    throw new TypeError(`options.sticky.trust must be an array of addresses, networks and names, but got ${show(trust)}`);
  }
  const wrong = entries.find(entry => networksOf(entry) === null);
  if (wrong !== undefined || entries.includes(undefined)) {
    throw new TypeError('options.sticky.trust must hold addresses (192.168.1.7), networks (10.0.0.0/8) or ' +
      `${list(Object.keys(NAMED_NETWORKS))}, but has ${show(wrong)}`);
  }
  return entries;
}

/** @return {string[]|null} null for what is neither a name, an address nor a network */
function networksOf(entry) {
  if (typeof entry !== 'string') return null;
  if (Object.prototype.hasOwnProperty.call(NAMED_NETWORKS, entry)) return NAMED_NETWORKS[entry];
  const [ , address, prefix ] = /^([^/%]+)(?:\/(\d{1,3}))?$/.exec(entry) || [];
  const family = require('net').isIP(address);
  const width = family === 4 ? 32 : 128;
  return family && !(Number(prefix) > width) ? [ entry ] : null;
}

function checkHeadTimeout(ms) {
  if (!given(ms)) return DEFAULT_HEAD_TIMEOUT_MS;
  if (!Number.isInteger(ms) || ms < 1 || ms > MAX_HEAD_TIMEOUT_MS) {
    const range = `between 1 and ${MAX_HEAD_TIMEOUT_MS}`;
    throw new RangeError(`options.sticky.headTimeout must be a time in ms ${range}, but got ${show(ms)}`);
  }
  return ms;
}

/**
 * @param {Object|*} sticky - as {@link checkSticky} returns it
 * @return {Object|null} what the native master is told; null: clients are named by their addresses
 */
function stickyKey(sticky) {
  if (!sticky || typeof sticky !== 'object' || sticky.by === 'address') return null;
  return {
    by: sticky.by,
    name: sticky.name || null,
    trust: [ ...new Set(sticky.trust.flatMap(networksOf)) ],
    headTimeoutMs: sticky.headTimeout,
  };
}

function given(value) {
  return value !== undefined && value !== null;
}

function list(words) {
  return words.map(word => `'${word}'`).join(', ');
}

function show(value) {
  return require('util').inspect(value, { depth: 1, breakLength: Infinity });
}

module.exports = { checkSticky, stickyKey };
