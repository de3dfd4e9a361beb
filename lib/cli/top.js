'use strict';

/** `top`: who uses how much of the machine, now and in the last looks. */

const { statusOf } = require('./client');
const { headline, notes, places, cpuShare, watchScreen, repeat, STATE_COLOURS } = require('./status');
const { bytes, fit, sparkline, table, width } = require('./text');

/** Looks that are remembered, which is as many as a bar line is long at the most. */
const REMEMBERED = 24;
const SHORTEST_BARS = 4;
const KEYS = 'q quits, j and k scroll';

/** What has bars: how a value is shown and in how much room, and what the highest bar stands for at the least. */
const METRICS = {
  CPU: { text: value => `${Math.round(value)}%`, room: 4, least: 100 },
  MEMORY: { text: bytes, room: 6, least: 1 },
  OPEN: { text: String, room: 4, least: 4 },
  DELAY: { text: value => `${value.toFixed(1)} ms`, room: 7, least: 10 },
};
/** What is not known, or of no meaning for a row. */
const NOTHING = { CPU: null, MEMORY: null, OPEN: null, DELAY: null };
/** Room for the states, so that columns stay where they are. */
const STATE_ROOM = 'starting'.length;

/** What is shown, from wide terminals to narrow ones. With a star: with bars. */
const LAYOUTS = [
  [ 'SLOT', 'PID', 'STATE', 'CPU*', 'MEMORY*', 'OPEN*', 'DELAY*', 'REQUESTS', 'RESTARTS' ],
  [ 'SLOT', 'PID', 'STATE', 'CPU*', 'MEMORY*', 'OPEN*', 'DELAY*' ],
  [ 'SLOT', 'STATE', 'CPU*', 'MEMORY*', 'OPEN*', 'DELAY*' ],
  [ 'SLOT', 'STATE', 'CPU*', 'MEMORY*', 'OPEN', 'DELAY' ],
  [ 'SLOT', 'STATE', 'CPU*', 'MEMORY' ],
  [ 'SLOT', 'STATE', 'CPU', 'MEMORY' ],
];

/**
 * @param {Object} context - `socket`, `out`, `paint`, `columns`, `terminal`
 * @param {number} options.seconds - between two looks
 */
async function top(context, { seconds }) {
  const history = new History();
  const look = async () => {
    history.add(await statusOf(context.socket));
    return history;
  };
  if (context.terminal) {
    await watchScreen(context, seconds, look, (_, { columns }) => topLines(history, context.paint, columns));
    return;
  }
  await repeat(seconds, async () => {
    const { fixed, moving } = topLines(await look(), context.paint, context.columns);
    context.out([ ...fixed, ...moving, '' ].join('\n'));
  });
}

/** What the last looks have shown, by row. */
class History {
  constructor() {
    this.report = null;
    this.rows = [];
    this.series = new Map();
    this.accepted = [];
  }

  /** @param {Object} report - of one look more */
  add(report) {
    const before = this.report;
    this.report = report;
    const series = new Map();
    this.rows = rowsOf(report, before).map(row => {
      const values = remembered(this.series.get(row.key), row.values);
      series.set(row.key, values);
      return { ...row, series: values };
    });
    // Rows that are gone are forgotten.
    this.series = series;
    this.accepted = [ ...this.accepted, acceptedPerSecond(report, before) ].slice(-REMEMBERED);
  }
}

function remembered(series, values) {
  const all = {};
  for (const name of Object.keys(METRICS)) {
    all[name] = [ ...(series ? series[name] : []), values[name] ].slice(-REMEMBERED);
  }
  return all;
}

function acceptedPerSecond(report, before) {
  if (before === null) return null;
  const passed = Math.max(1, report.uptimeMs - before.uptimeMs);
  return 1000 * (report.connections.accepted - before.connections.accepted) / passed;
}

