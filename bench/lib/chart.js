'use strict';

// Draws recorded ratios to egg-cluster as an SVG: horizontal bars, less is better. The same input gives the same bytes.

const fs = require('fs');
const path = require('path');
const { BASELINE, OURS } = require('./peers');

const FILE = path.resolve(__dirname, '..', '..', 'docs', 'images', 'benchmark.svg');

/** What is drawn, of suites that are recorded. Only figures of which less is better. */
const FIGURES = [
  { suite: 'handoff', metric: 'masterCpu', title: 'Master CPU per connection' },
  { suite: 'sticky', metric: 'masterCpu', title: 'Master CPU per connection, sticky' },
  { suite: 'sticky-header/forwarded', metric: 'masterCpu', title: 'Master CPU per connection, sticky behind a proxy' },
  { suite: 'memory', metric: 'idleRss', title: 'Memory of the master, idle' },
  { suite: 'memory', metric: 'loadedRss', title: 'Memory of the master, after load' },
];
/** Not drawn: peers without the work that is measured, and a variant. */
const LEFT_OUT = new Set([ 'node-cluster-none', 'floor-paced' ]);

const WIDTH = 720;
const MARGIN = 24;
const LABEL_WIDTH = 150;
const VALUE_WIDTH = 56;
const BAR = 16;
const ROW = 24;
const TITLE = 30;
const GAP = 14;
const HEAD = 58;
const FOOT = 40;

/**
 * @param {Object} recorded - of readRecorded
 * @return {string} the SVG
 */
function drawChart(recorded) {
  const groups = FIGURES.filter(({ suite }) => recorded[suite])
    .map(({ suite, metric, title }) => ({ title, bars: barsOf(recorded[suite], metric) }));
  const longest = Math.max(1, ...groups.flatMap(({ bars }) => bars.map(bar => bar.max)));
  const scale = (WIDTH - 2 * MARGIN - LABEL_WIDTH - VALUE_WIDTH) / longest;
  let y = HEAD;
  const body = groups.flatMap(group => {
    const drawn = drawGroup(group, y, scale);
    y += TITLE + group.bars.length * ROW + GAP;
    return drawn;
  });
  return frame(y + FOOT - GAP, body, LABEL_WIDTH + MARGIN + scale, y);
}

/** The baseline first, then from the dearest to the cheapest. */
function barsOf({ peers }, metric) {
  const others = Object.entries(peers)
    .filter(([ name, ratios ]) => ratios[metric] && !LEFT_OUT.has(name))
    .map(([ name, ratios ]) => ({ name, ...ratios[metric] }))
    .sort((a, b) => b.median - a.median || (a.name < b.name ? -1 : 1));
  return [ { name: BASELINE, median: 1, min: 1, max: 1 }, ...others ];
}

function drawGroup({ title, bars }, top, scale) {
  const lines = [ text(MARGIN, top + 19, 'title', title) ];
  bars.forEach((bar, i) => lines.push(...drawBar(bar, top + TITLE + i * ROW, scale)));
  return lines;
}

function drawBar({ name, median, min, max }, top, scale) {
  const left = MARGIN + LABEL_WIDTH;
  const middle = top + BAR / 2;
  const kind = name === OURS ? 'ours' : 'other';
  const lines = [
    text(left - 10, middle + 4, `label ${kind}`, name, 'end'),
    `<rect class="bar ${kind}" x="${left}" y="${top}" width="${round(median * scale)}" height="${BAR}" rx="2"/>`,
    text(left + round(Math.max(median, max) * scale) + 8, middle + 4, `value ${kind}`, median.toFixed(2)),
  ];
  if (max > min) {
    lines.push(`<path class="spread" d="M${left + round(min * scale)} ${middle}H${left + round(max * scale)}"/>`);
  }
  return lines;
}

function frame(height, body, unit, bottom) {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-labelledby="name">`,
    '<title id="name">What a master costs, as a ratio to egg-cluster 2.5.0; less is better</title>',
    STYLE,
    `<rect class="ground" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="8"/>`,
    text(MARGIN, 36, 'head', 'What a master costs, as a ratio to egg-cluster 2.5.0'),
    text(WIDTH - MARGIN, 36, 'note', 'less is better', 'end'),
    `<path class="unit" d="M${round(unit)} ${HEAD + 4}V${bottom - GAP}"/>`,
    ...body,
    text(MARGIN, height - 16, 'note', 'Median of the rounds; a thin line reaches from the least to the most. Figures: bench/recorded.json'),
    '</svg>',
    '',
  ].join('\n');
}

const STYLE = `<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; fill: #24292f }
.head { font-size: 16px; font-weight: 600 }
.title { font-weight: 600 }
.label, .note { fill: #57606a }
.note { font-size: 11px }
.value { paint-order: stroke; stroke: #ffffff; stroke-width: 5px }
.label.ours, .value.ours { fill: #0550ae; font-weight: 600 }
.bar { fill: #b6bec7 }
.bar.ours { fill: #2f81f7 }
.spread { stroke: #24292f; stroke-width: 1.5; opacity: 0.6 }
.unit { stroke: #8c959f; stroke-dasharray: 3 3 }
.ground { fill: #ffffff; stroke: #d0d7de }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .label, .note { fill: #9198a1 }
  .value { stroke: #0d1117 }
  .label.ours, .value.ours { fill: #79c0ff }
  .bar { fill: #4b535d }
  .bar.ours { fill: #388bfd }
  .spread { stroke: #e6edf3 }
  .unit { stroke: #6e7681 }
  .ground { fill: #0d1117; stroke: #30363d }
}
</style>`;

function text(x, y, kind, content, anchor) {
  const escaped = content.replace(/&/g, '&amp;').replace(/</g, '&lt;');
  return `<text class="${kind}" x="${x}" y="${y}"${anchor ? ` text-anchor="${anchor}"` : ''}>${escaped}</text>`;
}

function round(value) {
  return Math.round(value * 10) / 10;
}

/** @param {Object} recorded - of readRecorded */
function writeChart(recorded) {
  fs.mkdirSync(path.dirname(FILE), { recursive: true });
  fs.writeFileSync(FILE, drawChart(recorded));
}

module.exports = { drawChart, writeChart };
