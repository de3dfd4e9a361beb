'use strict';

/**
 * Who has sent a signal, and in words who that is, or who has asked for something through the control
 * socket.
 */

const os = require('os');

/** What the listeners of the signal that is being dealt with have been told: it is told once. */
const told = new Map();

/**
 * @param {{takeSignalSender: function(number): (Object|null)}} binding
 * @param {string} signal - the name of one that is being dealt with
 * @return {Object|null} who has sent it, the same for each of several masters; null where that is not known, as of one
 *   that the program has emitted itself
 */
function senderOf(binding, signal) {
  if (!told.has(signal)) {
    told.set(signal, binding.takeSignalSender(os.constants.signals[signal]));
    process.nextTick(() => told.delete(signal));
  }
  return told.get(signal);
}

/**
 * @param {{pid: number|null, command: string|null|undefined, uid: number|undefined, isKernel: boolean|undefined}} asker - as
 *   the native side tells it
 * @return {string}
 */
function describeAsker({ pid, command, uid, isKernel }) {
  if (isKernel) return 'the kernel, as for Ctrl-C in a terminal';
  // A container's signals come from the host in this way.
  if (!pid) return 'a process that cannot be seen from here, such as one outside of this container';
  const user = uid === undefined ? '' : `, uid ${uid}`;
  if (pid === process.pid) return `this process itself${user}`;
  return `process ${pid} (${command || 'it has ended already'})${user}`;
}

module.exports = { senderOf, describeAsker };
