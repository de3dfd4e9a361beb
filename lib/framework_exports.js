'use strict';

/**
 * Tells from the source text alone whether a module exports a name, so that the master
 * need not execute a whole framework to see that it has `Application` and `Agent`.
 *
 * The answer is three-valued. `NO` is given only when every place that touches the
 * module's exports is understood; wherever that is in doubt the answer is `MAYBE`, and it
 * is left to the worker, which really loads the framework, to find out.
 */

const fs = require('fs');
const path = require('path');
const { createRequire } = require('module');

const YES = 'yes';
const NO = 'no';
const MAYBE = 'maybe';

/** Bounds for following re-exports, in files. */
const MAX_FILES = 64;
/** Larger files are bundles, in which nothing is found by these means. In bytes. */
const MAX_SIZE = 1024 * 1024;

/**
 * @param {string} file - absolute path of the module's main file
 * @param {string} name - the export to look for
 * @return {'yes'|'no'|'maybe'}
 */
function exportsName(file, name) {
  return look(file, name, new Set());
}

function look(file, name, visited) {
  if (visited.has(file)) return NO;
  if (visited.size >= MAX_FILES) return MAYBE;
  visited.add(file);
  const source = readSource(file);
  if (source === null) return MAYBE;
  if (path.extname(file) === '.json') return lookInJson(source, name);
  if (isPlainlyExported(source, name)) return YES;

  const module = parseCommonJs(source) || parseEsm(source);
  if (module.exports.includes(name)) return YES;
  const followed = module.reexports.map(specifier => lookThrough(file, specifier, name, visited));
  if (followed.includes(YES)) return YES;
  if (followed.includes(MAYBE)) return MAYBE;
  return module.isEsm ? lookInEsm(source, name) : lookInCommonJs(source, name, module.reexports);
}

/**
 * `exports.NAME = …` at the beginning of a line, as most frameworks have it. For them the lexer need not be loaded, which
 * with its work takes 2.5 MB. A block comment may have such a line, too: then the worker finds out.
 */
function isPlainlyExported(source, name) {
  return new RegExp(`^(?:module\\.)?exports\\.${name}\\s*=(?!=)`, 'm').test(source);
}

