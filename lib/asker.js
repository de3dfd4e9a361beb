'use strict';

/**
 * Says in words who has sent a signal, or has asked for something through the control socket.
 */

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

module.exports = { describeAsker };
