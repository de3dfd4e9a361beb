'use strict';

// docs/compatibility.md names a test for each line; here each is looked for in its file.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const ts = require('typescript');
const test = require('./helpers/test');

const root = path.join(__dirname, '../..');
const tests = path.join(root, '__test__');
/** What declares a test, under whatever name a file has it. */
const DECLARES = /^(test|own|ownOnly|check)$/;
/** Declares what every generation of Egg is promised, each with the name of that Egg in front. */
const PROMISES = { call: 'promise', file: 'helper/egg_promises.js' };

const text = fs.readFileSync(path.join(root, 'docs/compatibility.md'), 'utf8');

/** @return {Array<{line: string, cells: string[]}>} the rows of all tables, without heads */
function rows(markdown) {
  return markdown.split('\n').filter(line => line.startsWith('| ') && !line.startsWith('| what is observed'))
    .map(line => ({ line, cells: line.slice(1, -1).split(/(?<!\\)\|/).map(cell => cell.trim()) }));
}

/** @return {Array<{file: string, name: string}>} the tests of a cell */
function references(cell) {
  return cell.split('<br>').map(reference => {
    const [ , file, name ] = /^`([\w/]+\.test\.js)` › (.+)$/.exec(reference) || assert.fail(`no test is named by: ${reference}`);
    return { file, name: name.replace(/\\([`|])/g, '$1') };
  });
}

const declared = new Map();

/** @return {RegExp[]} a pattern for each test of a file; what a template inserts has to stand in the file, too */
function testsOf(file) {
  if (!declared.has(file)) declared.set(file, readTests(file));
  return declared.get(file);
}

function readTests(file) {
  const source = fs.readFileSync(path.join(tests, file), 'utf8');
  const parsed = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const found = [];
  const visit = node => {
    const callee = ts.isCallExpression(node) && node.expression.getText(parsed);
    if (callee && DECLARES.test(callee)) {
      const name = [ ...node.arguments ].reverse().find(argument => ts.isStringLiteralLike(argument) || ts.isTemplateExpression(argument));
      if (name) found.push(patternOf(name));
    }
    if (callee === PROMISES.call) found.push(...promisesTo(node.arguments[0], parsed));
    ts.forEachChild(node, visit);
  };
  visit(parsed);
  return { source, patterns: found };
}

/** @return {RegExp[]} a pattern for each test of a call of `promise({ name, … })` */
function promisesTo(argument, parsed) {
  const named = argument.properties.find(property => property.name && property.name.getText(parsed) === 'name');
  const prefix = escape(`${named.initializer.text}: `);
  return testsOf(PROMISES.file).patterns.map(pattern => new RegExp(pattern.source.replace('^', `^${prefix}`)));
}

function patternOf(name) {
  if (ts.isStringLiteralLike(name)) return new RegExp(`^${escape(name.text)}$`);
  return new RegExp(`^${escape(name.head.text)}${name.templateSpans.map(span => `(.+)${escape(span.literal.text)}`).join('')}$`);
}

function escape(literal) {
  return literal.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function isDeclared({ file, name }) {
  const { source, patterns } = testsOf(file);
  return patterns.some(pattern => {
    const [ , ...inserted ] = pattern.exec(name) || [];
    return pattern.test(name) && inserted.every(part => source.replace(/\\'/g, '\'').includes(part));
  });
}

test('every line of docs/compatibility.md names tests that exist', () => {
  const all = rows(text);
  assert.ok(all.length > 100, `only ${all.length} rows were read`);
  for (const { line, cells } of all) {
    assert.strictEqual(cells.length, 3, `not three cells: ${line}`);
    for (const reference of references(cells[1])) {
      assert.ok(fs.existsSync(path.join(tests, reference.file)), `no such file: ${line}`);
      assert.ok(isDeclared(reference), `${reference.file} has no test '${reference.name}'`);
    }
  }
});

test('a test that does not exist is noticed', () => {
  const has = (file, name) => isDeclared({ file, name });
  assert.ok(has('close.test.js', 'SIGQUIT ends apps, agent and master with code 0 and says so'));
  assert.ok(!has('close.test.js', 'SIGHUP ends apps, agent and master with code 0 and says so'));
  assert.ok(!has('close.test.js', 'the apps end first, then the agents'));
  // A reason of `ownOnly` is no test.
  assert.ok(!has('close.test.js', 'cuts requests in flight'));
  assert.throws(() => references('`close.test.js`'), /no test is named/);
});
