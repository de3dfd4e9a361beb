'use strict';

/**
 * Checks and completes the options of startCluster. The resulting object is printed and
 * passed on to the workers as JSON, so the order of its keys matters.
 */

const fs = require('fs');
const os = require('os');
const path = require('path');
const { exportsName, NO } = require('./framework_exports');
const { frameworkMain } = require('./framework_main');
const { checkSupervision } = require('./supervision');
const { checkSticky } = require('./sticky');
const { threadPlaces } = require('./threads');

// Applications may mock process.cwd later on.
const initialCwd = process.cwd();
const MAX_PORT = 65535;
/** The longest time that timers take, in ms. */
const MAX_TIME = 0x7fffffff;

/**
 * @param {Object} options - as given to startCluster; not changed
 * @return {Object} the complete options
 * @throws {TypeError|RangeError} a value of a wrong type or out of range
 * @throws {AssertionError|Error} a file, directory or package that is missing
 */
function parseOptions(options) {
  checkTypes(options);
  checkSupervision(options);
  const parsed = mergeDefaults(options);
  if (!parsed.workers) parsed.workers = os.cpus().length || 1;
  if (!parsed.env && process.env.EGG_SERVER_ENV) parsed.env = process.env.EGG_SERVER_ENV;

  parsed.framework = findFramework(parsed.baseDir, parsed.framework || parsed.customEgg);
  checkFramework(parsed.framework);
  parsed.https = checkHttps(parsed);
  parsed.port = parsePort('port', parsed.port) || undefined;
  parsePort('debugPort', parsed.debugPort);
  parsed.workers = parseWorkers(parsed.workers);
  if (parsed.startMode === 'worker_threads') Object.assign(parsed, threadPlaces(parsed));
  if (parsed.sticky) parsed.sticky = checkSticky(parsed);
  if (parsed.require) parsed.require = [].concat(parsed.require);

  // Deprecation messages would go to stderr. An environment that is not ours stays as it is.
  if (process.env.NODE_ENV === 'production' && parsed.exitProcess !== false) process.env.NO_DEPRECATION = '*';
  if (isInspected(process.execArgv)) parsed.isDebug = true;
  checkJson(parsed);
  return parsed;
}

/** Whether the options and the environment mean that dead workers are replaced. */
function isProduction(options) {
  if (options.env) return options.env !== 'local' && options.env !== 'unittest';
  return process.env.NODE_ENV === 'production';
}

function mergeDefaults(options) {
  const merged = {
    framework: '',
    baseDir: process.cwd(),
    port: options.https ? 8443 : null,
    reusePort: false,
    workers: null,
    plugins: null,
    https: false,
    startMode: 'process',
    ports: [],
    env: null,
  };
  for (const key of Object.keys(options)) {
    if (options[key] !== undefined && options[key] !== null) merged[key] = options[key];
  }
  return merged;
}

/** Options that must be strings where they are given, with what they hold. */
const STRING_OPTIONS = {
  baseDir: 'the directory of the application',
  framework: 'the name or the absolute path of a framework',
  customEgg: 'the name or the absolute path of a framework',
  env: 'the name of an environment, such as prod, local or unittest',
  pidFile: 'the path of a file',
};

function checkTypes(options) {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TypeError(`options of startCluster must be an object, but got ${describe(options)}`);
  }
  for (const [ name, holds ] of Object.entries(STRING_OPTIONS)) {
    // Falsy values have always meant "not given".
    if (options[name] && typeof options[name] !== 'string') {
      throw new TypeError(`options.${name} must be a string (${holds}), but got ${describe(options[name])}`);
    }
  }
  checkDrain(options.drain);
  checkExitProcess(options);
}

function checkExitProcess({ exitProcess }) {
  if (exitProcess === undefined || exitProcess === null || exitProcess === true) return;
  if (exitProcess !== false) {
    throw new TypeError(`options.exitProcess must be true or false, but got ${describe(exitProcess)}`);
  }
}

/** Times that `options.drain` may hold, in ms. */
const DRAIN_TIMES = [ 'timeout', 'websocketTimeout' ];

function checkDrain(drain) {
  if (drain === undefined || drain === null || drain === false) return;
  if (typeof drain !== 'object' || Array.isArray(drain)) {
    throw new TypeError(`options.drain must be false or an object such as { timeout: 5000 }, but got ${describe(drain)}`);
  }
  for (const [ name, value ] of Object.entries(drain)) {
    if (!DRAIN_TIMES.includes(name)) {
      throw new TypeError(`options.drain has no ${name}; it may have ${DRAIN_TIMES.join(' and ')}`);
    }
    if (value === undefined || value === null) continue;
    if (typeof value !== 'number') {
      throw new TypeError(`options.drain.${name} must be a number of ms, but got ${describe(value)}`);
    }
    if (!(value >= 0 && value <= MAX_TIME)) {
      throw new RangeError(`options.drain.${name} must be a time in ms between 0 and ${MAX_TIME}, but got ${describe(value)}`);
    }
  }
}

