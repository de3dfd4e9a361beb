'use strict';

// Turns the series of a suite into a summary, and the summary into a table for the terminal.

const { BASELINE, OURS } = require('./peers');
const { summarise, ratios } = require('./stats');

/**
 * @param {Object} suite - the suite that ran
 * @param {Object} rows - what its run() returned: series by label and metric
 * @return {{rows: Object[], goals: Object[]}} medians, spreads, ratios to the baseline of the same run, and goals
 */
function summariseSuite(suite, rows) {
  const base = rows[BASELINE];
  const summary = Object.entries(rows).map(([ label, { failed, series } ]) => {
    const metrics = {};
    for (const { key } of suite.metrics) {
      metrics[key] = { ...summarise(series[key]), ratio: base ? ratios(series[key], base.series[key]) : null };
    }
    return { label, failed, metrics };
  });
  const ours = summary.find(row => row.label === OURS);
  return { rows: summary, goals: suite.goals.map(goal => judge(goal, ours)) };
}

function judge(goal, ours) {
  const ratio = ours && ours.metrics[goal.metric].ratio;
  if (!ratio) return { ...goal, ratio: null, met: null };
  const met = goal.atMost !== undefined ? ratio.median <= goal.atMost : ratio.median >= goal.atLeast;
  return { ...goal, ratio: ratio.median, met };
}

/**
 * @param {Object} suite - the suite that ran
 * @param {{rows: Object[], goals: Object[]}} summary - of summariseSuite
 * @return {string} the table, with a line for each goal
 */
function formatSuite(suite, summary) {
  const head = [ 'peer', ...suite.metrics.map(metric => `${metric.title} (${metric.unit})`), 'failed' ];
  const body = summary.rows.map(row => [
    row.label,
    ...suite.metrics.map(({ key }) => formatCell(row.metrics[key], row.label)),
    String(row.failed),
  ]);
  const lines = [ '', suite.title, '', ...formatTable([ head, ...body ]) ];
  for (const goal of summary.goals) lines.push(formatGoal(goal, suite));
  return lines.join('\n');
}

/** `12.3 [11.9-12.8] 0.45x`: median, least and most of the rounds, ratio to the baseline. */
function formatCell({ median, min, max, ratio }, label) {
  const times = ratio && label !== BASELINE ? `  ${ratio.median.toFixed(2)}x` : '';
  return `${formatNumber(median)} [${formatNumber(min)}-${formatNumber(max)}]${times}`;
}

function formatNumber(value) {
  if (value >= 1000) return String(Math.round(value));
  return value.toFixed(value >= 100 ? 0 : 1);
}

function formatGoal(goal, suite) {
  const { title } = suite.metrics.find(metric => metric.key === goal.metric);
  const wanted = goal.atMost !== undefined ? `at most ${goal.atMost}x` : `at least ${goal.atLeast}x`;
  const seen = goal.met === null ? 'not measured' : `${goal.ratio.toFixed(2)}x, ${goal.met ? 'met' : 'NOT MET'}`;
  return `  goal: ${title} ${wanted} of ${BASELINE}: ${seen}`;
}

function formatTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)));
  const lines = rows.map(row => '  ' + row.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd());
  lines.splice(1, 0, '  ' + widths.map(width => '-'.repeat(width)).join('  '));
  return [ ...lines, '' ];
}

module.exports = { summariseSuite, formatSuite };
