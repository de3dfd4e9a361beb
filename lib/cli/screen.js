'use strict';

/**
 * A view that is drawn in place. It has a screen of its own, so that the terminal shows what it
 * showed before as soon as the view ends, however it ends.
 */

const { fit } = require('./text');

const ENTER = '\u001b[?1049h\u001b[?25l';
const LEAVE = '\u001b[?25h\u001b[?1049l';
const HOME = '\u001b[H';
const END_OF_LINE = '\u001b[K';
const END_OF_SCREEN = '\u001b[J';

const CTRL_C = '\u0003';
const CTRL_Z = '\u001a';
const QUIT = [ 'q', 'Q', CTRL_C ];
/** Keys that move the view, and by how many lines; Infinity: a page. */
const MOVES = {
  j: 1, k: -1, '\u001b[B': 1, '\u001b[A': -1, '\u001bOB': 1, '\u001bOA': -1,
  ' ': Infinity, '\u001b[6~': Infinity, '\u001b[5~': -Infinity,
};
const QUITTING = Symbol('quitting');
/** A key: an escape sequence, or a character. */
// eslint-disable-next-line no-control-regex
const KEY = /\u001b(?:\[[\d;]*[A-Za-z~]|O[A-Z])|[^]/g;
const ENDINGS = [ 'SIGINT', 'SIGTERM', 'SIGHUP' ];

/** Rows for what moves, at the least. */
const LEAST_MOVING = 3;

/** What a terminal is taken for that does not say how large it is. */
const USUAL = { columns: 80, rows: 24 };

class Screen {
  /**
   * @param {Object} streams - `input` and `output`
   * @param {Object} view
   * @param {number} view.seconds - between two looks
   * @param {function(): Promise<*>} view.look - what is to be shown
   * @param {function(*, {columns: number, rows: number}): {fixed: string[], moving: string[]}} view.draw - its lines;
   *   those that do not move stand above the others
   */
  constructor({ input, output }, { seconds, look, draw }) {
    Object.assign(this, { input, output, seconds, look, draw });
    this.seen = null;
    this.offset = 0;
    this.fixedRows = 0;
    this.entered = false;
    this.quitting = new Promise(resolve => {
      this.quit = () => resolve(QUITTING);
    });
  }

  /** Shows the view until somebody quits. @throws whatever a look throws */
  async show() {
    const leave = () => this.leave();
    const endings = ENDINGS.map(signal => [ signal, () => this.endBy(signal) ]);
    const [ onKey, onResize, onContinue ] = [ keys => this.keys(String(keys)), () => this.redraw(), () => this.resume() ];
    process.on('exit', leave);
    process.on('SIGCONT', onContinue);
    endings.forEach(([ signal, end ]) => process.on(signal, end));
    this.output.on('resize', onResize);
    this.input.on('data', onKey);
    // The terminal is gone.
    this.input.on('error', this.quit);
    this.enter();
    try {
      for (;;) {
        // A master that is slow to answer does not hold up who wants to leave.
        const seen = await Promise.race([ this.look(), this.quitting ]);
        if (seen === QUITTING) return;
        this.seen = seen;
        this.redraw();
        if (await Promise.race([ this.pause(), this.quitting ]) === QUITTING) return;
      }
    } finally {
      this.leave();
      this.input.removeListener('data', onKey);
      this.input.removeListener('error', this.quit);
      this.input.pause();
      this.output.removeListener('resize', onResize);
      endings.forEach(([ signal, end ]) => process.removeListener(signal, end));
      process.removeListener('SIGCONT', onContinue);
      process.removeListener('exit', leave);
    }
  }

  enter() {
    this.entered = true;
    this.setRaw(true);
    this.output.write(ENTER);
  }

  leave() {
    if (!this.entered) return;
    this.entered = false;
    this.setRaw(false);
    this.output.write(LEAVE);
  }

  setRaw(isRaw) {
    try {
      if (this.input.isTTY) this.input.setRawMode(isRaw);
    } catch {
      // The terminal is gone.
    }
  }

  /** Ends as the signal would have ended it, after the terminal is as it was. */
  endBy(signal) {
    this.leave();
    process.removeAllListeners(signal);
    process.kill(process.pid, signal);
  }

  /** Somebody has stopped the process and let it go on: the terminal is the shell's meanwhile. */
  resume() {
    this.enter();
    this.redraw();
  }

  /** What was typed fast comes at once. */
  keys(keys) {
    for (const key of keys.match(KEY) || []) this.key(key);
  }

  key(key) {
    if (QUIT.includes(key)) {
      this.quit();
    } else if (key === CTRL_Z) {
      // As the terminal would do it: who has started this, such as npx, is stopped as well.
      this.leave();
      process.kill(0, 'SIGTSTP');
    } else if (MOVES[key] !== undefined) {
      const page = this.room();
      this.offset += Math.max(-page, Math.min(page, MOVES[key]));
      this.redraw();
    }
  }

  size() {
    return { columns: this.output.columns || USUAL.columns, rows: this.output.rows || USUAL.rows };
  }

  /** How many lines of what moves there is room for. */
  room() {
    return Math.max(1, this.size().rows - this.fixedRows);
  }

  redraw() {
    if (this.seen === null || !this.entered) return;
    const size = this.size();
    const { fixed: all, moving } = this.draw(this.seen, size);
    const fixed = shortened(all, Math.max(1, size.rows - LEAST_MOVING));
    this.fixedRows = fixed.length;
    this.offset = Math.max(0, Math.min(this.offset, moving.length - this.room()));
    const lines = [ ...fixed, ...moving.slice(this.offset) ].slice(0, size.rows);
    // Erased before it is written: behind a full line a terminal would take the last character.
    const text = lines.map(line => END_OF_LINE + fit(line, size.columns)).join('\r\n');
    this.output.write(HOME + text + (lines.length < size.rows ? `\r\n${END_OF_SCREEN}` : ''));
  }

  pause() {
    return new Promise(resolve => setTimeout(resolve, this.seconds * 1000));
  }
}

/** On a low terminal the lines in the middle are missed least: the last one is the head of the table. */
function shortened(lines, most) {
  return lines.length <= most ? lines : [ ...lines.slice(0, most - 1), lines[lines.length - 1] ];
}

module.exports = { Screen };
