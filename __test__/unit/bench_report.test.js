'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { drawChart } = require('../../bench/lib/chart');
const { toRecord, checkSuite } = require('../../bench/lib/record');
const { summariseSuite, formatSuite } = require('../../bench/lib/report');

const SUITE = {
  name: 'handoff',
  title: 'Handoff',
  metrics: [
    { key: 'masterCpu', title: 'CPU', unit: 'µs', better: 'lower' },
    { key: 'throughput', title: 'throughput', unit: 'conn/s', better: 'higher' },
  ],
  goals: [],
};
const RUN = {
  when: '2026-01-01T00:00:00.000Z',
  machine: { node: 'v20.0.0', arch: 'x64', cores: 2, kernel: '6.1', loadBefore: 0.1 },
  settings: { workers: 2, connections: 100, concurrency: 8, rounds: 3, peers: '', check: false, record: false },
};

/** What a suite's run() returns: the CPU of each peer, and a throughput of 100 for all that have one. */
function rowsOf(cpu) {
  const rows = Object.entries(cpu).map(([ label, values ]) => {
    return [ label, { failed: 0, series: { masterCpu: values, throughput: values.map(() => 100) } } ];
  });
  return Object.fromEntries(rows);
}

function judge(goal, rows) {
  return summariseSuite({ ...SUITE, goals: [ goal ] }, rows).goals[0];
}

function recordOf(cpu, goals = [], settings = {}) {
  const summary = summariseSuite({ ...SUITE, goals }, rowsOf(cpu));
  return toRecord(summary, { ...RUN, settings: { ...RUN.settings, ...settings } });
}

test('ratios are taken round by round, so that one slow round weighs on both sides', () => {
  const rows = rowsOf({ 'egg-cluster': [ 10, 100, 20 ], 'egg-cluster-rs': [ 5, 50, 10 ] });
  const { ratio, median } = summariseSuite(SUITE, rows).rows[1].metrics.masterCpu;
  assert.deepStrictEqual(ratio, { median: 0.5, min: 0.5, max: 0.5, values: [ 0.5, 0.5, 0.5 ] });
  assert.strictEqual(median, 10);
});

test('a goal compares with the peer that it names, else with egg-cluster', () => {
  const rows = rowsOf({ 'egg-cluster': [ 10, 10 ], floor: [ 4, 5 ], 'egg-cluster-rs': [ 5, 5 ] });
  const own = judge({ metric: 'masterCpu', atMost: 0.5 }, rows);
  assert.strictEqual(own.of, 'egg-cluster');
  assert.strictEqual(own.met, true);
  const floor = judge({ metric: 'masterCpu', of: 'floor', atMost: 1.1 }, rows);
  assert.deepStrictEqual(floor.seen.values, [ 1.25, 1 ]);
  assert.strictEqual(floor.met, false);
  assert.strictEqual(judge({ metric: 'throughput', of: 'floor', atLeast: 1 }, rows).met, true);
  assert.strictEqual(judge({ metric: 'throughput', of: 'floor', atLeast: 1.01 }, rows).met, false);
});

test('a goal of null bounds the value itself', () => {
  const rows = rowsOf({ 'egg-cluster-rs': [ 5, 6, 7 ] });
  assert.strictEqual(judge({ metric: 'masterCpu', of: null, atMost: 6 }, rows).met, true);
  assert.strictEqual(judge({ metric: 'masterCpu', of: null, atMost: 5.9 }, rows).met, false);
});

test('a goal is not measured without its peer, or without us', () => {
  const goal = { metric: 'masterCpu', of: 'floor', atMost: 1 };
  for (const rows of [ rowsOf({ 'egg-cluster-rs': [ 5 ] }), rowsOf({ floor: [ 5 ] }) ]) {
    assert.strictEqual(judge(goal, rows).met, null);
    const suite = { ...SUITE, goals: [ goal ] };
    assert.match(formatSuite(suite, summariseSuite(suite, rows)), /goal: CPU at most 1x of floor: not measured/);
  }
});

test('nothing beside nothing is as much', () => {
  const rows = rowsOf({ 'egg-cluster': [ 0, 0 ], 'egg-cluster-rs': [ 0, 0 ] });
  assert.strictEqual(judge({ metric: 'masterCpu', atMost: 1 }, rows).seen.median, 1);
});

test('the table has median, least and most, the ratio, and a dash where a peer lacks a metric', () => {
  const rows = rowsOf({ 'egg-cluster': [ 10, 12, 11 ], 'egg-cluster-rs': [ 5, 6, 5.5 ], 'bare-node': [ 1, 1, 1 ] });
  delete rows['bare-node'].series.throughput;
  const suite = { ...SUITE, goals: [{ metric: 'masterCpu', atMost: 0.4 }] };
  const table = formatSuite(suite, summariseSuite(suite, rows));
  assert.match(table, /egg-cluster {5}11\.0 \[10\.0-12\.0\] +100 \[100-100\] +0/);
  assert.match(table, /egg-cluster-rs {2}5\.50 \[5\.00-6\.00\] {2}0\.50x +100 \[100-100\] {2}1\.00x +0/);
  assert.match(table, /bare-node .* {2}- +0/);
  assert.match(table, /goal: CPU at most 0\.4x of egg-cluster: 0\.50x, NOT MET/);
});

test('an absolute metric has no ratio', () => {
  const suite = { ...SUITE, metrics: SUITE.metrics.map(metric => ({ ...metric, absolute: true })) };
  const summary = summariseSuite(suite, rowsOf({ 'egg-cluster': [ 10 ], 'egg-cluster-rs': [ 5 ] }));
  assert.strictEqual(summary.rows[1].metrics.masterCpu.ratio, null);
  assert.deepStrictEqual(toRecord(summary, RUN).peers, { 'egg-cluster-rs': {} });
});

