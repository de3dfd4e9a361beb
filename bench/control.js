'use strict';

// `npm run bench:control`: how long the control socket takes to answer while a worker is in an endless loop and the
// master's own JavaScript stands still. Exits with 1 when one answer in a hundred takes longer than the goal.

const http = require('http');
const { start } = require('../__test__/helper/cluster');

const GOAL_MS = 100;
const ANSWERS = 100;
const BLOCKED_MS = 10000;
/** The answers must have come by then, or the master was not blocked any more. */
const MARGIN_MS = 1000;
const TARGETS = [ '/healthz', '/status', '/metrics' ];

async function main() {
  const app = await start({
    script: 'blocked.js', scriptArgs: { ms: BLOCKED_MS }, options: { env: 'prod', workers: 2 },
  });
  try {
    await app.ready();
    const [ stuck ] = await app.workerPids();
    console.log('  answers of                 median ms   p99 ms   most ms');
    print('idle', await measureAll(app.socket));
    app.tell('app', 'busy', { ms: 600000 }, stuck);
    const blockedAt = Date.now();
    app.tell('agent', 'send', { message: { to: 'master', action: 'block' } });
    await app.report('blocked');
    const times = await measureAll(app.socket);
    times['POST /reload'] = [ await answerTime(app.socket, '/reload', 'POST') ];
    if (Date.now() - blockedAt > BLOCKED_MS - MARGIN_MS) throw new Error('the measurement took longer than the master was blocked');
    const worst = print('a loop and a blocked master', times);
    if (worst > GOAL_MS) process.exitCode = 1;
    console.log(`\n  goal: p99 of at most ${GOAL_MS} ms while blocked: ${worst > GOAL_MS ? 'missed' : 'met'}`);
    await app.report('unblocked');
  } finally {
    await app.destroy();
  }
}

async function measureAll(socket) {
  const times = {};
  for (const target of TARGETS) {
    times[target] = [];
    for (let i = 0; i < ANSWERS; i++) times[target].push(await answerTime(socket, target));
  }
  return times;
}

/** On a connection of its own, to the last byte. */
function answerTime(socketPath, path, method = 'GET') {
  const begun = process.hrtime.bigint();
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, path, method, agent: false }, response => {
      response.resume();
      response.on('end', () => resolve(Number(process.hrtime.bigint() - begun) / 1e6));
    });
    request.on('error', reject);
    request.end();
  });
}

function print(title, times) {
  let worst = 0;
  console.log(`  ${title}`);
  for (const [ target, list ] of Object.entries(times)) {
    const sorted = [ ...list ].sort((a, b) => a - b);
    const at = share => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    worst = Math.max(worst, at(0.99));
    console.log(`    ${target.padEnd(22)} ${[ at(0.5), at(0.99), at(1) ].map(ms => ms.toFixed(2).padStart(9)).join(' ')}`);
  }
  return worst;
}

main().catch(err => {
  console.error(`error: ${err.message}`);
  process.exitCode = 1;
});
