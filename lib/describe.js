'use strict';

/**
 * @param {*} value - what somebody gave for an option
 * @return {string} the value and its type, short enough for the line of an error
 */
exports.describe = value => {
  if (value === null || value === undefined) return String(value);
  const text = require('util').inspect(value, { depth: 0, breakLength: Infinity, maxStringLength: 200 });
  return `${text} (${Array.isArray(value) ? 'array' : typeof value})`;
};
