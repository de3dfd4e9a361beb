'use strict';

// Reads the documents of the repository: their blocks of code, headings and links.

const fs = require('fs');
const path = require('path');

const root = path.join(__dirname, '../..');
const FENCE = /^( *)```(.*)\n([^]*?)^\1```$/gm;

/** @return {string[]} the README and the pages of docs, as paths below the root */
function pages() {
  return [ 'README.md', ...fs.readdirSync(path.join(root, 'docs')).filter(name => name.endsWith('.md')).map(name => `docs/${name}`) ];
}

function read(page) {
  return fs.readFileSync(path.join(root, page), 'utf8');
}

/** @return {Array<{language: string, body: string, line: number}>} the blocks of code */
function fences(text) {
  return [ ...text.matchAll(FENCE) ].map(({ 1: indent, 2: language, 3: body, index }) => ({
    language, body: body.split('\n').map(line => line.slice(indent.length)).join('\n'), line: text.slice(0, index).split('\n').length,
  }));
}

/** The text without its blocks of code. */
function prose(text) {
  return text.replace(FENCE, '');
}

/** @return {Set<string>} the anchors of a page, as GitHub makes them of its headings */
function anchors(text) {
  const found = new Set();
  for (const [ , heading ] of prose(text).matchAll(/^#+ (.+)$/gm)) {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase();
    const base = words.replace(/[^\p{L}\p{N}\p{M} _-]/gu, '').trim().replace(/ /g, '-');
    let anchor = base;
    for (let n = 1; found.has(anchor); n++) anchor = `${base}-${n}`;
    found.add(anchor);
  }
  return found;
}

/** @return {string[]} the targets of links and images that are no addresses of the web */
function relativeLinks(text) {
  const targets = [ ...prose(text).replace(/`[^`\n]*`/g, '').matchAll(/\]\(([^)\s]+)\)/g) ].map(match => match[1]);
  return targets.filter(target => !/^[a-z]+:/.test(target));
}

/** @return {string[]} what stands between single backticks in the text */
function codeSpans(text) {
  return [ ...prose(text).matchAll(/`([^`\n]+)`/g) ].map(match => match[1]);
}

module.exports = { root, pages, read, fences, prose, anchors, relativeLinks, codeSpans };
