'use strict';

/**
 * The master's own messages and those of its parent process, on their way to and from
 * the native master, which routes them.
 */

class Messenger {
  #hasParent;
  #route;
  #warn;
  #parentLimit;
  #onParentFull;
  /** The length of what the parent has not read. */
  #unread = 0;
  #isParentFull = false;

  /**
   * @param {Object} hooks
   * @param {boolean} hooks.hasParent - false: the channel of the process is not ours, whoever is at its other end
   * @param {function(string, boolean): void} hooks.route - hands a message as JSON to the
   *   native master, and whether it comes from the parent
   * @param {function(...*): void} hooks.warn - logs a message that cannot be passed on
   * @param {number} hooks.parentLimit - how much may wait for the parent, in bytes
   * @param {function(boolean): void} hooks.onParentFull - called with true when more does, and with false when most
   *   of it is gone
   */
  constructor({ hasParent, route, warn, parentLimit, onParentFull }) {
    this.#hasParent = hasParent && typeof process.send === 'function';
    this.#route = route;
    this.#warn = warn;
    this.#parentLimit = parentLimit;
    this.#onParentFull = onParentFull;
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

  /**
   * To the parent, if its channel is open.
   *
   * @param {Object} message
   * @param {number} length - of the message, about
   */
  sendToParent(message, length) {
    if (!this.#hasParent || !process.connected) return;
    this.#countUnread(length);
    // Called when it is written; or when the channel closes meanwhile, which is no error of ours.
    process.send(message, () => this.#countUnread(-length));
  }

  #countUnread(length) {
    this.#unread += length;
    const isFull = this.#unread > (this.#isParentFull ? this.#parentLimit / 4 : this.#parentLimit);
    if (isFull === this.#isParentFull) return;
    this.#isParentFull = isFull;
    this.#onParentFull(isFull);
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
