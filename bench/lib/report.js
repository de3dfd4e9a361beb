'use strict';

// Turns the series of a suite into a summary, and the summary into a table for the terminal.

const { BASELINE, OURS } = require('./peers');
const { summarise, ratios } = require('./stats');

/**
 * @param {Object} suite - the suite that ran
 * @param {Object} rows - what its run() returned: series by label and metric; a peer may lack some
 * @return {{rows: Object[], goals: Object[]}} medians, spreads, ratios to the baseline of the same run, and goals
 */
function summariseSuite(suite, rows) {
  const summary = Object.entries(rows).map(([ label, { failed } ]) => {
    const metrics = {};
    for (const { key, absolute } of suite.metrics) {
      const values = seriesOf(rows, label, key);
      metrics[key] = values && { ...summarise(values), ratio: absolute ? null : compare(rows, key, label, BASELINE) };
    }
    return { label, failed, metrics };
  });
  return { rows: summary, goals: suite.goals.map(goal => judge(goal, rows)) };
}

/** The values of a peer's rounds, or null where it did not take part or lacks the metric. */
function seriesOf(rows, label, key) {
  const values = rows[label] && rows[label].series[key];
  return values && values.length > 0 ? values : null;
}

function compare(rows, key, label, other) {
  const values = seriesOf(rows, label, key);
  const base = seriesOf(rows, other, key);
  return values && base ? ratios(values, base) : null;
}

/** `of: null` asks for our value itself and not for a ratio. */
function judge(goal, rows) {
  const of = goal.of === undefined ? BASELINE : goal.of;
  const own = seriesOf(rows, OURS, goal.metric);
  const seen = of === null ? own && summarise(own) : compare(rows, goal.metric, OURS, of);
  const met = seen && (goal.atMost !== undefined ? seen.median <= goal.atMost : seen.median >= goal.atLeast);
  return { ...goal, of, seen, met };
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
function formatCell(figures, label) {
  if (!figures) return '-';
  const { median, min, max, ratio } = figures;
  const times = ratio && label !== BASELINE ? `  ${ratio.median.toFixed(2)}x` : '';
  return `${formatNumber(median)} [${formatNumber(min)}-${formatNumber(max)}]${times}`;
}

function formatNumber(value) {
  if (value >= 100) return String(Math.round(value));
  return value.toFixed(value >= 10 ? 1 : 2);
}

function formatGoal(goal, suite) {
  const { atMost, seen, met, of } = goal;
  const suffix = suffixOf(of, metricOf(suite, goal));
  const wanted = atMost !== undefined ? `at most ${atMost}` : `at least ${goal.atLeast}`;
  const result = seen ? `${seen.median.toFixed(2)}${suffix}, ${met ? 'met' : 'NOT MET'}` : 'not measured';
  return `  goal: ${metricOf(suite, goal).title} ${wanted}${suffix}${of === null ? '' : ` of ${of}`}: ${result}`;
}

function metricOf(suite, { metric }) {
  return suite.metrics.find(({ key }) => key === metric);
}

/** What stands behind a figure: a ratio to `of`, or our value itself. */
function suffixOf(of, { unit }) {
  return of === null ? ` ${unit}` : 'x';
}

function formatTable(rows) {
  const widths = rows[0].map((_, column) => Math.max(...rows.map(row => row[column].length)));
  const lines = rows.map(row => '  ' + row.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd());
  lines.splice(1, 0, '  ' + widths.map(width => '-'.repeat(width)).join('  '));
  return [ ...lines, '' ];
}

module.exports = { summariseSuite, formatSuite, metricOf, suffixOf };
