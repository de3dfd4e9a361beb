'use strict';

/**
 * Checks and completes the options of startCluster. The resulting object is printed and
 * passed on to the workers as JSON, so the order of its keys matters.
 */

const fs = require('fs');
const path = require('path');
const { describe } = require('./describe');
const { exportsName, NO } = require('./framework_exports');
const { frameworkMain } = require('./framework_main');
const { isJson } = require('./json_log');
const { readForms } = require('./option_forms');
const { checkOptions, OPTION_NAMES } = require('./option_rules');
const { processors, isAuto } = require('./processors');
const { checkSticky } = require('./sticky');
const { threadPlaces } = require('./threads');

// Applications may mock process.cwd later on.
const initialCwd = process.cwd();

/**
 * @param {Object} options - as given to startCluster; not changed
 * @return {Object} the complete options
 * @throws {TypeError|RangeError} a value of a wrong type or out of range
 * @throws {AssertionError|Error} a file, directory or package that is missing
 */
function parseOptions(options) {
  const parsed = mergeDefaults(readOptions(options));
  if (isAuto(parsed.workers)) parsed.workers = processors();
  if (!parsed.env && process.env.EGG_SERVER_ENV) parsed.env = process.env.EGG_SERVER_ENV;

  parsed.framework = findFramework(parsed.baseDir, parsed.framework || parsed.customEgg);
  checkFramework(parsed.framework);
  parsed.https = checkHttps(parsed);
  // Without a number the configuration of the application decides.
  parsed.port = parseInt(parsed.port, 10) || undefined;
  parsed.workers = parseInt(parsed.workers, 10);
  if (parsed.startMode === 'worker_threads') Object.assign(parsed, threadPlaces(parsed));
  if (parsed.sticky) parsed.sticky = checkSticky(parsed);
  if (parsed.require) parsed.require = [].concat(parsed.require);

  // Deprecation messages would go to stderr. An environment that is not ours stays as it is.
  if (process.env.NODE_ENV === 'production' && parsed.exitProcess !== false) process.env.NO_DEPRECATION = '*';
  if (isInspected(process.execArgv)) parsed.isDebug = true;
  checkJson(parsed);
  return parsed;
}

/**
 * @param {*} options - as given to startCluster; not changed
 * @return {Object} the same in the forms that index.d.ts names, with nothing added
 * @throws {TypeError|RangeError|SyntaxError} a value of a wrong type or out of range
 */
function readOptions(options) {
  const read = readForms(options, OPTION_NAMES);
  checkOptions(read);
  return read;
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
  if (!merged.baseDir) merged.baseDir = process.cwd();
  return merged;
}

/** The certificate files, with the form `https: true` of old, where they stood beside it. */
function checkHttps(options) {
  let { https } = options;
  if (!https) return https;
  if (https === true) {
    warnEarly('[egg-cluster:deprecated] [master] Please use `https: { key, cert, ca }` instead of `https: true`');
    https = { key: options.key, cert: options.cert };
  }
  assertThat(https.key && fs.existsSync(https.key), 'options.https.key should exists');
  assertThat(https.cert && fs.existsSync(https.cert), 'options.https.cert should exists');
  assertThat(!https.ca || fs.existsSync(https.ca), 'options.https.ca should exists');
  return https;
}

/** Where egg-cluster prints it, for the master has no logger yet. */
function warnEarly(text) {
  if (isJson()) require('./logger').createLogger().warn(text);
  // eslint-disable-next-line no-console -- see above
  else console.warn(text);
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

module.exports = { parseOptions, readOptions, isProduction, readPackage, OPTION_NAMES };
