'use strict';

const assert = require('assert');
const path = require('path');
const test = require('./helpers/test');

const { frameworkMain } = require('../../lib/framework_main');
const { tree } = require('./helpers/app');

const CASES = [
  [ 'what require finds goes first', { main: 'lib/a.js', module: 'b.mjs' }, [ 'lib/a.js', 'b.mjs' ], 'lib/a.js' ],
  [ 'exports, by itself', { exports: './src/index.js' }, [ 'src/index.js' ], 'src/index.js' ],
  [ 'exports, for the package itself', { exports: { './deep': './deep.js', '.': './a.mjs' } }, [ 'deep.js', 'a.mjs' ], 'a.mjs' ],
  [ 'exports with conditions', { exports: { import: { types: './a.d.ts', default: './a.mjs' } } }, [ 'a.d.ts', 'a.mjs' ], 'a.mjs' ],
  [ 'exports that name no file of today', { exports: './dist/index.js' }, [ 'index.mjs' ], 'index.mjs' ],
  [ 'TypeScript that is not compiled yet', { main: 'dist/index.js' }, [ 'index.ts' ], 'index.ts' ],
  [ 'TypeScript that tshy compiles', { main: 'dist/index.js', tshy: { exports: { '.': './src/index.ts' } } }, [ 'src/index.ts' ], 'src/index.ts' ],
];

for (const [ what, pkg, files, expected ] of CASES) {
  test(`the main file of a framework: ${what}`, t => {
    const root = tree(t, { 'package.json': pkg, ...Object.fromEntries(files.map(file => [ file, '' ])) });
    assert.strictEqual(frameworkMain(root), path.join(root, expected));
  });
}

test('a framework without a main file is refused as require refuses it', t => {
  assert.throws(() => frameworkMain(tree(t, { 'package.json': { main: 'lib' } })), { code: 'MODULE_NOT_FOUND' });
});
