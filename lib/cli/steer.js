'use strict';

/** `reload`, `restart`, `scale`, `pause`, `resume` and `stop`: what shall be. */

const net = require('net');
const { ask, statusOf } = require('./client');
const { CliError, EXIT } = require('./failure');
const { duration } = require('./text');

const LOOK_MS = 150;
/** How long the process of a master may take after its cluster has ended: it ends itself in half of that. */
const FAREWELL_MS = 10000;

async function reload(context, { agent, wait, json }) {
  const teller = new Teller(context, json);
  const { reload: number } = await ask(context.socket, 'POST', '/reload', agent ? { agent: true } : undefined);
  await awaitReload(context, teller, number, wait, 'reload');
}

async function restart(context, slot, { wait, json }) {
  const teller = new Teller(context, json);
  const { reload: number } = await ask(context.socket, 'POST', `/workers/${slot}/restart`);
  await awaitReload(context, teller, number, wait, `restart of slot ${slot}`);
}

/** Tells people how it goes and programs how it went. */
class Teller {
  constructor({ out }, isJson) {
    this.out = out;
    this.isJson = isJson;
  }

  progress(text) {
    if (!this.isJson) this.out(text);
  }

  outcome(text, json) {
    this.out(this.isJson ? JSON.stringify(json) : text);
  }
}

/** Tells the progress of a reload, and fails with its reason. */
async function awaitReload(context, teller, number, wait, what) {
  if (wait === false) {
    teller.outcome(`${what} has begun`, { result: 'begun', reload: number });
    return;
  }
  const progress = new Progress(text => teller.progress(text));
  for (;;) {
    const report = await statusOf(context.socket);
    const { reload: current, lastReload: last, phase } = report;
    if (current && current.number === number) progress.show(report);
    if (last && last.number >= number) {
      finish(teller, last, number, what);
      return;
    }
    if (phase !== 'running') throw new CliError(`the master is ${phase}: the ${what} will not be finished`);
    await sleep(LOOK_MS);
  }
}

function finish(teller, last, number, what) {
  if (last.number > number) {
    teller.outcome(`the ${what} is over, and another one as well: egg-cluster-rs status tells how that went`, { result: 'unknown', reload: number });
    return;
  }
  if (last.result === 'done') {
    teller.outcome(`${what} done in ${duration(last.tookMs)}`, { result: 'done', reload: number, tookMs: last.tookMs });
  } else {
    if (teller.isJson) teller.outcome('', { result: 'failed', reload: number, reason: last.reason, tookMs: last.tookMs });
    throw new CliError(`${what} failed: ${last.reason}`,
      { hint: 'the old workers go on serving; the reason is in the log of the new worker' });
  }
}

/** Says once what happens to each slot. */
class Progress {
  constructor(out) {
    this.out = out;
    this.said = new Map();
  }

  show({ slots, reload: { incoming, todo, replacingAgent, outgoing } }) {
    if (replacingAgent) this.say('agent', 'agent: is being replaced');
    for (const { slot, process } of slots) {
      if (todo.includes(slot)) continue;
      if (incoming.includes(slot)) {
        this.say(slot, `slot ${slot}: the new worker starts`);
      } else if (this.said.has(slot) && process) {
        this.say(slot, `slot ${slot}: pid ${process.pid} has taken over${outgoing > 0 ? ', the old worker drains' : ''}`);
      }
    }
  }

  say(slot, text) {
    const key = text.split(',')[0];
    if (this.said.get(slot) === key) return;
    this.said.set(slot, key);
    this.out(text);
  }
}

