'use strict';

const assert = require('assert');
const path = require('path');
const test = require('./helpers/test');

const { exportsName } = require('../../lib/framework_exports');
const { tree } = require('./helpers/app');

const CASES = {
  yes: [
    'exports.Application = require("./nothing");',
    'module.exports = { Application, Agent };',
    'Object.defineProperty(exports, "Application", { enumerable: true, get: function () { return app_1.default; } });',
    'module.exports = require("./full");',
    'module.exports = { Application: require("./a"), Agent: require("./b") };',
    'module.exports = { ...require("./full"), extra: 1 };',
    '"use strict"; Object.defineProperty(exports, "__esModule", { value: true });\n__exportStar(require("./full"), exports);',
    'module.exports = require("./chain");',
    'export * from "./full.js";',
  ],
  maybe: [
    'const egg = require("./full"); module.exports = { ...egg };',
    'Object.assign(exports, require("./full"));',
    'const egg = require("./full"); for (const k of Object.keys(egg)) exports[k] = egg[k];',
    'module.exports = { get Application() { return 1; } };',
    'module.exports = { Agent: require("./a"), Application: require("./b") };',
    'if (a) module.exports = require("./full"); else module.exports = require("./none");',
    'module.exports = require("./none").default;',
    'module.exports = require("./none")\n(1);',
    'module.exports = build();',
    'define(module);',
    'module["exports"] = x;',
    'const e = exports; e.Foo = 1;',
    '(function () { this.Application = 1; }).call(exports);',
    'exports["Appli" + "cation"] = 1;',
    'module.exports = class A extends B {};',
    'module.exports = require("./missing");',
    'module.exports = { ["Appli" + "cation"]: 1 };',
    'export { default as Application } from "x";',
    'import * as egg from "./full"; export = egg;',
    'a ? /[`]/ : 0; const x = `${exports.y = 1}`;',
    'this is { not javascript',
  ],
  no: [
    '',
    'module.exports = {};',
    '// exports.Application = 1;\nexports.Agent = 1;',
    '/* module.exports = build() */ exports.Agent = class extends require("./full").Agent {};',
    'const { Application } = require("./full"); exports.Agent = class extends Foo { x() { return Application; } };',
    'exports.text = "exports = build(); Application";',
    'exports.r = /exports\\[Application/;',
    'if (require.main === module) run(); exports.Agent = 1;',
    'exports = module.exports = { Agent: { nested: [ 1 ] } };',
    'module.exports = class { static Agent() {} };',
    'Object.defineProperty(exports, "__esModule", { value: true }); exports.Agent = void 0;',
    'module.exports = require("./none");',
    'module.exports = require("./none")\nmodule.exports.x = 1',
    'module.exports = require("./loop");',
    '__exportStar(require("./none"), exports);\nexports.Agent = 1;',
    'export class Agent {}\nexport * from "./none.js";',
  ],
};

for (const [ answer, sources ] of Object.entries(CASES)) {
  for (const source of sources) {
    test(`${answer}: ${source.replace(/\n/g, ' ').slice(0, 100)}`, t => {
      const dir = tree(t, {
        'index.js': source,
        'full.js': 'exports.Application = 1;',
        'chain.js': 'module.exports = require("./full");',
        'none.js': 'exports.other = 1;',
        'loop.js': 'module.exports = require("./index");',
      });
      assert.strictEqual(exportsName(path.join(dir, 'index.js'), 'Application'), answer);
    });
  }
}

test('egg itself', () => {
  assert.strictEqual(exportsName(require.resolve('egg'), 'Application'), 'yes');
  assert.strictEqual(exportsName(require.resolve('egg'), 'Agent'), 'yes');
  assert.strictEqual(exportsName(require.resolve('egg'), 'NotThere'), 'no');
});

test('a chain of re-exports is followed only so far', t => {
  const files = { 'm0.js': 'exports.Application = 1;' };
  for (let i = 1; i < 200; i++) files[`m${i}.js`] = `module.exports = require("./m${i - 1}");`;
  const dir = tree(t, files);
  assert.strictEqual(exportsName(path.join(dir, 'm50.js'), 'Application'), 'yes');
  assert.strictEqual(exportsName(path.join(dir, 'm199.js'), 'Application'), 'maybe');
});
