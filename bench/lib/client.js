'use strict';

// The load: many short HTTP connections over loopback, a fixed number of them in flight. Runs in a process of its
// own. Each connection connects, asks once, reads to the end and is counted under exactly one outcome.
//
// argv[2] JSON: {port, connections, concurrency, sources, deadlineMs}
//   sources     from how many addresses, 127.0.0.1 and on, to connect in turn
//   deadlineMs  give up after that long
// Answers over its channel: {seconds, outcomes: {ok, ...}, latencyMs: {p50, p99, max}}

const net = require('net');

const REQUEST = Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n');
const CONNECTION_TIMEOUT_MS = 5000;

const { port, connections, concurrency, sources, deadlineMs } = JSON.parse(process.argv[2]);
const outcomes = { ok: 0, badAnswer: 0, refused: 0, reset: 0, timedOut: 0, otherError: 0, notTried: 0 };
const latencies = new Float64Array(connections);
let started = 0;
let finished = 0;
let pastDeadline = false;
const begin = process.hrtime.bigint();

function now() {
  return Number(process.hrtime.bigint() - begin) / 1e6;
}

function openOne() {
  const at = now();
  let answer = '';
  let outcome = null;
  const target = { port, host: '127.0.0.1' };
  if (sources > 1) target.localAddress = `127.0.0.${1 + (started % sources)}`;
  started++;
  const socket = net.connect(target);
  socket.setTimeout(CONNECTION_TIMEOUT_MS, () => {
    outcome = 'timedOut';
    socket.destroy();
  });
  socket.on('data', chunk => { answer += chunk.latin1Slice(); });
  socket.on('error', err => { outcome = outcome || classify(err); });
  socket.on('close', () => {
    const complete = answer.startsWith('HTTP/1.1 200 ') && answer.endsWith('\r\n\r\nok\n');
    settle(outcome || (complete ? 'ok' : 'badAnswer'), now() - at);
  });
  socket.write(REQUEST);
}

function classify(err) {
  if (err.code === 'ECONNREFUSED') return 'refused';
  if (err.code === 'ECONNRESET' || err.code === 'EPIPE') return 'reset';
  return 'otherError';
}

function settle(outcome, latency) {
  outcomes[outcome]++;
  latencies[finished++] = latency;
  if (started < connections && !pastDeadline) openOne();
  else if (finished === started) report();
}

function report() {
  const seconds = now() / 1000;
  clearTimeout(deadline);
  outcomes.notTried = connections - started;
  const sorted = latencies.subarray(0, finished).sort();
  const at = share => sorted[Math.min(finished - 1, Math.floor(finished * share))];
  const latencyMs = { p50: at(0.5), p99: at(0.99), max: at(1) };
  process.send({ seconds, outcomes, latencyMs }, () => process.disconnect());
}

// Whoever asked is gone: nobody will read the answer.
process.once('disconnect', () => process.exit());

const deadline = setTimeout(() => { pastDeadline = true; }, deadlineMs);
for (let i = 0; i < Math.min(concurrency, connections); i++) openOne();
