'use strict';

// `npm run test:nodes`: the JavaScript tests on every version of Node that the package promises.
// `npm run test:nodes -- [VERSION|oldest|newest|own]... [unit|js [NAME]...]` chooses versions, a part, and files by
// parts of their names.

const path = require('path');
const { spawn } = require('child_process');
const { ROOT, StepError, main } = require('./steps');
const { setup } = require('./setup');
const { VERSIONS, SWITCH, OWN_VERSION, nodeBinary } = require('./node_binaries');

const RUNNER = path.join(ROOT, '__test__', 'run.js');
const NAMES = { oldest: VERSIONS[0], newest: VERSIONS[VERSIONS.length - 1], own: OWN_VERSION };
/** The arguments of the runner for each part. */
const PARTS = { unit: [ '--unit' ], js: [] };

/** @return {{versions: string[], parts: string[], names: string[]}} what the arguments ask for */
function parseArguments(args) {
  const rest = args.findIndex(arg => !/^\d+$/.test(arg) && !(arg in NAMES));
  const [ chosen, [ part, ...names ] ] = rest < 0 ? [ args, [] ] : [ args.slice(0, rest), args.slice(rest) ];
  if (part !== undefined && !(part in PARTS)) {
    throw new StepError(`'${part}' is neither a version nor a part: use 'npm run test:nodes -- 16 26 js close', versions `
      + `being numbers, ${Object.keys(NAMES).join(', ')}, and parts ${Object.keys(PARTS).join(', ')}`);
  }
  const versions = chosen.map(version => NAMES[version] || version);
  return { versions: versions.length ? [ ...new Set(versions) ] : VERSIONS, parts: part ? [ part ] : Object.keys(PARTS), names };
}

/** @return {Promise<{code: number, last: string}>} the exit code of the runner, and the line that it closes with */
function run(node, args) {
  // Tools that the tests start look for `node` in PATH.
  const env = { ...process.env, PATH: [ path.dirname(node), process.env.PATH ].join(path.delimiter) };
  const child = spawn(node, [ RUNNER, ...args ], { cwd: ROOT, env, stdio: [ 'ignore', 'pipe', 'inherit' ] });
  let output = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', text => {
    process.stdout.write(text);
    output = (output + text).slice(-1000);
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', code => resolve({ code, last: output.trim().split('\n').pop() }));
  });
}

async function testOn(version, node, { parts, names }) {
  const rows = [];
  for (const part of parts) {
    console.log(`\n> Node ${version}: ${part} tests`);
    const start = Date.now();
    const { code, last } = await run(node, [ ...PARTS[part], ...names ]);
    rows.push({ 'Node': version, part, 'result': code === 0 ? 'ok' : 'FAILED', 'tests': last, 's': Math.round((Date.now() - start) / 1000) });
  }
  return rows;
}

main(async () => {
  const wanted = parseArguments(process.argv.slice(2));
  setup();
  // All of them first: a missing one shows before the long part.
  const nodes = wanted.versions.map(version => [ version, nodeBinary(version) ]);
  const rows = [];
  for (const [ version, node ] of nodes) {
    if (node) rows.push(...await testOn(version, node, wanted));
    else rows.push({ 'Node': version, 'part': '-', 'result': 'LEFT OUT', 'tests': `${SWITCH}=own`, 's': 0 });
  }
  console.log('');
  for (const row of rows) {
    console.log(`Node ${row.Node.padEnd(3)} ${row.part.padEnd(5)} ${row.result.padEnd(9)} ${row.tests} (${row.s} s)`);
  }
  const failed = rows.filter(({ result }) => result === 'FAILED');
  if (failed.length > 0) throw new StepError(`failed: ${failed.map(({ Node, part }) => `${part} tests on Node ${Node}`).join(', ')}`);
  if (rows.every(({ result }) => result === 'LEFT OUT')) console.log('No test has run.');
});
