'use strict';

// The names and types of the options stand in three places: index.d.ts, lib/options.js and
// docs/options.md. This test reads all of them, and has no list of its own.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const test = require('./helpers/test');
const ts = require('typescript');
const { OPTION_NAMES } = require('../../lib/options');

const root = path.join(__dirname, '../..');
const read = name => fs.readFileSync(path.join(root, name), 'utf8');

/** @return {Map<string, {type: string, doc: string}>} the members of an interface of index.d.ts, without index signatures */
function membersOf(interfaceName) {
  const source = ts.createSourceFile('index.d.ts', read('index.d.ts'), ts.ScriptTarget.Latest, true);
  const found = source.statements.find(node => ts.isInterfaceDeclaration(node) && node.name.text === interfaceName);
  assert.ok(found, `index.d.ts has no interface ${interfaceName}`);
  return new Map(found.members.filter(ts.isPropertySignature).map(member => [ member.name.getText(source), {
    type: typeText(member.type, source),
    doc: (member.jsDoc || []).map(comment => comment.getText(source)).join('\n'),
  } ]));
}

function typeText(type, source) {
  const parts = ts.isUnionTypeNode(type) ? [ ...type.types ] : [ type ];
  return parts.map(part => part.getText(source)).filter(text => text !== 'null').join(' | ');
}

/** @return {Map<string, {type: string, cells: string[]}>} the table of docs/options.md */
function optionTable() {
  const section = read('docs/options.md').split('\n# By flag')[0];
  const rows = section.split('\n').filter(line => line.startsWith('| `')).map(line => line.split('|').slice(1, -1).map(cell => cell.trim()));
  return new Map(rows.map(([ name, type, ...cells ]) => [ name.replace(/`/g, ''), { type: type.replace(/ or /g, ' | '), cells } ]));
}

test('index.d.ts, lib/options.js and docs/options.md have the same options', () => {
  const typed = [ ...membersOf('ClusterOptions').keys() ];
  assert.ok(typed.length > 20, `read only ${typed}`);
  assert.deepStrictEqual([ ...OPTION_NAMES ].sort(), [ ...typed ].sort());
  assert.deepStrictEqual([ ...optionTable().keys() ].sort(), [ ...typed ].sort());
});

test('docs/options.md names the type that index.d.ts gives, and says what each option is', () => {
  const table = optionTable();
  for (const [ name, { type } ] of membersOf('ClusterOptions')) {
    assert.strictEqual(table.get(name).type, type, name);
    const [ , from, meaning ] = table.get(name).cells;
    assert.ok(from && meaning, `the row of ${name} has an empty cell`);
  }
});

test('index.d.ts documents each option, and each key of those that are objects', () => {
  const interfaces = [ 'ClusterOptions', 'HttpsOptions', 'StickyOptions', 'DrainOptions', 'PrestartOptions', 'RestartOptions', 'HoldOptions', 'LimitsOptions', 'WatchdogOptions', 'ControlOptions' ];
  for (const interfaceName of interfaces) {
    for (const [ name, { doc } ] of membersOf(interfaceName)) {
      assert.match(doc, /\/\*\*[^]*\w{3}[^]*\*\//, `${interfaceName}.${name} has no comment`);
    }
  }
});

test('docs/options.md names the keys of our own options that index.d.ts has', () => {
  const table = optionTable();
  for (const name of [ 'sticky', 'drain', 'prestart', 'restart', 'hold', 'limits', 'watchdog', 'control' ]) {
    const [ , interfaceName ] = /(\w+Options)/.exec(table.get(name).type);
    const [ , keys ] = /\{ ([^}]+) \}/.exec(table.get(name).cells[2]);
    assert.deepStrictEqual(keys.split(', ').sort(), [ ...membersOf(interfaceName).keys() ].sort(), name);
  }
});

test('for each option there is a value that is an error in an editor', () => {
  // That it is one is what tsc says of this file.
  const wrong = [ ...read('__test__/types/consumer.ts').matchAll(/@ts-expect-error[^\n]*\nstartCluster\(\{ ([^)]*)\}\)/g) ];
  const covered = wrong.flatMap(([ , options ]) => [ ...options.matchAll(/(\w+):/g) ].map(([ , name ]) => name));
  assert.deepStrictEqual([ ...membersOf('ClusterOptions').keys() ].filter(name => !covered.includes(name)), []);
});
