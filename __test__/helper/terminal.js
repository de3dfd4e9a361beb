'use strict';

// A terminal in which a program runs: a pane of a tmux of its own, which is read as somebody would
// see it.

const { execFileSync, spawnSync } = require('child_process');
const { randomUUID } = require('crypto');
const { poll } = require('./processes');

const DEADLINE = 30000;
const BETWEEN = '=== and the same again ===';

/** Whether terminals can be had here. */
function hasTmux() {
  return spawnSync('tmux', [ '-V' ]).status === 0;
}

class Terminal {
  /**
   * @param {Object} size - `columns` and `rows`
   * @param {string[]} command - the program and its arguments
   * @param {Object} [surroundings] - `cwd`, and `env` over that of this process
   */
  constructor({ columns, rows }, command, { cwd, env = {} } = {}) {
    this.name = `egg-cluster-${randomUUID()}`;
    const full = { ...process.env, TMUX: undefined, NO_COLOR: undefined, FORCE_COLOR: undefined, LC_ALL: 'C.UTF-8', ...env };
    for (const key of Object.keys(full)) if (full[key] === undefined) delete full[key];
    const size = [ '-x', String(columns), '-y', String(rows) ];
    execFileSync('tmux', [ '-u', '-L', this.name, '-f', '/dev/null', 'new-session', '-d', ...size, ...command ], { cwd, env: full, stdio: 'pipe' });
  }

  tmux(...args) {
    return execFileSync('tmux', [ '-L', this.name, ...args ], { encoding: 'utf8', stdio: 'pipe' });
  }

  /** The screen as text: a line for each row, without what is empty below. */
  text() {
    return this.tmux('capture-pane', '-p').trimEnd();
  }

  /** The same with colours, as escape sequences. */
  painted() {
    return this.tmux('capture-pane', '-e', '-p').trimEnd();
  }

  /** Whether a line was longer than the pane, so that it goes on in the next row. */
  isWrapped() {
    // Both in one go, so that nothing is drawn in between.
    const both = this.tmux('capture-pane', '-J', '-p', ';', 'display-message', '-p', BETWEEN, ';', 'capture-pane', '-p');
    const [ joined, plain ] = both.split(`${BETWEEN}\n`).map(text => text.replace(/[ \n]+$/gm, ''));
    return joined !== plain;
  }

  /** `alternate`: a program has the screen for itself; `cursor`: it is to be seen. */
  state() {
    const [ alternate, cursor ] = this.tmux('display-message', '-p', '#{alternate_on} #{cursor_flag}').trim().split(' ');
    return { alternate: alternate === '1', cursor: cursor === '1' };
  }

  /** Presses keys, by the names that tmux has for them. */
  press(...keys) {
    this.tmux('send-keys', ...keys);
  }

  /** Awaits a screen. */
  async shows(what, isSo = () => what.test(this.text())) {
    if (!await poll(isSo, DEADLINE)) throw new Error(`not shown: ${what}, but\n${this.text()}`);
    return this.text();
  }

  close() {
    spawnSync('tmux', [ '-L', this.name, 'kill-server' ]);
  }
}

module.exports = { Terminal, hasTmux };
