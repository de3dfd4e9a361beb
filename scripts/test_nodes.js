'use strict';

// `npm run test:nodes`: the JavaScript tests on every version of Node that the package promises.
// `npm run test:nodes -- [--at-once=N] [VERSION|oldest|newest|own]... [unit|js [NAME]...]` chooses how many versions run
// at the same time (1), versions, a part, and files by parts of their names.

const path = require('path');
const readline = require('readline');
const { spawn } = require('child_process');
const { ROOT, StepError, main } = require('./steps');
const { setup } = require('./setup');
const { installEggs } = require('./eggs');
const { VERSIONS, SWITCH, OWN_VERSION, nodeBinary } = require('./node_binaries');

const RUNNER = path.join(ROOT, '__test__', 'run.js');
const NAMES = { oldest: VERSIONS[0], newest: VERSIONS[VERSIONS.length - 1], own: OWN_VERSION };
/** The arguments of the runner for each part. */
const PARTS = { unit: [ '--unit' ], js: [] };

/** @return {{versions: string[], parts: string[], names: string[], atOnce: number}} what the arguments ask for */
function parseArguments(args) {
  const [ , atOnce ] = /^--at-once=([1-9])$/.exec(args[0] || '') || [];
  if (atOnce) args = args.slice(1);
  const rest = args.findIndex(arg => !/^\d+$/.test(arg) && !(arg in NAMES));
  const [ chosen, [ part, ...names ] ] = rest < 0 ? [ args, [] ] : [ args.slice(0, rest), args.slice(rest) ];
  if (part !== undefined && !(part in PARTS)) {
    throw new StepError(`'${part}' is neither a version nor a part: use 'npm run test:nodes -- 16 26 js close', versions `
      + `being numbers, ${Object.keys(NAMES).join(', ')}, and parts ${Object.keys(PARTS).join(', ')}`);
  }
  const versions = chosen.map(version => NAMES[version] || version);
  return {
    versions: versions.length ? [ ...new Set(versions) ] : VERSIONS, parts: part ? [ part ] : Object.keys(PARTS), names, atOnce: Number(atOnce || 1),
  };
}

/** @return {Promise<{code: number, last: string}>} the exit code of the runner, and the line that it closes with */
function run(version, node, args) {
  // Tools that the tests start look for `node` in PATH.
  const env = {
    ...process.env,
    PATH: [ path.dirname(node), process.env.PATH ].join(path.delimiter),
    EGG_CLUSTER_TEST_NPM_PATH: path.dirname(process.execPath),
  };
  const child = spawn(node, [ RUNNER, ...args ], { cwd: ROOT, env, stdio: [ 'ignore', 'pipe', 'inherit' ] });
  let last = '';
  readline.createInterface({ input: child.stdout, crlfDelay: Infinity }).on('line', line => {
    console.log(`${version} | ${line}`);
    if (line.trim()) last = line;
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', code => resolve({ code, last }));
  });
}

async function testOn(version, node, { parts, names }) {
  const rows = [];
  for (const part of parts) {
    console.log(`> Node ${version}: ${part} tests`);
    const start = Date.now();
    const { code, last } = await run(version, node, [ ...PARTS[part], ...names ]);
    rows.push({ 'Node': version, part, 'result': code === 0 ? 'ok' : 'FAILED', 'tests': last, 's': Math.round((Date.now() - start) / 1000) });
  }
  return rows;
}

main(async () => {
  const wanted = parseArguments(process.argv.slice(2));
  setup();
  // All of them first: a missing one shows before the long part.
  const nodes = wanted.versions.map(version => [ version, nodeBinary(version) ]);
  // With the npm of this Node: those of the others are not at hand, and packages without scripts are the same for all.
  installEggs(`${Math.max(OWN_VERSION, ...nodes.filter(([ , node ]) => node).map(([ version ]) => version))}.99.0`);
  const rows = nodes.filter(([ , node ]) => !node)
    .map(([ version ]) => ({ 'Node': version, 'part': '-', 'result': 'LEFT OUT', 'tests': `${SWITCH}=own`, 's': 0 }));
  const queue = nodes.filter(([ , node ]) => node);
  const lane = async () => {
    while (queue.length) rows.push(...await testOn(...queue.shift(), wanted));
  };
  await Promise.all(Array.from({ length: wanted.atOnce }, lane));
  rows.sort((a, b) => Number(a.Node) - Number(b.Node));
  console.log('');
  for (const row of rows) {
    console.log(`Node ${row.Node.padEnd(3)} ${row.part.padEnd(5)} ${row.result.padEnd(9)} ${row.tests} (${row.s} s)`);
  }
  const failed = rows.filter(({ result }) => result === 'FAILED');
  if (failed.length > 0) throw new StepError(`failed: ${failed.map(({ Node, part }) => `${part} tests on Node ${Node}`).join(', ')}`);
  if (rows.every(({ result }) => result === 'LEFT OUT')) console.log('No test has run.');
});
