'use strict';

/** `status` and `list`: what is. */

const { statusOf } = require('./client');
const { CliError } = require('./failure');
const { allSockets } = require('./find');
const { Screen } = require('./screen');
const { bytes, clean, duration, fit, table, wrap } = require('./text');

const HEAD = [ 'SLOT', 'ID', 'PID', 'STATE', 'FOR', 'UPTIME', 'RESTARTS', 'MEMORY', 'CPU', 'DELAY', 'HEARD', 'REQUESTS', 'OPEN',
  'TAKEN', 'REFUSED', 'MOVED', 'WAITING', 'MSGS IN', 'MSGS OUT', 'QUEUED', 'LAST EXIT' ];
/** What a narrow terminal can do without, the least missed first; `status SLOT` has all of it. */
const LEAST_FIRST = [ 'MSGS OUT', 'MSGS IN', 'HEARD', 'MOVED', 'REFUSED', 'QUEUED', 'TAKEN', 'FOR', 'LAST EXIT', 'WAITING', 'ID', 'UPTIME', 'OPEN',
  'DELAY', 'REQUESTS', 'RESTARTS', 'CPU', 'MEMORY' ];
const STATE_COLOURS = { ready: 'green', starting: 'yellow', draining: 'yellow', ending: 'yellow', stuck: 'red', waiting: 'red', empty: 'red' };
const LIST_HEAD = [ 'PID', 'PHASE', 'READY', 'UPTIME', 'ADDRESS', 'DIRECTORY', 'SOCKET' ];

/**
 * @param {Object} context - `socket`, `out`, `paint`, `columns`, `terminal`
 * @param {string} [place] - `agent`, or the number of a slot: only that, in full
 * @param {Object} options - `json`, `watch` (seconds, or undefined)
 */
async function status(context, place, { json, watch }) {
  const seconds = watch === true ? 2 : watch;
  const look = () => statusOf(context.socket);
  if (json) {
    const shown = report => JSON.stringify(place === undefined ? report : placeOf(report, place), null, seconds ? 0 : 2);
    await repeat(seconds, async () => context.out(shown(await look())));
    return;
  }
  let before = null;
  const draw = (report, columns) => {
    const text = place === undefined ? statusText(report, context.paint, { before, columns }) : placeText(report, place, context.paint, columns);
    before = report;
    return text;
  };
  if (seconds && context.terminal) {
    // What is redrawn, since the terminal has another size, is no new look.
    const looked = async () => ({ before, report: await look() });
    await watchScreen(context, seconds, looked, ({ before: earlier, report }, { columns }) => {
      before = earlier;
      return { fixed: [], moving: draw(report, columns).split('\n') };
    });
    return;
  }
  await repeat(seconds, async () => context.out(draw(await look(), context.columns)));
}

/** Once, or again and again. */
async function repeat(seconds, act) {
  for (;;) {
    await act();
    if (!seconds) return;
    await new Promise(resolve => setTimeout(resolve, seconds * 1000));
  }
}

/** Shows a view until somebody quits; that ends the process, whatever is still under way. */
async function watchScreen({ terminal }, seconds, look, draw) {
  await new Screen(terminal, { seconds, look, draw }).show();
  process.exit(0);
}

function statusText(report, paint, { before = null, columns = Infinity } = {}) {
  const lines = notes(report, paint).map(line => fit(line, columns));
  return [ ...headline(report, paint, columns), ...lines, '', processTable(report, paint, before, columns) ].join('\n');
}

function headline({ version, pid, phase, ready, notReady, uptimeMs, address, master }, paint, columns) {
  const state = ready ? paint('green', phase) : paint('red', phase === notReady ? phase : `${phase}, not ready: ${notReady}`);
  const parts = [ paint('bold', `egg-cluster-rs ${version}`), state, `pid ${pid}`, `up ${duration(uptimeMs)}`, `master ${bytes(master && master.rssBytes)}` ];
  if (address) parts.push(clean(address));
  const line = parts.join('  ');
  // Two lines rather than one that is cut.
  return fit(line, columns) === line ? [ line ] : [ parts.slice(0, 2), parts.slice(2) ].map(some => fit(some.join('  '), columns));
}

function notes(report, paint) {
  const { baseDir, waits, listeners, reload, lastReload, paused } = report;
  const lines = [ paint('dim', clean(baseDir)) ];
  for (const { kind, address, accepting, waiting } of listeners) {
    const rests = accepting || kind.startsWith('shared') ? '' : paint('yellow', ', not accepting at this moment');
    lines.push(`listens on ${clean(address)} (${kind})${waiting > 0 ? `, ${waiting} waiting` : ''}${rests}`);
  }
  lines.push(connectionText(report, paint));
  const waited = waits.fullOutboxes + waits.pausedSenders;
  if (waited > 0) lines.push(paint('yellow', `messages have had to wait ${waited} times for processes that do not keep up`));
  if (paused) lines.push(paint('yellow', 'paused: new connections wait in the queue of the kernel; egg-cluster-rs resume ends that'));
  lines.push(...restartTexts(report).map(line => paint('red', line)));
  if (reload) lines.push(paint('yellow', reloadText(reload)));
  if (lastReload) lines.push(lastReloadText(lastReload, paint));
  return lines;
}

