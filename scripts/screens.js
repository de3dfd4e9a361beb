'use strict';

// `npm run screens`: the images of the command line in docs/images, from a real Egg application under a small load. Needs tmux.

const fs = require('fs');
const path = require('path');
const { ROOT, main } = require('./steps');
const { setup } = require('./setup');
const { ansiToSvg } = require('./ansi_svg');

const IMAGES = path.join(ROOT, 'docs/images');
const PROGRAM = path.join(ROOT, 'bin/egg-cluster-rs.js');
const WORKERS = 3;
/** Requests at the same time, and how long they take, in turn. */
const LOAD = [ '/', '/', '/slow?ms=40', '/slow?ms=150' ];
/** So that the shell's own line is no part of the picture, the program is all that runs in the terminal. */
const SCREENS = [
  {
    name: 'top', args: [ 'top', '--interval', '0.5' ], size: { columns: 90, rows: 12 }, looks: 26,
    title: 'egg-cluster-rs top: the processes of a cluster under load',
  },
  {
    name: 'status', args: [ 'status', '--watch', '0.5' ], size: { columns: 110, rows: 10 }, looks: 3,
    title: 'egg-cluster-rs status: the master and its workers',
  },
];

async function takeScreens() {
  // They need what set-up installs.
  const { start } = require('../__test__/helper/cluster');
  const { startLoad } = require('../__test__/helper/load');
  const framework = path.join(ROOT, 'node_modules/egg');
  const app = await start({ app: 'egg', copy: true, options: { framework, workers: WORKERS, env: 'prod' } });
  try {
    await app.ready();
    await loseWorker(app);
    const loads = LOAD.map(target => startLoad(app.port, { concurrency: 1, path: target }));
    for (const screen of SCREENS) await take(screen, app);
    await Promise.all(loads.map(load => load.stop()));
    await app.close();
  } finally {
    await app.destroy();
  }
}

/** One worker dies, so that there is something to see. */
async function loseWorker(app) {
  const { status, until } = require('../__test__/helper/control');
  const { slots } = await status(app.socket);
  process.kill(slots[1].process.pid, 'SIGKILL');
  await until(app.socket, report => report.slots[1].restarts === 1 && report.slots[1].process && report.slots[1].process.state === 'ready');
}

async function take({ name, args, size, title, looks }, app) {
  const { Terminal } = require('../__test__/helper/terminal');
  const terminal = new Terminal(size, [ process.execPath, PROGRAM, ...args, '--socket', app.socket ], { cwd: app.options.baseDir });
  try {
    await terminal.shows(new RegExp(`^${WORKERS - 1} +.*ready .*\\d+%`, 'm'));
    let seen = 0;
    let last = '';
    // Each look changes something: the uptime at the least.
    await terminal.shows('enough looks', () => {
      const now = terminal.text();
      if (now !== last) seen++;
      last = now;
      return seen >= looks;
    });
    // The temporary directory is no news to anybody.
    const neutral = text => text.split(app.home).join('/srv');
    write(`${name}.txt`, `${neutral(terminal.text())}\n`);
    write(`${name}.svg`, ansiToSvg(neutral(terminal.painted()), size, title));
  } finally {
    terminal.close();
  }
}

function write(name, text) {
  fs.writeFileSync(path.join(IMAGES, name), text);
  console.log(`wrote docs/images/${name}`);
}

main(async () => {
  setup();
  if (!require('../__test__/helper/terminal').hasTmux()) {
    console.log('skipped: there is no tmux, which is the terminal that the images are taken of');
    return;
  }
  await takeScreens();
});
