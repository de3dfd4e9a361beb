'use strict';

/** `status`, `top` and `list`: what is. */

const { ask, request } = require('./client');
const { allSockets } = require('./find');
const { bytes, duration, table } = require('./text');

const CLEAR = '\u001b[H\u001b[2J';
const HEAD = [ 'SLOT', 'ID', 'PID', 'STATE', 'FOR', 'UPTIME', 'RESTARTS', 'MEMORY' ];
const STATE_COLOURS = { ready: 'green', starting: 'yellow', draining: 'yellow', ending: 'yellow', stuck: 'red', waiting: 'red', empty: 'red' };

/**
 * @param {Object} context - `socket`, `out`, `paint`
 * @param {Object} options - `json`, `watch` (seconds, or undefined)
 */
async function status(context, { json, watch }) {
  const seconds = watch === true ? 2 : watch;
  let before = null;
  for (;;) {
    const report = await ask(context.socket, 'GET', '/status');
    const text = json ? JSON.stringify(report, null, seconds ? 0 : 2) : statusText(report, context.paint, before);
    context.out(seconds && !json && context.isTerminal ? CLEAR + text : text);
    if (!seconds) return;
    before = report;
    await new Promise(resolve => setTimeout(resolve, seconds * 1000));
  }
}

function statusText(report, paint, before = null) {
  return [ headline(report, paint), ...notes(report, paint), '', processTable(report, paint, before) ].join('\n');
}

function headline({ version, pid, phase, ready, notReady, uptimeMs, address, master }, paint) {
  const state = ready ? paint('green', phase) : paint('red', phase === notReady ? phase : `${phase}, not ready: ${notReady}`);
  const parts = [ paint('bold', `egg-cluster-rs ${version}`), state, `pid ${pid}`, `up ${duration(uptimeMs)}`, `master ${bytes(master && master.rssBytes)}` ];
  if (address) parts.push(address);
  return parts.join('  ');
}

function notes({ baseDir, connections, waits, listeners, reload, lastReload, paused, restartLimitExceeded }, paint) {
  const lines = [ paint('dim', baseDir) ];
  for (const { kind, address, accepting, waiting } of listeners) {
    const rests = accepting || kind.startsWith('shared') ? '' : paint('yellow', ', not accepting at this moment');
    lines.push(`listens on ${address} (${kind})${waiting > 0 ? `, ${waiting} waiting` : ''}${rests}`);
  }
  const { accepted, waiting, peeking, timedOut, unwanted } = connections;
  lines.push(`connections: ${accepted} accepted, ${waiting + peeking} waiting` +
    (timedOut + unwanted > 0 ? paint('red', `, ${timedOut + unwanted} closed unserved`) : ''));
  const waited = waits.fullOutboxes + waits.pausedSenders;
  if (waited > 0) lines.push(paint('yellow', `messages have had to wait ${waited} times for processes that do not keep up`));
  if (paused) lines.push(paint('yellow', 'paused: new connections wait in the queue of the kernel; egg-cluster-rs resume ends that'));
  if (restartLimitExceeded) lines.push(paint('red', 'too many workers die: restarts are as slow as they get'));
  if (reload) lines.push(paint('yellow', reloadText(reload)));
  if (lastReload) lines.push(lastReloadText(lastReload, paint));
  return lines;
}

function reloadText({ slot, forMs, todo, incoming, outgoing, replacingAgent }) {
  const what = slot === null ? 'reload' : `restart of slot ${slot}`;
  const agent = replacingAgent ? ', the agent first' : '';
  return `${what} under way for ${duration(forMs)}${agent}: ${incoming.length} starting, ${outgoing} leaving, ${todo.length} to do`;
}

function lastReloadText({ slot, result, reason, tookMs, agoMs }, paint) {
  const what = slot === null ? 'reload' : `restart of slot ${slot}`;
  if (result === 'done') return `last ${what}: done in ${duration(tookMs)}, ${duration(agoMs)} ago`;
  return paint('red', `last ${what}: failed ${duration(agoMs)} ago, ${reason}`);
}