function rowsOf(report, before) {
  const { master, uptimeMs, pid, phase, others } = report;
  const masterShare = master && before && before.master
    ? 100 * (master.cpuMs - before.master.cpuMs) / Math.max(1, uptimeMs - before.uptimeMs) : null;
  return [
    { key: 'master', SLOT: 'master', PID: pid, STATE: phase, values: { ...NOTHING, CPU: masterShare, MEMORY: master && master.rssBytes } },
    ...places(report).map(([ name, place ]) => processRow(name, name, place, before)),
    ...others.map(process => processRow(`pid ${process.pid}`, `(${process.slot})`, { process }, before)),
  ];
}

function processRow(key, name, { process, waiting, restarts }, before) {
  if (!process) return { key, SLOT: name, STATE: waiting ? 'waiting' : 'empty', RESTARTS: restarts, values: NOTHING };
  const { pid, state, requests, cpuMs, rssBytes, connections, pingMs } = process;
  const CPU = before && cpuMs !== null ? cpuShare(process, before) : null;
  const values = { CPU, MEMORY: rssBytes, OPEN: connections, DELAY: pingMs };
  return { key, SLOT: name, PID: pid, STATE: state, REQUESTS: requests, RESTARTS: restarts, values };
}

/** @return {{fixed: string[], moving: string[]}} the lines of the view */
function topLines({ report, rows, accepted }, paint, columns) {
  const [ head, ...body ] = rowLines(rows, paint, columns);
  const perSecond = accepted[accepted.length - 1];
  const rate = perSecond === null ? '' : `accepted ${Math.round(perSecond)}/s ${paint('cyan', sparkline(accepted, 12, { least: 10 }).trimStart())}`;
  // The first note is the directory, which who looks at it knows.
  const above = [ ...headline(report, paint, columns), ...notes(report, paint).slice(1), rate, paint('dim', KEYS) ].filter(line => line !== '');
  return { fixed: [ ...above.map(line => fit(line, columns)), '', paint('bold', head) ], moving: body };
}

function rowLines(rows, paint, columns) {
  const room = Number.isFinite(columns) ? columns : 100;
  for (const layout of LAYOUTS) {
    const shortest = layoutLines(layout, rows, paint, SHORTEST_BARS);
    // What room is left makes the bars longer.
    const spare = room - Math.max(...shortest.map(width));
    if (spare < 0) continue;
    const withBars = layout.filter(name => name.endsWith('*')).length;
    return layoutLines(layout, rows, paint, Math.min(REMEMBERED, SHORTEST_BARS + Math.floor(spare / Math.max(1, withBars))));
  }
  return layoutLines(LAYOUTS[LAYOUTS.length - 1], rows, paint, 0).map(line => fit(line, room));
}

function layoutLines(layout, rows, paint, bars) {
  const columns = layout.map(name => column(name, rows, paint, bars));
  return table(columns.map(({ head }) => head), rows.map((_, i) => columns.map(({ cells }) => cells[i]))).split('\n');
}

function column(star, rows, paint, bars) {
  const name = star.replace('*', '');
  const metric = METRICS[name];
  if (!metric) return { head: name, cells: rows.map(row => cellText(name, row, paint)) };
  const texts = rows.map(({ values }) => (values[name] === null || values[name] === undefined ? '-' : metric.text(values[name])));
  const most = Math.max(metric.room, ...texts.map(text => text.length));
  const isBars = star.endsWith('*');
  // One scale for all rows, so that they can be compared.
  const least = Math.max(metric.least, ...rows.flatMap(({ series }) => series[name].slice(-bars).map(value => value || 0)));
  const line = ({ series }) => (isBars ? ` ${paint('cyan', sparkline(series[name], bars, { least }))}` : '');
  return { head: name.padStart(most), cells: rows.map((row, i) => texts[i].padStart(most) + line(row)) };
}

function cellText(name, row, paint) {
  const value = row[name] === null || row[name] === undefined ? '-' : row[name];
  return name === 'STATE' ? paint(STATE_COLOURS[value] || (value === 'running' ? 'green' : 'yellow'), value.padEnd(STATE_ROOM)) : value;
}

module.exports = { top, History, topLines };
