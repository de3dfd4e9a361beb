'use strict';

// The commands of the documents work: each block of `bash` is run, page by page, in the directory of a real
// Egg application that is installed as npm would install it. What cannot be run in a test stands in LEFT_OUT, with the reason,
// and is looked at all the same: scripts, commands, options and files that it names have to exist. A block of `sh` is for another
// host: all of it has to stand there.

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const { spawn, spawnSync } = require('child_process');
const { randomUUID } = require('crypto');
const { ownOnly } = require('./helper/test');
const { cleanEnv } = require('./helper/cluster');
const { whatIsMissing } = require('./helper/commands');
const { installApp } = require('./helper/installed_app');
const { pages, read, fences } = require('./helper/markdown');
const { freePort } = require('./helper/ports');
const processes = require('./helper/processes');

const LEFT_OUT = [
  [ /^npm (install|ci)\b/, 'needs a registry; what it would install is there' ],
  [ /^npm (start|test)\b/, 'sets the repository up, and is what runs this test' ],
  [ /^npm run (bench|chaos|simulate|soak|fuzz|screens)\b/, 'takes minutes' ],
  [ /^CLUSTER_UNDER_TEST=/, 'takes minutes' ],
  [ /^npx (mocha|jest) /, 'is run by test_runners.test.js' ],
  [ /^(sudo|systemctl|journalctl|docker|podman|kubectl|helm|pm2)\b|^cp deploy\//, 'is for a production host' ],
];
/** What follows without end: it is ended after a moment, and must not have ended before. */
const ENDLESS = /^npx egg-cluster-rs (logs|events|top)\b/;
/** Commands that say by their exit code what they have found. */
const FAILING = [ [ /^npx egg-cluster-rs doctor --port/, 1, 'the application itself has the port' ] ];
/** Pages that start an application of their own. */
const SELF_CONTAINED = [ 'docs/getting-started.md', 'docs/switching.md' ];
/** The port of the documents, which is not free everywhere. */
const PORT = /\b7001\b/g;
const LIMIT = 100000;

const hasTools = [ 'bash', 'curl', 'timeout', 'tar' ].find(tool => spawnSync(tool, [ '--version' ]).status !== 0);
const options = { skip: hasTools ? `there is no ${hasTools}` : false };
const own = (name, body) => ownOnly('the documents are ours', name, options, body);

const HELPERS = `
set -euo pipefail
trap 'echo "failed: $BASH_COMMAND" >&2' ERR
endless() { local code=0; timeout 1.5 "$@" >/dev/null || code=$?; [ "$code" = 124 ]; }
exits_with() { local code=0; "\${@:2}" || code=$?; [ "$code" = "$1" ]; }
running() { npx egg-cluster-rs status >/dev/null 2>&1 || npx egg-scripts start --daemon --port=7001 --workers=2 --title=docs; }
`;

/** A line of a document as it is run. */
function runnable(line) {
  if (LEFT_OUT.some(([ pattern ]) => pattern.test(line))) return ':';
  const failing = FAILING.find(([ pattern ]) => pattern.test(line));
  if (failing) return `exits_with ${failing[1]} ${line}`;
  return ENDLESS.test(line) ? `endless ${line}` : line;
}

/** Its blocks of commands: `{ commands, line }`. What goes on in the next line is one command. */
function commandBlocks(page, wanted = 'bash') {
  const blocks = fences(read(page)).filter(({ language }) => language === wanted);
  return blocks.map(({ body, line }) => ({ line, commands: body.replace(/\\\n\s*/g, '').split('\n') }));
}

/** All commands of a page as one script, for what one block has done the next one builds on. */
function scriptOf(page) {
  const isSelfContained = SELF_CONTAINED.includes(page);
  const blocks = commandBlocks(page).map(({ commands, line }) => [
    `echo '@@ ${page}:${line}' >&2`, ...(isSelfContained ? [] : [ 'running' ]), ...commands.map(runnable),
  ].join('\n'));
  return [ HELPERS, ...blocks ].join('\n');
}

/** An application that finds the package as `egg-cluster`, by an override, and under its own name. */
function installedApp(t) {
  const { baseDir, modules, remove } = installApp();
  t.after(remove);
  fs.symlinkSync('egg-cluster', path.join(modules, 'egg-cluster-rs'));
  const bin = path.join(modules, '.bin');
  fs.mkdirSync(bin);
  const programs = { 'egg-cluster-rs': 'egg-cluster-rs/bin/egg-cluster-rs.js', 'egg-scripts': 'egg-scripts/bin/egg-scripts.js' };
  for (const [ name, file ] of Object.entries(programs)) fs.symlinkSync(path.join(modules, file), path.join(bin, name));
  return { baseDir, modules };
}

/** npx as it is where the program is installed, and quicker: it is not npx that is tested. */
function stubs(modules) {
  const dir = path.join(path.dirname(modules), 'stubs');
  fs.mkdirSync(dir);
  const program = (name, text) => fs.writeFileSync(path.join(dir, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  program('npx', `name=$1; shift\nexec "${modules}/.bin/$name" "$@"`);
  // The Node under test may be too old for the npm that is there.
  const { EGG_CLUSTER_TEST_NPM_PATH: npmPath } = process.env;
  if (npmPath) program('npm', `PATH="${npmPath}:$PATH" exec "${npmPath}/npm" "$@"`);
  return dir;
}

async function runScript(t, script, { cwd, stubDir, port }) {
  const marker = randomUUID();
  const home = fs.mkdtempSync(path.join(stubDir, 'home-'));
  const files = [ 'stdout', 'stderr' ].map(name => path.join(home, name));
  // Not pipes: what goes on in the background would hold them open.
  const outputs = files.map(file => fs.openSync(file, 'w'));
  const child = spawn('bash', [ '-c', script.replace(PORT, String(port)) ], {
    cwd, stdio: [ 'ignore', ...outputs ], detached: true,
    // npm would ask the registry for its own updates.
    env: { ...cleanEnv(), npm_config_update_notifier: 'false', HOME: home, PATH: `${stubDir}:${process.env.PATH}`, [processes.MASTER_MARKER]: marker },
  });
  outputs.forEach(fd => fs.closeSync(fd));
  t.after(() => processes.poll(() => {
    const left = processes.marked(processes.MASTER_MARKER, marker);
    left.forEach(pid => processes.kill(pid, 'SIGKILL'));
    return left.length === 0;
  }, 10000));
  const timer = setTimeout(() => child.kill('SIGKILL'), LIMIT);
  const code = await new Promise(resolve => child.once('exit', resolve));
  clearTimeout(timer);
  const [ out, err ] = files.map(file => fs.readFileSync(file, 'utf8'));
  return { code, out, err };
}

async function assertRuns(t, page, app) {
  const { code, out, err } = await runScript(t, scriptOf(page), app);
  assert.strictEqual(code, 0, `${page} ended with ${code}\n${out.slice(-5000)}\n--- stderr\n${err.slice(-5000)}`);
  return out;
}

own('every page with commands is run, or all its commands are left out for a reason', async () => {
  const commands = pages().flatMap(page => commandBlocks(page).flatMap(block => block.commands));
  const used = LEFT_OUT.filter(([ pattern ]) => commands.some(line => pattern.test(line)));
  assert.ok(used.length >= 5 && commands.length > 40, `${commands.length} commands`);
  for (const line of commands) {
    if (LEFT_OUT.some(([ pattern ]) => pattern.test(line))) assert.strictEqual(whatIsMissing(line), null, line);
  }
  for (const page of pages()) {
    for (const { commands: shown, line } of commandBlocks(page, 'sh')) {
      for (const command of shown.filter(Boolean)) assert.strictEqual(runnable(command), ':', `${page}:${line}: ${command}: it can be run, in a block of bash`);
    }
  }
});

/** A directory that finds the modules of the application. */
function beside({ baseDir, modules }, name, from) {
  const dir = path.join(path.dirname(baseDir), name);
  fs.mkdirSync(dir);
  if (from) fs.cpSync(from, dir, { recursive: true, filter: file => !file.startsWith(modules) });
  fs.symlinkSync(modules, path.join(dir, 'node_modules'));
  return dir;
}

async function gettingStarted(t, app) {
  const out = await assertRuns(t, 'docs/getting-started.md', { ...app, cwd: beside(app, 'getting-started'), port: await freePort() });
  assert.match(out, /says hello\n/);
  assert.match(out, /SIGKILL \(pid \d+\)/);
  assert.match(out, /stopped\n$/);
}

async function switching(t, app) {
  const out = await assertRuns(t, 'docs/switching.md', { ...app, cwd: beside(app, 'switching', app.baseDir), port: await freePort() });
  // By a framework, and by an override.
  assert.strictEqual([ ...out.matchAll(/^egg-cluster-rs \S+ +running/gm) ].length, 2, out);
}

async function otherPages(t, app) {
  const isRun = page => commandBlocks(page).some(({ commands }) => commands.some(line => line !== '' && runnable(line) !== ':'));
  // The README last, for it adds workers.
  const running = pages().filter(page => !SELF_CONTAINED.includes(page) && isRun(page)).reverse();
  assert.ok(running.includes('README.md') && running.includes('docs/troubleshooting.md'), running.join());
  const port = await freePort();
  for (const page of running) await assertRuns(t, page, { ...app, cwd: app.baseDir, port });
}

own('the commands of the documents work, from the first to the last of each page', async t => {
  const app = installedApp(t);
  app.stubDir = stubs(app.modules);
  // At the same time, for much of it is waiting. All are awaited, so that none is left when one fails.
  const ends = await Promise.allSettled([ gettingStarted, switching, otherPages ].map(run => run(t, app)));
  for (const { reason } of ends) if (reason) throw reason;
});
