'use strict';

const assert = require('assert');
const path = require('path');
const { execFileSync, spawnSync } = require('child_process');
const test = require('./helpers/test');

const logger = JSON.stringify(path.join(__dirname, '../../lib/logger.js'));
const eggLogger = JSON.stringify(require.resolve('egg-logger'));

/** Runs a script with `ours` and `theirs`, what both wrote without what differs by the clock. */
function compare(script, env = {}) {
  const run = prelude => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [ '-e', `${prelude}${script}` ], {
      encoding: 'utf8',
      env: { ...process.env, FORCE_COLOR: undefined, ...env },
    });
    assert.strictEqual(status, 0, stderr);
    const same = text => text.replace(/\d\d:\d\d:\d\d,\d\d\d/g, 'TIME').replace(/(INFO|ERROR|WARN|DEBUG) \d+/g, '$1 PID')
      .replace(/pid: \d+/g, 'pid: PID');
    return { stdout: same(stdout), stderr: same(stderr) };
  };
  const ours = run(`const log = require(${logger}).createLogger();`);
  const theirs = run(`const log = new (require(${eggLogger}).EggConsoleLogger)({ level: process.env.EGG_MASTER_LOGGER_LEVEL || 'INFO' });`);
  assert.deepStrictEqual(ours, theirs);
  return ours;
}

const everything = `
  const error = Object.assign(new TypeError('broken'), { code: 'E_X', stack: 'TypeError: broken\\n    at x' });
  for (const level of [ 'debug', 'info', 'warn', 'error' ]) {
    log[level]('%s is %j', level, { a: 1 }, 'more');
    log[level](level);
    log[level]({ b: [ 2 ] });
    log[level]();
  }
  log.error(error);
  log.info('after %d', 1);
  log.warn(error);
`;

for (const [ name, env ] of Object.entries({
  'by default': {},
  'at DEBUG': { EGG_MASTER_LOGGER_LEVEL: 'DEBUG' },
  'at warn': { EGG_MASTER_LOGGER_LEVEL: 'warn' },
  'at NONE': { EGG_MASTER_LOGGER_LEVEL: 'NONE' },
  'at a level that does not exist': { EGG_MASTER_LOGGER_LEVEL: 'LOUD' },
  'with EGG_LOG': { EGG_LOG: 'error' },
  'in colour': { FORCE_COLOR: '1' },
})) {
  test(`it writes what egg-logger would write, ${name}`, () => {
    compare(everything, env);
  });
}

test('errors go to stderr and all else to stdout', () => {
  const { stdout, stderr } = compare(everything);
  assert.match(stderr, /^\d{4}-\d\d-\d\d TIME ERROR PID error is {"a":1} more\n/);
  assert.doesNotMatch(stdout, /ERROR/);
});

test('it is an EggConsoleLogger to whoever looks closer', () => {
  compare(`
    log.disable('console');
    log.info('not seen');
    log.enable('console');
    log.info(log.get('console').level, log instanceof Map, 'redirect' in log, log.size);
  `);
});

test('plain lines do not load egg-logger', () => {
  const script = `const log = require(${logger}).createLogger(); log.info('x'); log.error('y');
    console.log(Object.keys(require.cache).length)`;
  const out = execFileSync(process.execPath, [ '-e', script ], {
    encoding: 'utf8',
    env: { ...process.env, FORCE_COLOR: undefined },
    stdio: [ 'ignore', 'pipe', 'ignore' ],
  });
  // This module, and json_log.js.
  assert.match(out, /INFO \d+ x\n2\n$/);
});
