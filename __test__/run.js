'use strict';

// Runs the test files, two at a time, and afterwards looks for processes that any of them has left
// behind. `node __test__/run.js [--unit] [part of a file name]...`; CLUSTER_UNDER_TEST names another
// module than this package, such as the original egg-cluster. `--unit`: the files of `unit`, for
// Nodes whose own `--test` cannot do as much.

const fs = require('fs');
const path = require('path');
const { spawn } = require('child_process');
const { randomUUID } = require('crypto');
const processes = require('./helper/processes');

const CONCURRENCY = 2;
const FILE_LIMIT = 240000;
const run = randomUUID();
const isUnit = process.argv.includes('--unit');
const directory = isUnit ? path.join(__dirname, 'unit') : __dirname;

function testFiles(parts) {
  const files = fs.readdirSync(directory).filter(name => name.endsWith('.test.js'));
  const wanted = files.filter(name => parts.length === 0 || parts.some(part => name.includes(part)));
  // The one that waits longest goes first, so that nothing waits for it in the end.
  return wanted.sort((a, b) => Number(b.startsWith('alive_check')) - Number(a.startsWith('alive_check')));
}

function supportsReporter() {
  const [ major, minor ] = process.versions.node.split('.').map(Number);
  return major > 18 || (major === 18 && minor >= 15);
}

function runFile(name) {
  const start = Date.now();
  // One marker for the run and one for the file: a file that hangs is ended with its own processes only.
  const marker = `${run}/${name}`;
  const argv = [ ...(supportsReporter() ? [ '--test-reporter=tap' ] : []), path.join(directory, name) ];
  const child = spawn(process.execPath, argv, {
    env: { ...process.env, [processes.RUN_MARKER]: marker },
    stdio: [ 'ignore', 'pipe', 'pipe' ],
  });
  let output = '';
  for (const stream of [ child.stdout, child.stderr ]) {
    stream.setEncoding('utf8');
    stream.on('data', text => {
      output += text;
    });
  }
  return new Promise(resolve => {
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
      killMarked(marker);
    }, FILE_LIMIT);
    child.once('close', code => {
      clearTimeout(timer);
      resolve(verdict({ name, code, late, output, ms: Date.now() - start, marker }));
    });
  });
}

function verdict({ name, code, late, output, ms, marker }) {
  const lines = output.split('\n');
  const tests = lines.filter(line => /^(not )?ok \d+ /.test(line));
  const skipped = tests.filter(line => /# SKIP/i.test(line));
  const failed = tests.filter(line => line.startsWith('not ok'));
  const left = processes.marked(processes.RUN_MARKER, marker);
  const problems = [
    ...(late ? [ `did not end within ${FILE_LIMIT} ms` ] : []),
    ...(left.length ? [ `left behind: ${left.map(processes.describe).join('; ')}` ] : []),
    ...(tests.length === 0 ? [ 'has run no test' ] : []),
  ];
  left.forEach(pid => processes.kill(pid, 'SIGKILL'));
  const ok = code === 0 && failed.length === 0 && problems.length === 0;
  return { name, ok, code, output, problems, ms, tests, skipped, failed };
}

function killMarked(marker) {
  processes.marked(processes.RUN_MARKER, marker).forEach(pid => processes.kill(pid, 'SIGKILL'));
}

function print(result) {
  const { name, ok, ms, tests, skipped, failed, problems, output } = result;
  const passed = tests.length - skipped.length - failed.length;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}: ${passed} passed, ${failed.length} failed, ${skipped.length} skipped (${(ms / 1000).toFixed(1)} s)`);
  for (const line of skipped) console.log(`     ${line.replace(/^ok \d+ -? ?/, 'skipped: ')}`);
  for (const line of problems) console.log(`     ${line}`);
  if (!ok) console.log(output);
}

async function main() {
  const start = Date.now();
  const queue = testFiles(process.argv.slice(2).filter(arg => arg !== '--unit'));
  const results = [];
  const lane = async () => {
    while (queue.length) {
      const result = await runFile(queue.shift());
      results.push(result);
      print(result);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, lane));
  const sum = key => results.reduce((total, result) => total + result[key].length, 0);
  const bad = results.filter(result => !result.ok);
  const [ failed, skipped ] = [ sum('failed'), sum('skipped') ];
  console.log(`\n${results.length} files in ${((Date.now() - start) / 1000).toFixed(1)} s`);
  if (bad.length) console.log(`failed: ${bad.map(result => result.name).join(', ')}`);
  console.log(`${sum('tests') - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
  process.exitCode = bad.length || results.length === 0 ? 1 : 0;
}

main();
