'use strict';

// The documents: their links lead somewhere, their log lines are ours, what they name is there. That
// their commands work is what docs_commands.test.js tries.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const test = require('./helpers/test');
const { root, pages, read, fences, anchors, relativeLinks, codeSpans } = require('../helper/markdown');
const { whatIsMissing } = require('../helper/commands');

/** What a block of code may be: the name says what is done with it, too. */
const LANGUAGES = [ 'bash', 'sh', 'text', 'log', 'js', 'ts', 'json', 'yaml', 'diff', 'ini', 'dockerfile', 'nginx', 'promql' ];
/** Pages beside those of docs that are linked from there. */
const OTHERS = [ 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'bench/README.md', 'example/README.md' ];

function brokenLinks(page) {
  const broken = [];
  for (const link of relativeLinks(read(page))) {
    const [ file, anchor ] = link.split('#');
    const target = file === '' ? page : path.posix.join(path.posix.dirname(page), file);
    if (!fs.existsSync(path.join(root, target))) {
      broken.push(`${page}: ${link}: there is no ${target}`);
    } else if (anchor !== undefined && !anchors(read(target)).has(anchor)) {
      broken.push(`${page}: ${link}: there is no such heading`);
    }
  }
  return broken;
}

test('anchors are made as GitHub makes them', () => {
  assert.deepStrictEqual([ ...anchors('# A `b` c, d\n\n```text\n# no\n```\n## E.F\n### [G](h.md) – i\n## E.F\n') ], [ 'a-b-c-d', 'ef', 'g--i', 'ef-1' ]);
});

test('every relative link and anchor leads somewhere', () => {
  const all = [ ...pages(), ...OTHERS ];
  assert.ok(all.length > 20 && all.flatMap(page => relativeLinks(read(page))).length > 100);
  assert.deepStrictEqual(all.flatMap(brokenLinks), []);
});

test('the table of contents has every page of docs', () => {
  const linked = relativeLinks(read('docs/README.md')).map(link => `docs/${link}`);
  const missing = pages().filter(page => page.startsWith('docs/') && page !== 'docs/README.md' && !linked.includes(page));
  assert.deepStrictEqual(missing, []);
});

test('every block of code says what it is, so that no command is left out by mistake', () => {
  for (const page of pages()) {
    for (const { language, line } of fences(read(page))) {
      assert.ok(LANGUAGES.includes(language), `${page}:${line} is ${language || 'of no language'}; it may be ${LANGUAGES.join(', ')}`);
    }
  }
});

test('JSON in the documents is JSON', () => {
  for (const page of pages()) {
    for (const { language, body, line } of fences(read(page))) {
      if (language === 'json') assert.doesNotThrow(() => JSON.parse(body), `${page}:${line}`);
    }
  }
});

test('commands in the text name scripts, commands and options that there are', () => {
  const isCommand = span => /^(npm (run|start|test)|npx |egg-cluster-rs )/.test(span);
  let count = 0;
  for (const page of [ ...pages(), ...OTHERS ]) {
    for (const span of codeSpans(read(page)).filter(isCommand)) {
      count++;
      assert.strictEqual(whatIsMissing(span), null, `${page}: ${span}`);
    }
  }
  assert.ok(count > 20, `${count} found`);
  for (const wrong of [ 'npm run none', 'npx egg-cluster-rs none', 'npx egg-cluster-rs status --none', 'egg-cluster-rs stop --agent', 'npx none', 'node none/a.js' ]) {
    assert.notStrictEqual(whatIsMissing(wrong), null, wrong);
  }
});

/** Everything that writes log lines and messages, with `…` where a value goes. */
function sources() {
  const texts = [];
  const walk = dir => {
    for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
      const file = path.join(dir, entry.name);
      if (entry.isDirectory()) walk(file);
      else if (/\.(js|rs)$/.test(entry.name)) texts.push(fs.readFileSync(file, 'utf8'));
    }
  };
  for (const dir of [ 'lib', 'src', 'node_modules/@egg-cluster-rs/egg-cluster/lib' ]) walk(path.join(root, dir));
  // Strings that go on in the next line, and quotes in them.
  return texts.join('\n').replace(/' \+\n\s*[`']/g, '').replace(/\\'/g, '\'');
}

test('log lines of the documents are those of the sources', () => {
  const text = sources();
  let count = 0;
  for (const page of pages()) {
    for (const { language, body, line } of fences(read(page))) {
      if (language !== 'log') continue;
      for (const logged of body.trim().split('\n')) {
        count++;
        // `app_worker#…:…` is a value, of childName.
        const pieces = logged.replace(/app_worker#…:…|agent_worker#…:…/g, '…').split('…').map(piece => piece.replace(/^ms\b/, '').trim()).filter(piece => piece.length > 2);
        assert.ok(pieces.length > 0, `${page}:${line}: ${logged}`);
        for (const piece of pieces) assert.ok(text.includes(piece), `${page}:${line}: no source has "${piece}" of: ${logged}`);
      }
    }
  }
  assert.ok(count > 20, `${count} found`);
});
