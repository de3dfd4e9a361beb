'use strict';

// Draws a screen of a terminal as SVG. The screen is laid out already: there are lines with colours, and nothing else.

const CELL = { width: 8.4, height: 18 };
const MARGIN = 16;
const FONT_SIZE = 14;
const BACKGROUND = '#1e2127';
const PLAIN = '#d7dae0';
/** By the number of the escape sequence. */
const COLOURS = { 31: '#ef6b73', 32: '#8fc379', 33: '#e5c07b', 34: '#61afef', 35: '#c678dd', 36: '#56b6c2' };

/**
 * @param {string} screen - lines with the escape sequences of colours
 * @param {Object} size
 * @param {number} size.columns
 * @param {number} [size.rows] - as many as there are lines by default
 * @param {string} title - what it shows, for those who do not see it
 * @return {string} an image
 */
function ansiToSvg(screen, { columns, rows = screen.split('\n').length }, title) {
  const [ width, height ] = [ Math.ceil(columns * CELL.width + 2 * MARGIN), rows * CELL.height + 2 * MARGIN ];
  const lines = screen.split('\n').map((line, row) => runs(line).map(run => textElement(run, row)).join(''));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<rect width="100%" height="100%" rx="8" fill="${BACKGROUND}"/>`,
    `<g font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${FONT_SIZE}" fill="${PLAIN}" xml:space="preserve">`,
    ...lines.filter(line => line !== ''),
    '</g>',
    '</svg>',
    '',
  ].join('\n');
}

/** Pieces of a line that look alike: `{ text, column, colour, bold, dim }`. */
function runs(line) {
  let style = {};
  let column = 0;
  const found = [];
  // eslint-disable-next-line no-control-regex
  for (const part of line.split(/(\u001b\[[\d;]*m)/)) {
    if (part.startsWith('\u001b')) {
      style = restyled(style, part.slice(2, -1).split(';').map(Number));
    } else if (part !== '') {
      const [ { length } ] = [ [ ...part ] ];
      if (part.trim() !== '') found.push({ ...style, text: part, column, length });
      column += length;
    }
  }
  return found;
}

function restyled(style, codes) {
  let next = style;
  for (const code of codes) {
    if (code === 0) next = {};
    else if (code === 1) next = { ...next, bold: true };
    else if (code === 2) next = { ...next, dim: true };
    else if (code === 22) next = { ...next, bold: false, dim: false };
    else if (code === 39) next = { ...next, colour: undefined };
    else if (COLOURS[code]) next = { ...next, colour: COLOURS[code] };
  }
  return next;
}

/** Its width is given, so that columns stand below each other in any font. */
function textElement({ text, column, length, colour, bold, dim }, row) {
  const place = `x="${round(MARGIN + column * CELL.width)}" y="${MARGIN + (row + 1) * CELL.height - 4}" textLength="${round(length * CELL.width)}"`;
  const look = `${colour ? ` fill="${colour}"` : ''}${bold ? ' font-weight="bold"' : ''}${dim ? ' opacity="0.6"' : ''}`;
  return `<text ${place}${look}>${escape(text)}</text>`;
}

function round(number) {
  return Math.round(number * 10) / 10;
}

function escape(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}

module.exports = { ansiToSvg };
