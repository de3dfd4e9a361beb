'use strict';

/**
 * @param {number} errno - positive, as the system gives it
 * @return {string} its name, such as EADDRINUSE
 */
function errnoName(errno) {
  try {
    return require('util').getSystemErrorName(-errno);
  } catch {
    return `errno ${errno}`;
  }
}

module.exports = errnoName;