function connectionText({ connections, hold }, paint) {
  const { accepted, waiting, peeking, timedOut, unwanted } = connections;
  const held = waiting + peeking;
  return `connections: ${accepted} accepted, ${held} waiting${held > 0 ? ` (of ${hold.limit} for each port, ${duration(hold.timeoutMs)} at most)` : ''}` +
    (timedOut + unwanted > 0 ? paint('red', `, ${timedOut + unwanted} closed unserved`) : '');
}

/** What is wrong where workers die again and again. */
function restartTexts({ phase, restartLimitExceeded, restarts }) {
  const { recent, limit, periodMs, noneReadyMs, givesUpInMs } = restarts;
  const lines = [];
  if (restartLimitExceeded) {
    const count = `${recent > limit ? 'more than ' : ''}${Math.min(recent, limit)} within ${duration(periodMs)}`;
    lines.push(`too many workers die (${count}): restarts are as slow as they get`);
  }
  if (phase === 'running' && noneReadyMs !== null) lines.push(`no worker has been ready for ${duration(noneReadyMs)}`);
  if (givesUpInMs === 0) lines.push('the next death ends the master');
  else if (givesUpInMs !== null) lines.push(`the master gives up in ${duration(givesUpInMs)}, when one more has died`);
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
  return paint('red', `last ${what}: failed ${duration(agoMs)} ago, ${clean(reason)}`);
}

function processTable(report, paint, before, columns) {
  const head = HEAD.map(name => (name === 'CPU' && !before ? 'CPU TIME' : name));
  const rows = places(report).map(([ name, place ]) => placeRow(name, place, paint, before));
  for (const process of report.others) rows.push(processRow(`(${process.slot})`, process, {}, paint, before));
  const leastFirst = LEAST_FIRST.map(name => (name === 'CPU' && !before ? 'CPU TIME' : name));
  return table(head, rows, { columns, leastFirst });
}

/** @return {Array<[string, Object]>} the agent and the slots, by the names they are shown under */
function places(report) {
  return [ [ 'agent', report.agent ], ...report.slots.map(place => [ String(place.slot), place ]) ];
}

function placeRow(name, place, paint, before) {
  if (place.process) return processRow(name, place.process, place, paint, before);
  const blank = new Array(HEAD.length).fill('-');
  const { taken, refused, redistributed, messagesFrom, messagesTo } = place.counters;
  const known = {
    SLOT: name, STATE: stateText(place, paint), RESTARTS: place.restarts, TAKEN: taken, REFUSED: refused, MOVED: redistributed,
    'MSGS IN': messagesTo, 'MSGS OUT': messagesFrom, 'LAST EXIT': exitText(place),
  };
  return blank.map((cell, i) => (known[HEAD[i]] === undefined ? cell : known[HEAD[i]]));
}

function processRow(name, process, place, paint, before) {
  const { id, pid, stateForMs, uptimeMs, rssBytes, requests, connections, role, heardAgoMs, outboxBytes, unanswered, waiting } = process;
  const isCounted = place.counters && role === 'app';
  const { taken, refused, redistributed, messagesFrom, messagesTo } = place.counters || {};
  return [
    name, id, or(pid), stateText({ process }, paint), duration(stateForMs), duration(uptimeMs),
    place.counters ? place.restarts : '-', bytes(rssBytes), cpuText(process, before), delayText(process), duration(heardAgoMs),
    or(requests), or(connections), isCounted ? taken : '-', isCounted ? refused : '-', isCounted ? redistributed : '-',
    role === 'app' ? unanswered + waiting : '-', or(messagesTo), or(messagesFrom), bytes(outboxBytes), exitText(place),
  ];
}

function stateText({ process, waiting, restartInMs }, paint) {
  const state = process ? process.state : (waiting ? 'waiting' : 'empty');
  return paint(STATE_COLOURS[state], state === 'waiting' ? `waiting ${duration(restartInMs)}` : state);
}

function delayText({ pingMs }) {
  return typeof pingMs === 'number' ? `${pingMs.toFixed(1)} ms` : '-';
}

function or(value) {
  return value === null || value === undefined ? '-' : value;
}

/** With an earlier look: how much of a processor since then. */
function cpuText(process, before) {
  if (process.cpuMs === null) return '-';
  return before ? `${Math.round(cpuShare(process, before))}%` : duration(process.cpuMs);
}

/** @return {number} how much of a processor a process has used since an earlier look, in percent */
function cpuShare({ pid, cpuMs, uptimeMs }, before) {
  const processes = places(before).map(([ , place ]) => place.process).concat(before.others);
  const earlier = processes.find(process => process && process.pid === pid) || { cpuMs: 0, uptimeMs: 0 };
  return 100 * (cpuMs - earlier.cpuMs) / Math.max(1, uptimeMs - earlier.uptimeMs);
}

