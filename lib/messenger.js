'use strict';

/**
 * The master's own messages and those of its parent process, on their way to and from
 * the native master, which routes them.
 */

class Messenger {
  #hasParent;
  #route;
  #warn;

  /**
   * @param {Object} hooks
   * @param {boolean} hooks.hasParent - false: the channel of the process is not ours, whoever is at its other end
   * @param {function(string, boolean): void} hooks.route - hands a message as JSON to the
   *   native master, and whether it comes from the parent
   * @param {function(...*): void} hooks.warn - logs a message that cannot be passed on
   */
  constructor({ hasParent, route, warn }) {
    this.#hasParent = hasParent && typeof process.send === 'function';
    this.#route = route;
    this.#warn = warn;
  }

  /** Listen to the parent process, if there is one that has a channel to us. */
  listenToParent() {
    if (!this.#hasParent) return;
    process.on('message', message => this.#send(message, 'parent'));
  }

  /**
   * @param {Object} message
   * @param {string} [message.action] - the name of the message
   * @param {*} [message.data]
   * @param {string} [message.from] - `master` unless given
   * @param {string} [message.to] - `agent`, `app`, `parent` or `master`
   * @param {string} [message.receiverPid] - the process id of one receiver; goes before `to`
   */
  send(message) {
    this.#send(message, (message && message.from) || 'master');
  }

  /** To the parent, if its channel is open. */
  sendToParent(message) {
    if (!this.#hasParent || !process.connected) return;
    // The channel may close while the message is under way, which is no error of ours.
    process.send(message, () => {});
  }

  #send(message, from) {
    if (typeof message !== 'object' || message === null || Array.isArray(message)) {
      this.#warn('[master] message from %s is ignored, it is not an object: %j', from, message);
      return;
    }
    try {
      this.#route(JSON.stringify({ ...message, from }), from === 'parent');
    } catch (err) {
      this.#warn('[master] message %j from %s is ignored: %s', message.action, from, err.message);
    }
  }
}

module.exports = Messenger;
