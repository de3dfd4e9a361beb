'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const { inspect } = require('util');
const { parseOptions, OPTION_NAMES } = require('../../lib/options');
const wrong = require('../helper/wrong_options');
const { app } = require('./helpers/app');

test('there are wrong values for every option', () => {
  assert.deepStrictEqual(Object.keys(wrong).sort(), [ ...OPTION_NAMES ].sort());
});

for (const [ name, values ] of Object.entries(wrong)) {
  test(`refuses wrong values of ${name}, and says what it may be`, t => {
    const baseDir = app(t);
    for (const [ value, kind, allowed ] of values) {
      assert.throws(() => parseOptions({ baseDir, [name]: value }), err => {
        const shown = `${name}: ${inspect(value)} -> ${err.stack}`;
        assert.strictEqual(err.name, kind, shown);
        assert.ok(err.message.includes(`options.${name}`), shown);
        assert.match(err.message, allowed, shown);
        assert.ok(namesValue(err.message, value), shown);
        return true;
      });
    }
  });
}

/** The message shows the value, or of an object what is wrong in it: a value, or a key that is not known. */
function namesValue(message, value) {
  const [ key, part ] = innermost('', value);
  return message.includes(/unknown|not known|has no/.test(message) ? key : inspect(part, { depth: 0 }));
}

function innermost(key, value) {
  const isObject = typeof value === 'object' && !Array.isArray(value) && Object.keys(value).length > 0;
  return isObject ? innermost(...Object.entries(value)[0]) : [ key, value ];
}

test('falsy values, and null for any option, mean "not given"', t => {
  const baseDir = app(t);
  const usual = parseOptions({ baseDir });
  for (const name of OPTION_NAMES.filter(other => other !== 'baseDir')) {
    assert.deepStrictEqual(parseOptions({ baseDir, [name]: null }), usual, name);
  }
  assert.deepStrictEqual(parseOptions({ baseDir, framework: '', customEgg: false }).framework, usual.framework);
});
