'use strict';

// What Node has written about the JavaScript that its processes ran (NODE_V8_COVERAGE), as one report.
//
// Each process is converted to lines by itself, and lines are added up. Adding up V8's own ranges of many processes first, as
// c8 and others do, took lines for not run that had run: in one run of 1,700 processes a fifth of all.

const fs = require('fs');
const path = require('path');
const { fileURLToPath } = require('url');
const { createCoverageMap } = require('istanbul-lib-coverage');
const { createContext } = require('istanbul-lib-report');
const reports = require('istanbul-reports');
const v8ToIstanbul = require('v8-to-istanbul');

/**
 * @param {Object} places - where things are
 * @param {string} places.from - the directory that Node has written to
 * @param {string} places.to - the directory for the pages
 * @param {string[]} files - those that are reported; one that no process has loaded counts as not run
 * @return {Promise<void>} when the figures are on stdout
 */
async function reportCoverage({ from, to }, files) {
  const coverage = createCoverageMap({});
  for (const file of files) await add(coverage, file, []);
  const wanted = new Set(files);
  for (const name of fs.readdirSync(from)) {
    for (const { url, functions } of scriptsOf(path.join(from, name))) {
      const file = url.startsWith('file:') ? fileURLToPath(url) : null;
      if (wanted.has(file)) await add(coverage, file, functions);
    }
  }
  const context = createContext({ dir: to, coverageMap: coverage });
  for (const kind of [ 'text', 'lcov' ]) reports.create(kind).execute(context);
}

/** Empty where the process was killed while it wrote. */
function scriptsOf(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).result;
  } catch (_) {
    return [];
  }
}

/** Without functions: no line of it has run. */
async function add(coverage, file, functions) {
  const converter = v8ToIstanbul(file);
  await converter.load();
  const none = [{ functionName: '(none)', isBlockCoverage: true, ranges: [{ startOffset: 0, endOffset: fs.statSync(file).size, count: 0 }] }];
  converter.applyCoverage(functions.length > 0 ? functions : none);
  coverage.merge(converter.toIstanbul());
  converter.destroy();
}

module.exports = { reportCoverage };