/** The value and its type, short enough for one line. */
function describe(value) {
  if (value === null || value === undefined) return String(value);
  const text = require('util').inspect(value, { depth: 0, breakLength: Infinity });
  return `${text} (${Array.isArray(value) ? 'array' : typeof value})`;
}

/** @return {number|undefined} undefined for what is no number: the worker's own config decides then */
function parsePort(name, value) {
  const port = parseInt(value, 10);
  if (port < 0 || port > MAX_PORT) {
    throw new RangeError(`options.${name} must be a port number between 0 and ${MAX_PORT}, but got ${describe(value)}`);
  }
  return port || undefined;
}

function parseWorkers(value) {
  const workers = parseInt(value, 10);
  if (!(workers >= 1)) {
    throw new RangeError(`options.workers must be a whole number of at least 1, but got ${describe(value)}`);
  }
  return workers;
}

/** The certificate files, with the form `https: true` of old, where they stood beside it. */
function checkHttps(options) {
  let { https } = options;
  if (!https) return https;
  if (https === true) {
    // eslint-disable-next-line no-console -- where egg-cluster prints it, for there is no logger yet
    console.warn('[egg-cluster:deprecated] [master] Please use `https: { key, cert, ca }` instead of `https: true`');
    https = { key: options.key, cert: options.cert };
  }
  assertThat(https.key && fs.existsSync(https.key), 'options.https.key should exists');
  assertThat(https.cert && fs.existsSync(https.cert), 'options.https.cert should exists');
  assertThat(!https.ca || fs.existsSync(https.ca), 'options.https.ca should exists');
  return https;
}

function isInspected(execArgv) {
  return execArgv.some(arg => arg.includes('--debug') || arg.includes('--inspect'));
}

function checkJson(options) {
  try {
    JSON.stringify(options);
  } catch (err) {
    throw new TypeError(`options of startCluster must be JSON, as the workers get them so: ${err.message.split('\n')[0]}`, { cause: err });
  }
}

/**
 * The directory of the framework: the one given, else the one that the application's
 * package.json names as `egg.framework`, else egg.
 */
function findFramework(baseDir, framework) {
  const pkgPath = path.join(baseDir, 'package.json');
  assertThat(fs.existsSync(pkgPath), `${pkgPath} should exist`);
  const pkg = readPackage(pkgPath);
  if (framework && path.isAbsolute(framework)) {
    assertThat(fs.existsSync(framework), `${framework} should exist`);
    return framework;
  }
  return findPackage(framework || (pkg.egg && pkg.egg.framework) || 'egg', path.join(baseDir, 'node_modules'));
}

/** In the application's modules, then in those of the working directory, then in our own. */
function findPackage(name, moduleDir) {
  const moduleDirs = new Set([
    moduleDir,
    path.join(process.cwd(), 'node_modules'),
    path.join(initialCwd, 'node_modules'),
  ]);
  try {
    moduleDirs.add(path.join(require.resolve(`${name}/package.json`), '../..'));
  } catch {
    // Not reachable from here, as is usual in nested installations.
  }
  for (const dir of moduleDirs) {
    const candidate = path.join(dir, name);
    if (fs.existsSync(candidate)) return candidate;
  }
  throw new Error(`${name} is not found in ${Array.from(moduleDirs)}`);
}

/**
 * @param {string} file - the path of a package.json
 * @return {Object} its content
 */
function readPackage(file) {
  let text;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (err) {
    throw new Error(err.code === 'ENOENT' ? `${file} is not found` : `cannot read ${file}: ${err.message}`, { cause: err });
  }
  let pkg;
  try {
    pkg = JSON.parse(text);
  } catch (err) {
    throw new SyntaxError(`${file} is not valid JSON: ${err.message}`, { cause: err });
  }
  if (typeof pkg !== 'object' || pkg === null) throw new TypeError(`${file} must hold an object, but holds ${describe(pkg)}`);
  return pkg;
}

/** Application and Agent must be there; the framework itself is left to the workers to load. */
function checkFramework(framework) {
  const main = frameworkMain(framework);
  for (const name of [ 'Application', 'Agent' ]) {
    assertThat(exportsName(main, name) !== NO, `should define ${name} in ${framework}`);
  }
}

/** As `assert`, which is loaded only when it fails. */
function assertThat(condition, message) {
  if (!condition) require('assert')(condition, message);
}

module.exports = { parseOptions, isProduction, readPackage };
