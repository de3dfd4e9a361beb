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

/** @param {string[]} args - for the JavaScript test runner */
function testJavaScript(args) {
  const unitDir = path.join(ROOT, '__test__', 'unit');
  const units = fs.existsSync(unitDir) ? fs.readdirSync(unitDir).filter(name => name.endsWith('.test.js')) : [];
  if (units.length > 0 && args.length === 0) {
    run('JavaScript unit tests', process.execPath, [ '--test', ...units.map(name => path.join(unitDir, name)) ]);
  }
  run('JavaScript tests', process.execPath, [ path.join(ROOT, '__test__', 'run.js'), ...args ]);
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
