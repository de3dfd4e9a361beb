'use strict';

// Has one process of a running master send messages to others through the master, and counts what arrives there.

const fs = require('fs');

/** No load lasts longer; what has not arrived by then is lost. */
const DEADLINE_MS = 60_000;

/**
 * The processes of a master that can send and receive messages.
 * @param {Object} master - a RunningMaster
 * @return {{agent: number, apps: number[]}} their process ids
 */
function members(master) {
  const runs = script => master.children.filter(pid => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(script));
  return { agent: runs('agent_worker')[0], apps: runs('app_worker') };
}

/** Ways of a message: who sends, who gets it, and how it is addressed. */
const ROUTES = {
  agentToApps: ({ agent, apps }) => ({ sender: agent, receivers: apps, address: { to: 'app' } }),
  appToAgent: ({ agent, apps }) => ({ sender: apps[0], receivers: [ agent ], address: { to: 'agent' } }),
  appToApp: ({ apps }) => ({ sender: apps[0], receivers: [ apps[1] ], address: { receiverPid: String(apps[1]) } }),
};

/**
 * Runs one load and waits until every receiver has said what it has got. All goes the way of Egg's messages: the order
 * and the answers are messages of and to the master's parent.
 * @param {Object} master - a RunningMaster of the fixture `relay`
 * @param {Object} load - what to send
 * @param {string} load.route - a name of ROUTES
 * @param {number} load.count - how many messages
 * @param {number} load.bytes - of the text of each
 * @param {boolean} [load.ascii] - whether the text is; otherwise its characters have two bytes
 * @param {number} [load.pauseMs] - between two messages
 * @return {Promise<{failed: number}>} deliveries that did not happen, or not in the order of sending
 */
function runMessages(master, { route, count, bytes, ascii = true, pauseMs = 0 }) {
  const { sender, receivers, address } = ROUTES[route](members(master));
  const characters = count * (ascii ? bytes : bytes / 2);
  return new Promise(resolve => {
    const waiting = new Set(receivers);
    let failed = 0;
    const end = () => {
      clearTimeout(timer);
      master.child.removeListener('message', onMessage);
      resolve({ failed: failed + waiting.size * count });
    };
    const timer = setTimeout(end, DEADLINE_MS);
    const onMessage = ({ action, data }) => {
      if (action !== 'relay-counted' || !waiting.delete(data.pid)) return;
      failed += failedDeliveries({ received: count, characters }, data);
      if (waiting.size === 0) end();
    };
    master.child.on('message', onMessage);
    const order = { count, bytes, ascii, address, pauseMs };
    master.child.send({ action: 'relay-send', data: order, receiverPid: String(sender) });
  });
}

/**
 * @param {{received: number, characters: number}} expected - what one receiver should have got
 * @param {{received: number, misplaced: number, characters: number}} seen - what it says that it has got
 * @return {number} messages that it lacks, has got twice or not in their order, or that are not whole
 */
function failedDeliveries(expected, seen) {
  const failed = Math.abs(expected.received - seen.received) + seen.misplaced;
  return failed === 0 && seen.characters !== expected.characters ? 1 : failed;
}

module.exports = { runMessages, failedDeliveries };