function readSource(file) {
  try {
    return fs.statSync(file).size > MAX_SIZE ? null : fs.readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}

function lookInJson(source, name) {
  try {
    const value = JSON.parse(source);
    return value && value[name] ? YES : NO;
  } catch {
    return MAYBE;
  }
}

function lookThrough(file, specifier, name, visited) {
  let target;
  try {
    target = createRequire(file).resolve(specifier);
  } catch {
    return MAYBE;
  }
  return path.isAbsolute(target) ? look(target, name, visited) : NO;
}

/** @return {{exports: string[], reexports: string[], isEsm: boolean}|null} null: not CommonJS */
function parseCommonJs(source) {
  try {
    const { exports, reexports } = require('cjs-module-lexer').parse(source);
    return { exports, reexports, isEsm: false };
  } catch {
    return null;
  }
}

/** ES modules, and TypeScript where a hook of the master compiles it. */
function parseEsm(source) {
  const reexports = [];
  for (const match of source.matchAll(/\bexport\s*\*\s*from\s*(['"])([^'"\n]+)\1/g)) {
    reexports.push(match[2]);
  }
  return { exports: [], reexports, isEsm: true };
}

function lookInEsm(source, name) {
  // `export =` is TypeScript's way to write module.exports.
  if (!/\bexport\b(?!\s*=)/.test(source) || /\bexport\s*=|\bmodule\.exports\b/.test(source)) return MAYBE;
  return new RegExp(`\\b${name}\\b`).test(source) ? MAYBE : NO;
}

/**
 * Look at each place that names `exports` or `module`: one that gives away `name`, or one
 * that is not understood, makes the answer MAYBE. `followed` are the modules that are
 * known not to export `name`.
 */
function lookInCommonJs(source, name, followed) {
  const code = blankCommentsAndStrings(source);
  if (code === null) return MAYBE;
  // Also through `this`, or through another name of the exports.
  if (new RegExp(`\\.\\s*${name}\\s*=(?!=)`).test(code)) return MAYBE;
  for (const match of code.matchAll(/(?<![\w$.])(?:module\s*\.\s*exports|exports|module)(?![\w$])/g)) {
    const use = { code, source, name, followed, start: match.index, end: match.index + match[0].length };
    const isModule = match[0] === 'module';
    if (isModule ? !isHarmlessModuleUse(use) : !isExportOfOther(use)) return MAYBE;
  }
  return NO;
}

/** `module.id`, `require.main === module`, `{ module: … }`: nothing that sets exports. */
function isHarmlessModuleUse({ code, start, end }) {
  return /^\s*(?:\.\s*(?!exports\b)[\w$]|:)/.test(code.slice(end, end + 80)) ||
    /[=!]==?\s*$/.test(code.slice(Math.max(0, start - 8), start));
}

/** The use is understood, and what it exports is not `name`. */
function isExportOfOther(use) {
  return EXPORT_FORMS.some(form => form(use));
}

/** The ways to write to `exports` that are understood. */
const EXPORT_FORMS = [
  // exports.other = …
  ({ code, end, name }) => {
    const property = /^\s*\.\s*([\w$]+)/.exec(code.slice(end, end + 200));
    return property !== null && property[1] !== name;
  },
  // { exports: … }
  ({ code, end }) => /^\s*:/.test(code.slice(end, end + 80)),
  // exports = module.exports = …: the second one is looked at by itself
  ({ code, end }) => /^\s*=\s*module\s*\.\s*exports\b/.test(code.slice(end, end + 80)),
  // Object.defineProperty(exports, 'other', …
  ({ code, source, start, end, name }) => {
    if (!/\bObject\s*\.\s*defineProperty\s*\(\s*$/.test(code.slice(Math.max(0, start - 80), start))) return false;
    const key = /^\s*,\s*(['"])([\w$]+)\1/.exec(source.slice(end, end + 200));
    return key !== null && key[2] !== name;
  },
  // module.exports = class { … }, module.exports = function …
  ({ code, end }) => /^\s*=\s*(?:class\b(?!\s*[\w$]*\s*extends\b)|(?:async\s+)?function\b)/.test(code.slice(end, end + 200)),
  // module.exports = require('followed');
  ({ code, source, end, followed }) => {
    const statement = /^\s*=\s*require\s*\(\s*(['"])( *)\1\s*\)(?=\s*;|\s*$|[ \t]*\n\s*[\w$}])/.exec(code.slice(end));
    return statement !== null && followed.includes(literalIn(source, end, statement[0]));
  },
  // __exportStar(require('followed'), exports)
  ({ code, source, start, followed }) => {
    const call = /\b__exportStar\s*\(\s*require\s*\(\s*(['"])( *)\1\s*\)\s*,\s*$/.exec(code.slice(0, start));
    return call !== null && followed.includes(literalIn(source, call.index, call[0]));
  },
  // module.exports = { other: …, … }
  ({ code, source, end, name }) => {
    const open = /^\s*=\s*\{/.exec(code.slice(end, end + 80));
    if (open === null) return false;
    const from = end + open[0].length;
    const to = closingBrace(code, from);
    if (to < 0) return false;
    const body = code.slice(from, to);
    const hasOpenKeys = body.includes('...') || /(?:^|,)\s*\[/.test(body);
    return !hasOpenKeys && !new RegExp(`\\b${name}\\b`).test(source.slice(from, to));
  },
];

/** The one string literal in a piece of code, read from the source at the same place. */
function literalIn(source, start, code) {
  return /(['"])([^'"]*)\1/.exec(source.slice(start, start + code.length))[2];
}

/** @return {number} the index of the brace that closes the one before `from`, or -1 */
function closingBrace(code, from) {
  let depth = 1;
  for (let i = from; i < code.length; i++) {
    if (code[i] === '{') depth++;
    if (code[i] === '}' && --depth === 0) return i;
  }
  return -1;
}

/** What a slash can follow when it begins a regular expression and not a division. */
const BEFORE_REGEXP = /(?:^|[=(,;:!&|?{}[+\-*%~^<>]|\b(?:return|typeof|case|in|of|delete|void|throw|new))\s*$/;

/** Tokens whose inside is no code, each with the whole of it. */
const TOKENS = {
  lineComment: /\/\/[^\n]*/y,
  blockComment: /\/\*[^]*?\*\//y,
  string: /'(?:[^'\\\n]|\\[^])*'|"(?:[^"\\\n]|\\[^])*"/y,
  template: /`(?:[^`\\]|\\[^])*`/y,
  regexp: /\/(?:[^/\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//y,
};

/**
 * Replace comments, strings and regular expressions with blanks of the same length.
 * @return {string|null} null where the text is not understood
 */
function blankCommentsAndStrings(source) {
  let code = '';
  for (let i = 0; i < source.length;) {
    const kind = tokenAt(source, i, code);
    if (kind === null) {
      code += source[i++];
      continue;
    }
    const token = TOKENS[kind];
    token.lastIndex = i;
    const match = token.exec(source);
    // An end is missing, or a template holds code: not worth understanding.
    if (match === null || (kind === 'template' && match[0].includes('${'))) return null;
    code += blank(match[0], kind);
    i += match[0].length;
  }
  return code;
}

function tokenAt(source, i, code) {
  switch (source[i]) {
    case '\'':
    case '"':
      return 'string';
    case '`':
      return 'template';
    case '/':
      if (source[i + 1] === '/') return 'lineComment';
      if (source[i + 1] === '*') return 'blockComment';
      return BEFORE_REGEXP.test(code.slice(-200)) ? 'regexp' : null;
    default:
      return null;
  }
}

/** Strings keep their quotes, so that they go on being a value before a slash. */
function blank(text, kind) {
  const inside = text.slice(1, -1).replace(/[^\n]/g, ' ');
  if (kind === 'string' || kind === 'template') return text[0] + inside + text[0];
  return kind === 'regexp' ? `0${inside}0` : text.replace(/[^\n]/g, ' ');
}

module.exports = { exportsName, YES, NO, MAYBE };
