'use strict';

// The load: many short HTTP connections over loopback. Runs in a process of its own. Each connection connects, asks once,
// reads to the end and is counted under exactly one outcome.
//
// Without `rate` a fixed number of them is in flight, and whoever answers faster is asked more often. With `rate` as many
// are opened per second whether the ones before are answered or not, as clients that know nothing of one another do.
//
// argv[2] JSON: {port, connections, concurrency, rate, sources, header, deadlineMs}
//   concurrency how many are in flight; with a rate the most that may be
//   sources     from how many addresses, 127.0.0.1 and on, to connect in turn
//   header      a further line of the request's head; in it # is the number of the source, from 1
//   deadlineMs  give up after that long
// Answers over its channel: {seconds, outcomes: {ok, ...}, latencyMs: {p50, p99, max}, workers: {pid: connections}}

const net = require('net');

const CONNECTION_TIMEOUT_MS = 5000;
/** How often what is due is opened. */
const TICK_MS = 1;

const { port, connections, concurrency, rate, sources, header, deadlineMs } = JSON.parse(process.argv[2]);
const requests = Array.from({ length: sources }, (_, source) => requestFrom(source + 1));
const outcomes = { ok: 0, badAnswer: 0, refused: 0, reset: 0, timedOut: 0, otherError: 0, notTried: 0 };
const latencies = new Float64Array(connections);
const workers = {};
let started = 0;
let finished = 0;
let noMore = false;
const begin = process.hrtime.bigint();

function now() {
  return Number(process.hrtime.bigint() - begin) / 1e6;
}

function requestFrom(source) {
  const further = header ? `${header.replace('#', source)}\r\n` : '';
  return Buffer.from(`GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${further}\r\n`);
}

function openOne() {
  const at = now();
  let answer = '';
  let outcome = null;
  const target = { port, host: '127.0.0.1' };
  const source = started % sources;
  if (sources > 1) target.localAddress = `127.0.0.${1 + source}`;
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
    if (complete) countWorker(answer);
    settle(outcome || (complete ? 'ok' : 'badAnswer'), now() - at);
  });
  socket.write(requests[source]);
}

function classify(err) {
  if (err.code === 'ECONNREFUSED') return 'refused';
  if (err.code === 'ECONNRESET' || err.code === 'EPIPE') return 'reset';
  return 'otherError';
}

/** An application that says which worker answers does so in this header. */
function countWorker(answer) {
  const pid = answer.match(/\r\nX-Worker: (\d+)\r\n/);
  if (pid) workers[pid[1]] = (workers[pid[1]] || 0) + 1;
}

function settle(outcome, latency) {
  outcomes[outcome]++;
  latencies[finished++] = latency;
  if (!rate && started < connections && !noMore) openOne();
  else if (finished === started && (noMore || started === connections)) report();
}

/** Opens what is due by now. A server that falls far behind gets no more, and what it did not get counts as not tried. */
function openDue() {
  const due = Math.min(connections, Math.floor(now() / 1000 * rate));
  while (started < due && !noMore) {
    if (started - finished >= concurrency) stop();
    else openOne();
  }
  if (started === connections) clearInterval(ticks);
}

function stop() {
  noMore = true;
  clearInterval(ticks);
}

function report() {
  const seconds = now() / 1000;
  clearTimeout(deadline);
  outcomes.notTried = connections - started;
  const sorted = latencies.subarray(0, finished).sort();
  const at = share => sorted[Math.min(finished - 1, Math.floor(finished * share))];
  const latencyMs = { p50: at(0.5), p99: at(0.99), max: at(1) };
  process.send({ seconds, outcomes, latencyMs, workers }, () => process.disconnect());
}

// Whoever asked is gone: nobody will read the answer.
process.once('disconnect', () => process.exit());

const deadline = setTimeout(stop, deadlineMs);
const ticks = rate ? setInterval(openDue, TICK_MS) : null;
if (!rate) for (let i = 0; i < Math.min(concurrency, connections); i++) openOne();