function processTable(report, paint, before) {
  const head = [ ...HEAD, before ? 'CPU' : 'CPU TIME', 'DELAY', 'REQUESTS', 'OPEN', 'TAKEN', 'LAST EXIT' ];
  const places = [ [ 'agent', report.agent ], ...report.slots.map(place => [ String(place.slot), place ]) ];
  const rows = places.map(([ name, place ]) => placeRow(name, place, paint, before));
  for (const process of report.others) rows.push(processRow(`(${process.slot})`, process, {}, paint, before));
  return table(head, rows);
}

function placeRow(name, place, paint, before) {
  if (place.process) return processRow(name, place.process, place, paint, before);
  const state = place.waiting ? `waiting ${duration(place.restartInMs)}` : 'empty';
  const shown = paint(STATE_COLOURS[place.waiting ? 'waiting' : 'empty'], state);
  return [ name, '-', '-', shown, '-', '-', place.restarts, '-', '-', '-', '-', '-', place.counters.taken, exitText(place) ];
}

function processRow(name, process, place, paint, before) {
  const { id, pid, state, stateForMs, uptimeMs, rssBytes, pingMs, requests, connections, role } = process;
  return [
    name, id, or(pid), paint(STATE_COLOURS[state], state), duration(stateForMs), duration(uptimeMs),
    place.counters ? place.restarts : '-', bytes(rssBytes), cpuText(process, before), pingMs === null ? '-' : `${pingMs.toFixed(1)} ms`,
    or(requests), or(connections), place.counters && role === 'app' ? place.counters.taken : '-', exitText(place),
  ];
}

function or(value) {
  return value === null ? '-' : value;
}

/** With an earlier look: how much of a processor since then. */
function cpuText({ pid, cpuMs, uptimeMs }, before) {
  if (cpuMs === null) return '-';
  if (!before) return duration(cpuMs);
  const processes = [ before.agent, ...before.slots ].map(place => place.process).concat(before.others);
  const earlier = processes.find(process => process && process.pid === pid) || { cpuMs: 0, uptimeMs: 0 };
  const passed = Math.max(1, uptimeMs - earlier.uptimeMs);
  return `${Math.round(100 * (cpuMs - earlier.cpuMs) / passed)}%`;
}

function exitText({ lastExit, lastError }) {
  if (lastError) return lastError;
  if (!lastExit) return '';
  return lastExit.signal ? `${lastExit.signal} (pid ${lastExit.pid})` : `code ${lastExit.code} (pid ${lastExit.pid})`;
}

/** All masters of this host that can be found. */
async function list(context, { json }) {
  const found = await Promise.all(allSockets().map(look));
  if (json) {
    context.out(JSON.stringify(found, null, 2));
  } else if (found.length === 0) {
    context.out('no master is running, or all have a control socket of another name, or none');
  } else {
    const rows = found.map(({ socket, error, report }) => (report
      ? [ report.pid, report.phase, `${report.slots.filter(({ process }) => process && process.state === 'ready').length}/${report.slots.length}`,
        duration(report.uptimeMs), report.address || '-', report.baseDir, socket ]
      : [ '-', '-', '-', '-', '-', error, socket ]));
    context.out(table([ 'PID', 'PHASE', 'READY', 'UPTIME', 'ADDRESS', 'DIRECTORY', 'SOCKET' ], rows));
  }
}

async function look(socket) {
  try {
    const { status: code, json } = await request(socket, 'GET', '/status');
    if (code === 200 && typeof json.phase === 'string') return { socket, report: json };
    return { socket, error: json.error || `HTTP ${code}` };
  } catch (err) {
    return { socket, error: err.message };
  }
}

module.exports = { status, list, statusText };
