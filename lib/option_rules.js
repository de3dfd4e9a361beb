'use strict';

/**
 * What each option of startCluster may be. The list is complete: index.d.ts and docs/options.md
 * have the same names, which a unit test sees to. Unknown options are nobody's to judge.
 */

const { describe } = require('./describe');
const { checkControl } = require('./control');
const { checkDrain } = require('./drain_config');
const { checkPrestart } = require('./prestart_config');
const { AUTO } = require('./processors');
const { checkSupervision } = require('./supervision');
const { parsePorts } = require('./threads');

const MAX_PORT = 65535;
const MAX_WORKERS = 65535;

const isText = value => typeof value === 'string';
const isPath = value => isText(value) && !value.includes('\0');
const isObject = value => typeof value === 'object' && value !== null && !Array.isArray(value);
const isNumber = value => typeof value === 'number' || (isText(value) && !Number.isNaN(parseInt(value, 10)));
const isPort = value => isNumber(value) && parseInt(value, 10) >= 0 && parseInt(value, 10) <= MAX_PORT;

const text = holds => [ isText, `a string (${holds})` ];
const file = holds => [ isPath, `a string without NUL (${holds})` ];
const port = [ isPort, `a port number between 0 and ${MAX_PORT}` ];
const flag = [ value => typeof value === 'boolean', 'true or false' ];
/** Checked by a module of its own. */
const elsewhere = null;

const RULES = {
  baseDir: file('the directory of the application'),
  framework: file('the name or the absolute path of a framework'),
  customEgg: file('the name or the absolute path of a framework'),
  env: text('the name of an environment, such as prod, local or unittest'),
  title: text('what tools look for in the process list'),
  pidFile: file('the path of a file'),
  workers: [ isWorkers, `a whole number between 1 and ${MAX_WORKERS}, or '${AUTO}'` ],
  port,
  debugPort: port,
  reusePort: flag,
  https: [ value => value === true || isObject(value), 'true, or an object { key, cert, ca } of paths' ],
  key: file('the path of a private key, for https: true'),
  cert: file('the path of a certificate, for https: true'),
  sticky: [ value => value === true || isObject(value), 'true, or an object such as { by: \'forwarded\' }' ],
  plugins: [ isPlugins, 'an object, or the JSON of one' ],
  require: [ isModules, 'the name or the path of a module, or an array of such' ],
  startMode: [ value => value === 'process' || value === 'worker_threads', '\'process\' or \'worker_threads\'' ],
  ports: elsewhere,
  typescript: flag,
  isDebug: flag,
  exitProcess: flag,
  drain: elsewhere,
  prestart: elsewhere,
  restart: elsewhere,
  hold: elsewhere,
  limits: elsewhere,
  watchdog: elsewhere,
  control: elsewhere,
};

/** What is no number is refused as such, what is one by its size. */
const NUMBERS = [ 'workers', 'port', 'debugPort' ];

/**
 * @param {*} options - of startCluster, in the forms that index.d.ts gives
 * @throws {TypeError} a value of a wrong kind, or a key that is not known
 * @throws {RangeError} a value that is out of range
 */
function checkOptions(options) {
  if (!isObject(options)) {
    throw new TypeError(`options of startCluster must be an object, but got ${describe(options)}`);
  }
  for (const [ name, rule ] of Object.entries(RULES)) {
    // Falsy values have always meant "not given".
    if (rule === elsewhere || !options[name]) continue;
    const [ test, wants ] = rule;
    if (test(options[name])) continue;
    const ErrorType = NUMBERS.includes(name) && isNumber(options[name]) ? RangeError : TypeError;
    throw new ErrorType(`options.${name} must be ${wants}, but got ${describe(options[name])}`);
  }
  parsePorts(options.ports);
  checkDrain(options.drain);
  checkPrestart(options.prestart);
  checkSupervision(options);
  checkControl(options.control);
}

function isWorkers(value) {
  if (value === AUTO) return true;
  const workers = parseInt(value, 10);
  return isNumber(value) && workers >= 1 && workers <= MAX_WORKERS;
}

function isPlugins(value) {
  if (!isText(value)) return isObject(value);
  try {
    return isObject(JSON.parse(value));
  } catch {
    return false;
  }
}

function isModules(value) {
  return [].concat(value).every(name => isText(name) && name !== '');
}

/** The names of all options that are known. */
const OPTION_NAMES = Object.keys(RULES);

module.exports = { checkOptions, OPTION_NAMES };
