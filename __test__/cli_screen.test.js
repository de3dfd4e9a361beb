'use strict';

// What the command line draws, in real terminals.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { ownOnly } = require('./helper/test');
const { PROGRAM } = require('./helper/cli');
const { get } = require('./helper/http');
const { poll } = require('./helper/processes');
const { Terminal, hasTmux } = require('./helper/terminal');

const options = { skip: hasTmux() ? false : 'there is no tmux' };
const own = (name, body) => ownOnly('there is no command line', name, options, body);
const SIZES = [ { columns: 80, rows: 24 }, { columns: 40, rows: 15 } ];

/** A shell with something on its screen; `run` starts the command line, whose process id a file then has. */
async function shell(t, app, size, env) {
  const terminal = new Terminal(size, [ 'bash', '--norc', '-i' ], { cwd: app.home, env: { PS1: '> ', HISTFILE: undefined, ...env } });
  t.after(() => terminal.close());
  terminal.press('clear; echo before', 'Enter');
  await terminal.shows(/^before$/m);
  const pidFile = path.join(app.home, `${terminal.name}.pid`);
  const run = args => terminal.press(`bash -c 'echo $$ >${pidFile}; exec ${process.execPath} ${PROGRAM} ${args} --socket ${app.socket}'; echo "code=$?"`, 'Enter');
  return { terminal, run, pid: () => Number(fs.readFileSync(pidFile, 'utf8')) };
}

/** The shell has its terminal again, with what was there before. */
async function assertRestored(terminal, code) {
  await terminal.shows(new RegExp(`^code=${code}$`, 'm'));
  const text = terminal.text();
  assert.match(text, /^before$/m);
  assert.deepStrictEqual(terminal.state(), { alternate: false, cursor: true });
  // Keys are echoed, and lines are lines again.
  terminal.press('echo typed-$((1 + 1))', 'Enter');
  await terminal.shows(/^> echo typed-\$\(\(1 \+ 1\)\)$/m);
  await terminal.shows(/^typed-2$/m);
}

function assertFits(terminal, { columns, rows }) {
  const lines = terminal.text().split('\n');
  assert.ok(lines.length <= rows);
  for (const line of lines) assert.ok([ ...line ].length <= columns, line);
  assert.strictEqual(terminal.isWrapped(), false, terminal.text());
}

own('top and status --watch fit into wide and narrow terminals, with and without colours, and give them back', async t => {
  const app = await t.ready({ options: { env: 'prod', workers: 2 } });
  for (const size of SIZES) {
    for (const env of [ {}, { NO_COLOR: '1' } ]) {
      const { terminal, run } = await shell(t, app, size, env);
      run('top --interval 0.2');
      // The share of a processor is known from the second look on, and then there are bars.
      const bars = size.columns === 80 ? /^1 +\d+ +ready +\d+% +[▁▂▃▄▅▆▇█]{2,} +\d+ MB +[▁▂▃▄▅▆▇█]{2,} +\d+ +[▁▂▃▄▅▆▇█]{2,} +[\d.]+ ms +[▁▂▃▄▅▆▇█]{2,}$/m
        : /^1 +ready +\d+% +[▁▂▃▄▅▆▇█]{2,} +\d+ MB$/m;
      await terminal.shows(bars);
      assert.match(terminal.text(), /^egg-cluster-rs \S+ +running/);
      assert.match(terminal.text(), /^q quits/m);
      assertFits(terminal, size);
      assert.deepStrictEqual(terminal.state(), { alternate: true, cursor: false });
      assert.strictEqual(/\u001b\[[\d;]*m/.test(terminal.painted()), !env.NO_COLOR); // eslint-disable-line no-control-regex
      terminal.press('q');
      await assertRestored(terminal, 0);

      run('status --watch 0.2');
      await terminal.shows(/^1 .* ready .*\d+%/m);
      assert.doesNotMatch(terminal.text(), /before|code=/);
      assertFits(terminal, size);
      terminal.press('C-c');
      await terminal.shows(/code=0[^]*code=0/);
      assert.deepStrictEqual(terminal.state(), { alternate: false, cursor: true });

      terminal.press('clear; echo cleared', 'Enter');
      await terminal.shows(/^cleared$/m);
      run('status');
      await terminal.shows(/^code=0$/m);
      assert.match(terminal.text(), /^1 +\S.* ready /m);
      terminal.close();
    }
  }
});

own('what is drawn follows the master: load, and the size of the terminal', async t => {
  const app = await t.ready({ options: { env: 'prod', workers: 2 } });
  const { terminal, run } = await shell(t, app, SIZES[0]);
  run('top --interval 0.2');
  await terminal.shows(/accepted 0\/s/);
  const slow = Promise.all(Array.from({ length: 4 }, () => get(app.port, '/slow?ms=4000', { timeout: 20000 })));
  // Awaited below; until then a failure of the test is the news.
  slow.catch(() => {});
  await terminal.shows(/^[01] +\d+ +ready .* MB +[▁▂▃▄▅▆▇█]+ +[1-4] /m);
  terminal.tmux('resize-window', '-x', '40', '-y', '8');
  await terminal.shows(/^SLOT +STATE +CPU +MEMORY$/m);
  assertFits(terminal, { columns: 40, rows: 8 });
  // There is no room for all rows: the last one is below.
  assert.doesNotMatch(terminal.text(), /^1 /m);
  terminal.press('j', 'j', 'j', 'j', 'j');
  await terminal.shows(/^1 +ready/m);
  terminal.press('k', 'k', 'k', 'k', 'k');
  await terminal.shows(/^master/m);
  await slow;
  terminal.press('q');
  await terminal.shows(/^code=0$/m);
  assert.deepStrictEqual(terminal.state(), { alternate: false, cursor: true });
});

own('Ctrl-Z gives the terminal back for as long as it is stopped', async t => {
  const app = await t.ready({ options: { env: 'prod', workers: 1 } });
  const { terminal, run } = await shell(t, app, SIZES[0]);
  run('top --interval 0.2');
  await terminal.shows(/^0 .* ready/m);
  terminal.press('C-z');
  await assertRestored(terminal, 148);
  terminal.press('fg', 'Enter');
  await terminal.shows(/^0 .* ready/m);
  assert.deepStrictEqual(terminal.state(), { alternate: true, cursor: false });
  terminal.press('q');
  await terminal.shows(/^typed-2$/m);
  assert.deepStrictEqual(terminal.state(), { alternate: false, cursor: true });
});

own('the terminal is given back also at SIGTERM, and when the master ends', async t => {
  const app = await t.ready({ options: { env: 'prod', workers: 1 } });
  const { terminal, run, pid } = await shell(t, app, SIZES[0]);
  run('top --interval 0.2');
  await terminal.shows(/^0 .* ready/m);
  process.kill(pid(), 'SIGTERM');
  await assertRestored(terminal, 143);

  terminal.press('clear; echo before', 'Enter');
  await terminal.shows(/^before$/m, () => !terminal.text().includes('code='));
  run('status --watch 0.2');
  await terminal.shows(/^0 .* ready/m);
  await app.close();
  await assertRestored(terminal, 3);
  assert.match(terminal.text(), /^error: cannot reach a master at /m);
  assert.ok(await poll(() => !fs.existsSync(`/proc/${pid()}`), 10000));
});
