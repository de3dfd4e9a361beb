'use strict';

// `npm run lint`: every check that needs no running program. All of them run, also after one has failed.

const fs = require('fs');
const path = require('path');
const { ROOT, StepError, run, ask, localBin, main } = require('./steps');
const { setup } = require('./setup');

const CONSUMER = path.join(ROOT, '__test__', 'types', 'consumer.ts');

function checks() {
  const list = [
    [ 'rustfmt', 'cargo', [ 'fmt', '--check' ] ],
    [ 'clippy', 'cargo', [ 'clippy', '--all-targets', '--quiet', '--', '-D', 'warnings' ] ],
    [ 'eslint', localBin('eslint'), [ '.', '--max-warnings', '0' ] ],
    [ 'package contents', process.execPath, [ path.join(__dirname, 'check-package.js') ] ],
  ];
  if (fs.existsSync(CONSUMER)) list.push([ 'types (tsc)', localBin('tsc'), [ '--project', ROOT ] ]);
  if (ask('cargo', [ 'deny', '--version' ])) {
    // Advisories need the network and change from day to day: a scheduled workflow checks them.
    list.push([ 'cargo deny', 'cargo', [ 'deny', '--offline', 'check', 'bans', 'licenses', 'sources' ] ]);
  }
  return list;
}

main(() => {
  // eslint, tsc and the package check need what set-up lays down.
  setup();
  const failed = [];
  for (const [ title, command, args ] of checks()) {
    try {
      run(title, command, args);
    } catch (err) {
      if (!(err instanceof StepError)) throw err;
      console.error(`  ${err.message}`);
      failed.push(title);
    }
  }
  if (failed.length > 0) throw new StepError(`lint failed: ${failed.join(', ')}`);
});
