'use strict';

const assert = require('assert');
const { execFileSync } = require('child_process');
const path = require('path');
const test = require('./helpers/test');

const ROOT = path.join(__dirname, '..', '..');
/** Parts of Node's library that cost a master memory for as long as it lives, up to a megabyte each. */
const COSTLY = [ 'net', 'worker_threads', 'cluster', 'child_process', 'http', 'crypto', 'assert' ];

// Lines are counted in the sources: see scripts/coverage.js.
test('a master is loaded in one file', { skip: process.env.NODE_V8_COVERAGE !== undefined }, () => {
  const script = `
    require(${JSON.stringify(ROOT)});
    require('fs').writeSync(1, JSON.stringify(Object.keys(require.cache)));
  `;
  const files = JSON.parse(execFileSync(process.execPath, [ '-e', script ], { encoding: 'utf8' }));
  assert.deepStrictEqual(files.map(file => path.relative(ROOT, file)), [ 'index.js', 'lib/master.js', 'lib/bundle.js' ]);
});

test('what few masters need is loaded only where it is needed', () => {
  const script = `
    const before = new Set(process.moduleLoadList);
    require(${JSON.stringify(ROOT)});
    require(${JSON.stringify(path.join(ROOT, 'lib', 'options'))}).parseOptions({ baseDir: ${JSON.stringify(path.join(ROOT, 'bench', 'fixture'))},
      framework: ${JSON.stringify(path.join(ROOT, 'bench', 'fixture', 'framework'))}, control: { tcp: 9100 } });
    const loaded = process.moduleLoadList.filter(name => !before.has(name)).map(name => name.replace('NativeModule ', ''));
    require('fs').writeSync(1, JSON.stringify(loaded));
  `;
  const loaded = JSON.parse(execFileSync(process.execPath, [ '-e', script ], { encoding: 'utf8' }));
  assert.ok(loaded.includes('os'), loaded.join());
  assert.deepStrictEqual(COSTLY.filter(name => loaded.includes(name)), []);
});
