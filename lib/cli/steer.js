'use strict';

/** `reload`, `restart`, `scale`, `pause`, `resume` and `stop`: what shall be. */

const net = require('net');
const { ask } = require('./client');
const { CliError, EXIT } = require('./failure');
const { duration } = require('./text');

const LOOK_MS = 150;
/** How long the process of a master may take after its cluster has ended: it ends itself in half of that. */
const FAREWELL_MS = 10000;

async function reload(context, { agent, wait }) {
  const { reload: number } = await ask(context.socket, 'POST', '/reload', agent ? { agent: true } : undefined);
  await awaitReload(context, number, wait, 'reload');
}

async function restart(context, slot, { wait }) {
  const { reload: number } = await ask(context.socket, 'POST', `/workers/${slot}/restart`);
  await awaitReload(context, number, wait, `restart of slot ${slot}`);
}

/** Tells the progress of a reload, and fails with its reason. */
async function awaitReload(context, number, wait, what) {
  if (wait === false) {
    context.out(`${what} has begun`);
    return;
  }
  const progress = new Progress(context.out);
  for (;;) {
    const report = await ask(context.socket, 'GET', '/status');
    const { reload: current, lastReload: last, phase } = report;
    if (current && current.number === number) progress.show(report);
    if (last && last.number >= number) {
      finish(context, last, number, what);
      return;
    }
    if (phase !== 'running') throw new CliError(`the master is ${phase}: the ${what} will not be finished`);
    await sleep(LOOK_MS);
  }
}

function finish(context, last, number, what) {
  if (last.number > number) {
    context.out(`the ${what} is over, and another one as well: egg-cluster-rs status tells how that went`);
  } else if (last.result === 'done') {
    context.out(`${what} done in ${duration(last.tookMs)}`);
  } else {
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

async function scale(context, workers, { wait }) {
  const { result } = await ask(context.socket, 'POST', '/scale', { workers });
  if (result === 'unchanged') {
    context.out(`there are ${workers} workers already`);
    return;
  }
  if (wait === false) {
    context.out(`scaling to ${workers} has begun`);
    return;
  }
  for (;;) {
    const { slots, others, phase } = await ask(context.socket, 'GET', '/status');
    if (phase !== 'running') throw new CliError(`the master is ${phase}`);
    const died = slots.find(({ waiting, lastExit, process }) => waiting && lastExit && !process);
    if (died) throw new CliError(`a worker of slot ${died.slot} has died; the master goes on trying`, { hint: 'egg-cluster-rs status tells how it ended' });
    if (slots.length !== workers) throw new CliError(`somebody has scaled to ${slots.length} meanwhile`);
    const ready = slots.filter(({ process }) => process && process.state === 'ready').length;
    if (ready === workers && others.length === 0) break;
    await sleep(LOOK_MS);
  }
  context.out(`${workers} workers are ready`);
}

async function pause(context) {
  const { result } = await ask(context.socket, 'POST', '/pause');
  context.out(result === 'unchanged' ? 'it is paused already' : 'paused: new connections wait in the queue of the kernel');
}

async function resume(context) {
  const { result } = await ask(context.socket, 'POST', '/resume');
  context.out(result === 'unchanged' ? 'it is not paused' : 'resumed');
}

/** Ends the cluster, and waits until nothing of it is left. */
async function stop(context, { wait, timeout }) {
  const report = await ask(context.socket, 'GET', '/status');
  await ask(context.socket, 'POST', '/stop');
  if (wait === false) {
    context.out('stopping');
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
  context.out('stopped');
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
      report = await ask(context.socket, 'GET', '/status');
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
  const [ , host, port ] = /^\[?([\d.:a-f]+?)\]?:(\d+)$/i.exec(address) || [];
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
