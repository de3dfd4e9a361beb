'use strict';

// The samples of a soak as a picture: one strip per figure, time from left to right.

const MIB = 2 ** 20;
const WIDTH = 760;
const STRIP = { height: 84, gap: 34 };
const MARGIN = { top: 58, left: 64, right: 150, bottom: 40 };
const COLOURS = [ '#1f6feb', '#bf5b04', '#1a7f37' ];

/** Each with lines that share an axis, which begins at 0. */
const STRIPS = [
  { title: 'resident memory at rest, MiB', lines: [
    [ 'master', ({ master }) => master.rss / MIB ],
    [ 'its JavaScript heap', ({ master }) => master.heap / MIB ],
    [ 'guardian', ({ guardian }) => guardian.rss / MIB ],
  ] },
  { title: 'open descriptors', lines: [ [ 'master', ({ master }) => master.descriptors ], [ 'guardian', ({ guardian }) => guardian.descriptors ] ] },
  { title: 'threads, children, zombies', lines: [
    [ 'threads', ({ master }) => master.threads ], [ 'children', ({ master }) => master.children ], [ 'zombies', ({ master }) => master.zombies ],
  ] },
  { title: 'timers', lines: [ [ 'core', ({ master }) => master.coreTimers ], [ 'JavaScript', ({ master }) => master.timers ] ] },
];

/**
 * @param {Object} result - of a soak
 * @return {string} SVG
 */
function plot({ samples, command, warmUp, machine }) {
  const height = MARGIN.top + STRIPS.length * (STRIP.height + STRIP.gap) + MARGIN.bottom;
  const last = samples[samples.length - 1];
  const x = minutes => MARGIN.left + (minutes / last.minutes) * (WIDTH - MARGIN.left - MARGIN.right);
  const { done } = last;
  const story = `${done.requests} requests, ${done.messages} messages, ${done.reloads} reloads, ${done.kills} kills in ${last.minutes.toFixed(1)} minutes`;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#24292f">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(16, 22, `The master under load: ${story}`, 'font-size="14" font-weight="bold"'),
    text(16, 40, `${command}, Node ${machine.node}, ${machine.cores} cores; the warm-up is grey`, 'fill="#57606a"'),
    ...STRIPS.flatMap((strip, index) => drawStrip(strip, MARGIN.top + index * (STRIP.height + STRIP.gap), { samples, x, warmUp })),
    text(x(0), height - 16, '0'),
    text(x(last.minutes), height - 16, `${last.minutes.toFixed(1)} min`, 'text-anchor="end"'),
    '</svg>',
    '',
  ].join('\n');
}

function drawStrip({ title, lines }, top, { samples, x, warmUp }) {
  const bottom = top + STRIP.gap / 2 + STRIP.height;
  const highest = Math.max(1, ...lines.flatMap(([ , of ]) => samples.map(of))) * 1.1;
  const y = value => bottom - (value / highest) * STRIP.height;
  const place = ([ minutes, value ]) => `${fixed(x(minutes))},${fixed(y(value))}`;
  const [ start, end ] = [ x(0), x(samples[samples.length - 1].minutes) ];
  return [
    `<rect x="${start}" y="${bottom - STRIP.height}" width="${fixed(x(samples[warmUp - 1].minutes) - start)}" height="${STRIP.height}" fill="#eaeef2"/>`,
    `<line x1="${start}" x2="${fixed(end)}" y1="${bottom}" y2="${bottom}" stroke="#d0d7de"/>`,
    text(start, bottom - STRIP.height - 5, title, 'fill="#57606a"'),
    ...labelled(lines, samples).map(({ points, label, colour, at }) => [
      `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${points.map(place).join(' ')}"/>`,
      text(end + 8, bottom - STRIP.height + 14 + at * 18, label, `fill="${colour}"`),
    ].join('\n')),
  ];
}

function labelled(lines, samples) {
  return lines.map(([ name, of ], at) => {
    const points = samples.map(sample => [ sample.minutes, of(sample) ]);
    const [ , value ] = points[points.length - 1];
    return { points, at, colour: COLOURS[at], label: `${name}: ${Number.isInteger(value) ? value : value.toFixed(1)}` };
  });
}

function text(x, y, content, attributes = '') {
  return `<text x="${fixed(x)}" y="${fixed(y)}" ${attributes}>${content}</text>`;
}

function fixed(value) {
  return Math.round(value * 10) / 10;
}

module.exports = { plot };