function exitText({ lastExit, lastError }) {
  if (lastError) return clean(lastError);
  if (!lastExit) return '';
  return lastExit.signal ? `${lastExit.signal} (pid ${lastExit.pid})` : `code ${lastExit.code} (pid ${lastExit.pid})`;
}

function placeOf(report, name) {
  const [ , place ] = places(report).find(([ known ]) => known === name) || [];
  if (place) return place;
  throw new CliError(`there is no slot ${name}: the slots are 0 to ${report.slots.length - 1}`, { hint: 'or "agent"; egg-cluster-rs status shows all' });
}

/** Everything of one place, a line for each. */
function placeText(report, name, paint, columns) {
  const place = placeOf(report, name);
  const ofConnections = name === 'agent' ? [] : connectionRows(place);
  const rows = [ ...processRows(place, paint), ...lifeRows(place), ...ofConnections, ...messageRows(place) ];
  const lines = rows.map(([ label, text ]) => `${paint('dim', label.padEnd(14))} ${text}`);
  return [ paint('bold', name === 'agent' ? 'agent' : `slot ${name}`), ...lines ].map(line => fit(line, columns)).join('\n');
}

function processRows({ process, ...place }, paint) {
  if (!process) return [ [ 'state', stateText(place, paint) ] ];
  const { role, id, pid, stateForMs, uptimeMs, rssBytes, cpuMs, heardAgoMs, silentMs, pingAgoMs } = process;
  return [
    [ 'process', `${role} worker ${id}, pid ${or(pid)}` ],
    [ 'state', `${stateText({ process }, paint)} for ${duration(stateForMs)}` ],
    [ 'uptime', duration(uptimeMs) ],
    [ 'memory', bytes(rssBytes) ],
    [ 'CPU time', duration(cpuMs) ],
    [ 'loop delay', `${delayText(process)}${pingAgoMs === null ? '' : `, asked ${duration(pingAgoMs)} ago`}` ],
    [ 'last heard', `${duration(heardAgoMs)} ago${silentMs === null ? '' : `, owes an answer for ${duration(silentMs)}`}` ],
  ];
}

function lifeRows(place) {
  const { restarts, strikes, lastExitAgoMs } = place;
  return [
    [ 'restarts', `${restarts}${strikes > 0 ? `, ${strikes} deaths in a row` : ''}` ],
    [ 'last exit', exitText(place) === '' ? '-' : `${exitText(place)}${lastExitAgoMs === null ? '' : `, ${duration(lastExitAgoMs)} ago`}` ],
  ];
}

function connectionRows({ process, counters: { handedOver, taken, refused, redistributed } }) {
  const { requests, connections, countedAgoMs, unanswered, waiting } = process || {};
  const told = typeof countedAgoMs === 'number' ? `, told ${duration(countedAgoMs)} ago` : '';
  return [
    [ 'requests', `${or(requests)} in flight, ${or(connections)} connections open${told}` ],
    [ 'connections', `${handedOver} handed over, ${taken} taken, ${refused} refused, ${redistributed} redistributed` ],
    [ 'waiting', `${or(unanswered)} not taken yet, ${or(waiting)} waiting for it` ],
  ];
}

function messageRows({ process, counters: { messagesFrom, bytesFrom, messagesTo, bytesTo } }) {
  const { outboxMessages, outboxBytes } = process || {};
  return [
    [ 'messages from', `${messagesFrom} (${bytes(bytesFrom)})` ],
    [ 'messages to', `${messagesTo} (${bytes(bytesTo)})` ],
    [ 'queued', `${or(outboxMessages)} messages, ${bytes(outboxBytes)}` ],
  ];
}

/** All masters of this host that can be found. */
async function list(context, { json }) {
  const found = await Promise.all(allSockets().map(look));
  if (json) {
    context.out(JSON.stringify(found, null, 2));
  } else if (found.length === 0) {
    context.out(wrap('no master is running, or all have a control socket of another name, or none', context.columns).join('\n'));
  } else {
    const rows = found.map(({ socket, error, report }) => (report
      ? [ report.pid, report.phase, `${report.slots.filter(({ process }) => process && process.state === 'ready').length}/${report.slots.length}`,
        duration(report.uptimeMs), clean(report.address || '-'), clean(report.baseDir), clean(socket) ]
      : [ '-', '-', '-', '-', '-', clean(error), clean(socket) ]));
    context.out(table(LIST_HEAD, rows, { columns: context.columns, leastFirst: [ 'SOCKET', 'UPTIME', 'ADDRESS' ] }));
  }
}

async function look(socket) {
  try {
    return { socket, report: await statusOf(socket) };
  } catch (err) {
    return { socket, error: err.message };
  }
}

module.exports = { status, list, statusText, placeText, headline, notes, places, cpuShare, watchScreen, repeat, STATE_COLOURS };