test('a record keeps the ratios of all peers and what goals name, and goes through JSON unchanged', () => {
  const goals = [{ metric: 'masterCpu', of: 'floor', atMost: 1.25 }];
  const record = recordOf({ 'egg-cluster': [ 10, 10, 10 ], floor: [ 3, 3, 3 ], 'egg-cluster-rs': [ 4, 5, 6 ] }, goals);
  assert.deepStrictEqual(record.peers['egg-cluster-rs'].masterCpu, { median: 0.5, min: 0.4, max: 0.6 });
  assert.deepStrictEqual(record.peers.floor.masterCpu, { median: 0.3, min: 0.3, max: 0.3 });
  assert.deepStrictEqual(record.goals, [{ metric: 'masterCpu', of: 'floor', median: 1.667, min: 1.333, max: 2 }]);
  assert.deepStrictEqual(record.machine, { node: 'v20.0.0', arch: 'x64', cores: 2, loadBefore: 0.1 });
  assert.deepStrictEqual(record.settings, { workers: 2, connections: 100, concurrency: 8 });
  assert.deepStrictEqual(JSON.parse(JSON.stringify(record)), record);
});

test('a ratio to nothing is not recorded', () => {
  const record = recordOf({ 'egg-cluster': [ 0, 1 ], 'egg-cluster-rs': [ 1, 1 ] });
  assert.deepStrictEqual(Object.keys(record.peers['egg-cluster-rs']), [ 'throughput' ]);
});

test('a figure is worse when it is so by more than the spread of either run', () => {
  const egg = [ 10, 10, 10 ];
  const then = recordOf({ 'egg-cluster': egg, 'egg-cluster-rs': [ 4.8, 5, 5.2 ] });
  const check = cpu => checkSuite(SUITE, recordOf({ 'egg-cluster': egg, 'egg-cluster-rs': cpu }), then).worse;
  assert.strictEqual(check([ 5.3, 5.3, 5.3 ]), false);
  assert.strictEqual(check([ 5.5, 5.5, 5.5 ]), true);
  assert.strictEqual(check([ 5.4, 5.5, 5.8 ]), true);
  assert.strictEqual(check([ 5.2, 5.5, 5.9 ]), false);
  assert.strictEqual(check([ 1, 1, 1 ]), false);
});

test('of a throughput less is worse', () => {
  const record = throughput => {
    const rows = rowsOf({ 'egg-cluster': [ 1, 1 ], 'egg-cluster-rs': [ 1, 1 ] });
    rows['egg-cluster-rs'].series.throughput = throughput;
    return toRecord(summariseSuite(SUITE, rows), RUN);
  };
  assert.strictEqual(checkSuite(SUITE, record([ 80, 80 ]), record([ 99, 101 ])).worse, true);
  assert.strictEqual(checkSuite(SUITE, record([ 120, 120 ]), record([ 99, 101 ])).worse, false);
});

test('what a goal names is checked beside the ratios to egg-cluster', () => {
  const suite = { ...SUITE, goals: [{ metric: 'masterCpu', of: 'floor', atMost: 1.25 }] };
  const record = floor => recordOf({ 'egg-cluster': [ 10, 10 ], floor, 'egg-cluster-rs': [ 5, 5 ] }, suite.goals);
  const { worse, lines } = checkSuite(suite, record([ 4, 4 ]), record([ 5, 5 ]));
  assert.strictEqual(worse, true);
  assert.deepStrictEqual(lines, [
    '  check: CPU 1.25x of floor, recorded 1.00x, spread 0.00, WORSE',
    '  check: 2 of 3 recorded figures of handoff are no worse',
  ]);
});

test('what is not recorded is said and is no failure; other settings are said', () => {
  const now = recordOf({ 'egg-cluster': [ 10 ], 'egg-cluster-rs': [ 5 ] });
  assert.deepStrictEqual(checkSuite(SUITE, now, undefined), { lines: [ '  check: handoff is not recorded' ], worse: false });
  const then = recordOf({ 'egg-cluster': [ 10 ], 'egg-cluster-rs': [ 5 ] }, [], { workers: 8 });
  assert.match(checkSuite(SUITE, now, then).lines[0], /recorded with other settings \(workers\)/);
});

test('the chart has a bar for each recorded peer, the cheapest last, and is the same for the same figures', () => {
  const recorded = {
    handoff: recordOf({ 'egg-cluster': [ 10 ], floor: [ 3 ], 'egg-cluster-rs': [ 5 ], 'node-cluster': [ 9 ], 'floor-paced': [ 2 ] }),
  };
  const svg = drawChart(recorded);
  assert.strictEqual(drawChart(JSON.parse(JSON.stringify(recorded))), svg);
  const labels = [ ...svg.matchAll(/class="label \w+"[^>]*>([^<]+)</g) ].map(match => match[1]);
  assert.deepStrictEqual(labels, [ 'egg-cluster', 'node-cluster', 'egg-cluster-rs', 'floor' ]);
  const values = [ ...svg.matchAll(/class="value \w+"[^>]*>([^<]+)</g) ].map(match => match[1]);
  assert.deepStrictEqual(values, [ '1.00', '0.90', '0.50', '0.30' ]);
  const widths = [ ...svg.matchAll(/class="bar \w+"[^>]* width="([\d.]+)"/g) ].map(match => Number(match[1]));
  assert.deepStrictEqual(widths.map(width => (width / widths[0]).toFixed(2)), values);
});
