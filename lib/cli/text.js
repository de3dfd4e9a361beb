'use strict';

/** Tables, times and colours. */

const COLOURS = { red: 31, green: 32, yellow: 33, dim: 2, bold: 1 };
/** Escape sequences have no width. */
// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b\[[\d;]*m/g;
/** Numbers with or without a unit, and what stands for none. */
const NUMBER = /^(-|[\d.]+( ?[a-zA-Z%]+)?)?$/;

/** @return {boolean} whether a stream shows colours: only a terminal does, unless NO_COLOR is set */
function hasColours(stream, env = process.env) {
  return Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb';
}

/** @return {function(string, string): string} paints a text, or leaves it */
function painter(isColoured) {
  return (colour, text) => (isColoured && COLOURS[colour] ? `\u001b[${COLOURS[colour]}m${text}\u001b[0m` : text);
}

/**
 * @param {string[]} head
 * @param {string[][]} rows
 * @return {string} columns side by side; those of numbers on the right
 */
function table(head, rows) {
  const lines = [ head, ...rows ].map(row => row.map(cell => String(cell)));
  const width = cell => cell.replace(ESCAPES, '').length;
  const widths = head.map((_, i) => Math.max(...lines.map(line => width(line[i]))));
  const isNumber = cell => NUMBER.test(String(cell).replace(ESCAPES, ''));
  const isNumeric = head.map((_, i) => rows.length > 0 && rows.every(row => isNumber(row[i])));
  return lines.map(line => line.map((cell, i) => {
    const space = ' '.repeat(widths[i] - width(cell));
    return isNumeric[i] ? space + cell : cell + space;
  }).join('  ').trimEnd()).join('\n');
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

module.exports = { hasColours, painter, table, duration, bytes };
