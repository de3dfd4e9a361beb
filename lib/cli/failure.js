'use strict';

/** Exit codes of the command line. */
const EXIT = {
  /** It was tried, and has not come about. */
  failed: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** There is no master to ask, or it cannot be asked. */
  unreachable: 3,
};

/** What ends a command: a sentence on stderr, one about what to do, and an exit code. */
class CliError extends Error {
  /**
   * @param {string} message - what is wrong
   * @param {Object} [more]
   * @param {string} [more.hint] - what to do about it
   * @param {number} [more.exitCode]
   */
  constructor(message, { hint = '', exitCode = EXIT.failed } = {}) {
    super(message);
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

module.exports = { CliError, EXIT };
