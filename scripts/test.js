'use strict';

// `npm test`: set-up, then all tests, the JavaScript suite last.
// `npm test -- rust ARGS` and `npm test -- js ARGS` run one part and hand the rest on.

const fs = require('fs');
const path = require('path');
const { ROOT, StepError, run, ask, main } = require('./steps');
const { setup } = require('./setup');
const { installEggs } = require('./eggs');

/** @param {string[]} args - for the Rust test runner */
function testRust(args) {
  if (ask('cargo', [ 'nextest', '--version' ])) {
    run('Rust tests (cargo nextest)', 'cargo', [ 'nextest', 'run', ...args ]);
    // nextest leaves the examples in doc comments out.
    if (args.length === 0) run('Rust doc tests', 'cargo', [ 'test', '--doc' ]);
  } else {
    run('Rust tests (cargo test)', 'cargo', [ 'test', ...args ]);
  }
}

const TESTS = path.join(ROOT, '__test__');

/** @return {string[]} the test files of a directory whose names contain one of the parts */
function testFiles(directory, parts) {
  const isWanted = name => parts.length === 0 || parts.some(part => name.includes(part));
  return fs.readdirSync(directory).filter(name => name.endsWith('.test.js') && isWanted(name)).map(name => path.join(directory, name));
}

/** @param {string[]} parts - of file names; without any all files */
function testJavaScript(parts) {
  const units = testFiles(path.join(TESTS, 'unit'), parts);
  if (units.length > 0) run('JavaScript unit tests', process.execPath, [ '--test', ...units ]);
  // It has no file to run where only unit tests have such a name.
  if (units.length > 0 && testFiles(TESTS, parts).length === 0) return;
  run('JavaScript tests', process.execPath, [ path.join(TESTS, 'run.js'), ...parts ]);
}

main(() => {
  const [ part, ...args ] = process.argv.slice(2);
  if (part !== undefined && part !== 'rust' && part !== 'js') {
    throw new StepError(`no test part is called ${part}: use 'npm test', 'npm test -- rust NAME' or 'npm test -- js NAME'`);
  }
  setup();
  if (part !== 'js') testRust(args);
  if (part !== 'rust') {
    installEggs();
    testJavaScript(args);
  }
});
