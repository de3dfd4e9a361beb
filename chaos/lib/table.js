'use strict';

// The results of a scenario as a table for the terminal: a row per master, medians where it ran several times.

const { median } = require('../../bench/lib/stats');
const { OUTCOMES } = require('./exchange');

const VERDICTS = [ 'retriable', 'readByDead', 'takenByDead', 'unread', 'lost' ];
const MIB = 2 ** 20;

/** Column titles and how to get a figure from a result. */
const COLUMNS = [
  ...OUTCOMES.map(outcome => [ outcome, ({ counts }) => counts[outcome] ]),
  ...VERDICTS.map(verdict => [ verdict, ({ failures }) => failures.filter(failure => failure.verdict === verdict).length ]),
  [ 'serving', ({ facts: { end, leastServing } }) => (end ? leastServing : NaN) ],
  [ 'at end', ({ facts: { end } }) => (end ? end.appWorkers : NaN) ],
  [ 'fds', ({ facts: { start, end } }) => (end ? end.descriptors - start.descriptors : NaN) ],
  [ 'RSS MiB', ({ facts: { start, end } }) => (end ? (end.rss - start.rss) / MIB : NaN) ],
];

/**
 * @param {Object} scenario - that ran
 * @param {Object[]} rows - `{label, results}` of each master; each result with what is `broken`
 * @return {string} the table, with the verdicts
 */
function formatScenario(scenario, rows) {
  const head = [ 'peer', ...COLUMNS.map(([ title ]) => title) ];
  const body = rows.map(({ label, results }) => [ label, ...COLUMNS.map(([ , figure ]) => formatCell(results.map(figure))) ]);
  const lines = [ '', `${scenario.title}: ${scenario.promise}`, '', ...formatTable([ head, ...body ]), '' ];
  for (const { label, results } of rows) {
    for (const result of results) {
      const run = results.length > 1 ? `, seed ${result.seed}` : '';
      lines.push(`  ${label}${run}: ${result.broken.length === 0 ? 'kept' : `BROKEN: ${result.broken.join('; ')}`}`);
      if (scenario.details) lines.push(`    ${scenario.details(result)}`);
    }
  }
  return lines.join('\n');
}

/** `7 [5-9]`: median, least and most of several runs; `-` where there is nothing to count. */
function formatCell(values) {
  const known = values.filter(value => !Number.isNaN(value));
  if (known.length === 0) return '-';
  const spread = known.length > 1 ? ` [${format(Math.min(...known))}-${format(Math.max(...known))}]` : '';
  return format(median(known)) + spread;
}

function format(value) {
  return Number.isInteger(value) ? String(value) : value.toFixed(1);
}

function formatTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)));
  const align = (cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]));
  return rows.map(row => '  ' + row.map(align).join('  '));
}

module.exports = { formatScenario };
