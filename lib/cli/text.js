'use strict';

/** Tables, times, colours, and what fits into a terminal. */

const COLOURS = { red: 31, green: 32, yellow: 33, cyan: 36, dim: 2, bold: 1, reverse: 7 };
/** Escape sequences have no width. */
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b\[[\d;]*m/g;
const RESET = '\u001b[0m';
/** What would move the cursor, or worse: texts come from applications. */
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u001f\u007f-\u009f]+/g;
/** Numbers with or without a unit, and what stands for none. */
const NUMBER = /^(-|[\d.]+( ?[a-zA-Z%]+)?)?$/;
/** Characters that take two columns of a terminal, and those that take none. */
const WIDE = /^[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]$/u;
const NO_WIDTH = /^[\p{Mn}\p{Me}\u200b-\u200d]$/u;
/** What is one column each, as most is: ASCII and the bars. */
const SIMPLE = /^[ -~▁-█]*$/;
const GAP = '  ';

const UNICODE = { bars: '▁▂▃▄▅▆▇█', cut: '…' };
const ASCII = { bars: '_.:-=+*#', cut: '~' };

/**
 * @param {Object} stream
 * @param {Object} [env] - of the process
 * @return {boolean} whether a stream shows colours: only a terminal does, unless NO_COLOR is set; FORCE_COLOR goes before both, as in Node
 */
function hasColours(stream, env = process.env) {
  const { FORCE_COLOR: forced } = env;
  if (forced !== undefined) return forced !== '0' && forced !== 'false';
  return Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb';
}

/** @return {{bars: string, cut: string}} what a terminal can show that says of itself which characters it knows */
function glyphs(env = process.env) {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG || 'UTF-8';
  return /utf-?8/i.test(locale) && env.TERM !== 'linux' ? UNICODE : ASCII;
}

/** @return {function(string, string): string} paints a text, or leaves it */
function painter(isColoured) {
  return (colour, text) => (isColoured && COLOURS[colour] ? `\u001b[${COLOURS[colour]}m${text}${RESET}` : text);
}

/** @return {string} a text of somebody else, on one line and without orders to the terminal */
function clean(text) {
  return String(text).replace(CONTROLS, ' ').trim();
}

/** @return {number} the columns that a text takes */
function width(text) {
  const shown = text.replace(ESCAPES, '');
  if (SIMPLE.test(shown)) return shown.length;
  let columns = 0;
  for (const char of shown) columns += widthOf(char);
  return columns;
}

function widthOf(char) {
  if (NO_WIDTH.test(char)) return 0;
  return WIDE.test(char) ? 2 : 1;
}

/**
 * @param {string} line
 * @param {number} columns - Infinity: the line as it is
 * @param {string} [cut] - what stands at the end of a line that was too long
 * @return {string} at most so wide
 */
function fit(line, columns, cut = glyphs().cut) {
  if (width(line) <= columns) return line;
  let [ shown, used, isPainted ] = [ '', 0, false ];
  for (const part of line.split(/(\u001b\[[\d;]*m)/)) { // eslint-disable-line no-control-regex
    if (part.startsWith('\u001b')) {
      shown += part;
      isPainted = part !== RESET;
      continue;
    }
    for (const char of part) {
      if (used + widthOf(char) > columns - width(cut)) return shown + cut + (isPainted ? RESET : '');
      shown += char;
      used += widthOf(char);
    }
  }
  return shown;
}

/**
 * @param {string} text - words
 * @param {number} columns
 * @return {string[]} the same in lines that are no wider, broken between words where that is possible
 */
function wrap(text, columns) {
  const lines = [ '' ];
  for (const word of text.split(' ')) {
    const last = lines[lines.length - 1];
    if (last === '') lines[lines.length - 1] = word;
    else if (width(last) + 1 + width(word) <= columns) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines.map(line => fit(line, columns));
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 * @param {Object} [room]
 * @param {number} [room.columns] - how wide it may be
 * @param {string[]} [room.leastFirst] - names of columns that are left out where it is wider, in this order
 * @return {string} columns side by side; those of numbers on the right
 */
function table(head, rows, { columns = Infinity, leastFirst = [] } = {}) {
  const lines = [ head, ...rows ].map(row => row.map(cell => String(cell)));
  const isNumber = cell => NUMBER.test(cell.replace(ESCAPES, ''));
  let shown = head.map((name, i) => ({
    name, cells: lines.map(line => line[i]), width: Math.max(...lines.map(line => width(line[i]))),
    isNumeric: rows.length > 0 && lines.slice(1).every(line => isNumber(line[i])),
  }));
  const total = () => shown.reduce((sum, column) => sum + column.width + GAP.length, -GAP.length);
  for (const name of leastFirst) {
    if (total() <= columns) break;
    shown = shown.filter(column => column.name !== name);
  }
  return lines.map((_, at) => fit(shown.map(({ cells, width: most, isNumeric }) => {
    const space = ' '.repeat(most - width(cells[at]));
    return isNumeric ? space + cells[at] : cells[at] + space;
  }).join(GAP).trimEnd(), columns)).join('\n');
}

/**
 * @param {Array<number|null>} values - newest last; null where there is none
 * @param {number} columns - how many of them are shown
 * @param {Object} [scale]
 * @param {number} [scale.least] - what the highest bar stands for at the least
 * @param {string} [scale.bars]
 * @return {string} a bar for each; the highest is the greatest of them
 */
function sparkline(values, columns, { least = 1, bars = glyphs().bars } = {}) {
  const last = columns > 0 ? values.slice(-columns) : [];
  const top = Math.max(least, ...last.map(value => value || 0));
  const bar = value => (value === null ? ' ' : bars[Math.min(bars.length - 1, Math.floor(value / top * bars.length))]);
  return last.map(bar).join('').padStart(columns);
}

/** @return {string} a time as `1d 2h`, `3m 4s` or `0.5s` */
function duration(ms) {
  if (ms === null || ms === undefined) return '-';
  if (ms < 10000) return `${(ms / 1000).toFixed(1)}s`;
  const seconds = Math.floor(ms / 1000);
  const [ days, hours, minutes ] = [ 86400, 3600, 60 ].map(unit => Math.floor(seconds / unit));
  const parts = [ [ days, 'd' ], [ hours % 24, 'h' ], [ minutes % 60, 'm' ], [ seconds % 60, 's' ] ];
  const first = parts.findIndex(([ count ]) => count > 0);
  return parts.slice(first, first + 2).filter(([ count ]) => count > 0).map(([ count, unit ]) => count + unit).join(' ');
}

/** @return {string} a size as `12 MB` */
function bytes(count) {
  if (count === null || count === undefined) return '-';
  if (count < 1000) return `${count} B`;
  return count < 1e6 ? `${Math.round(count / 1000)} kB` : `${Math.round(count / 1e6)} MB`;
}

module.exports = { hasColours, glyphs, painter, clean, width, fit, wrap, table, sparkline, duration, bytes };