async function scale(context, workers, { wait, json }) {
  const teller = new Teller(context, json);
  const { result } = await ask(context.socket, 'POST', '/scale', { workers });
  if (result === 'unchanged') {
    teller.outcome(`there are ${workers} workers already`, { result, workers });
    return;
  }
  if (wait === false) {
    teller.outcome(`scaling to ${workers} has begun`, { result: 'begun', workers });
    return;
  }
  for (;;) {
    const { slots, others, phase } = await statusOf(context.socket);
    if (phase !== 'running') throw new CliError(`the master is ${phase}`);
    const died = slots.find(({ waiting, lastExit, process }) => waiting && lastExit && !process);
    if (died) throw new CliError(`a worker of slot ${died.slot} has died; the master goes on trying`, { hint: 'egg-cluster-rs status tells how it ended' });
    if (slots.length !== workers) throw new CliError(`somebody has scaled to ${slots.length} meanwhile`);
    const ready = slots.filter(({ process }) => process && process.state === 'ready').length;
    if (ready === workers && others.length === 0) break;
    await sleep(LOOK_MS);
  }
  teller.outcome(`${workers} workers are ready`, { result: 'done', workers });
}

async function pause(context, { json }) {
  const { result } = await ask(context.socket, 'POST', '/pause');
  const text = result === 'unchanged' ? 'it is paused already' : 'paused: new connections wait in the queue of the kernel';
  new Teller(context, json).outcome(text, { result });
}

async function resume(context, { json }) {
  const { result } = await ask(context.socket, 'POST', '/resume');
  new Teller(context, json).outcome(result === 'unchanged' ? 'it is not paused' : 'resumed', { result });
}

/** Ends the cluster, and waits until nothing of it is left. */
async function stop(context, { wait, timeout, json }) {
  const teller = new Teller(context, json);
  const report = await statusOf(context.socket);
  await ask(context.socket, 'POST', '/stop');
  if (wait === false) {
    teller.outcome('stopping', { result: 'begun' });
    return;
  }
  const deadline = Date.now() + timeout * 1000;
  const children = await awaitEnd(context, report, deadline);
  await until(deadline, () => children.every(pid => !isAlive(pid)), () => `processes are left: ${children.filter(isAlive).join(', ')}`);
  for (const { address, inherited } of report.listeners) {
    // What the master was started with listens on.
    if (inherited) continue;
    await until(deadline, () => isFree(address), () => `somebody listens on ${address} still`);
  }
  const end = Math.min(deadline, Date.now() + FAREWELL_MS);
  await until(end, () => !isAlive(report.pid), () => `the cluster has ended, but the process of the master, ${report.pid}, has not`,
    `it belongs to another program, or a debugger holds it up: kill -9 ${report.pid} ends it`);
  teller.outcome('stopped', { result: 'done' });
}

/** Follows the end for as long as the master answers; the children there were. */
async function awaitEnd(context, first, deadline) {
  const pids = new Set();
  for (let report = first; ;) {
    const processes = [ report.agent, ...report.slots ].map(({ process }) => process).concat(report.others);
    for (const process of processes) if (process && process.pid !== null) pids.add(process.pid);
    if (Date.now() > deadline) {
      throw new CliError(`not stopped in time: ${[ ...pids ].filter(isAlive).length} processes are left`, { hint: 'give it more with --timeout' });
    }
    await sleep(LOOK_MS);
    try {
      report = await statusOf(context.socket);
    } catch (err) {
      if (err instanceof CliError && err.exitCode === EXIT.unreachable) return [ ...pids ];
      throw err;
    }
  }
}

async function until(deadline, isSo, reason, hint = 'give it more with --timeout') {
  while (!await isSo()) {
    if (Date.now() > deadline) throw new CliError(reason(), { hint });
    await sleep(LOOK_MS);
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (err) {
    return err.code === 'EPERM';
  }
}

/** Whether nobody accepts there. What is no address of TCP cannot be asked. */
function isFree(address) {
  // A sticky listener is told as `port N`.
  const [ , host = '0.0.0.0', port ] = /^(?:\[?([\d.:a-f]+?)\]?:|port )(\d+)$/i.exec(address) || [];
  if (port === undefined) return true;
  return new Promise(resolve => {
    const wildcard = { '0.0.0.0': '127.0.0.1', '::': '::1' };
    const socket = net.connect({ host: wildcard[host] || host, port: Number(port) });
    socket.once('connect', () => {
      socket.destroy();
      resolve(false);
    });
    socket.once('error', () => resolve(true));
  });
}

function sleep(ms) {
  return new Promise(resolve => setTimeout(resolve, ms));
}

module.exports = { reload, restart, scale, pause, resume, stop };
