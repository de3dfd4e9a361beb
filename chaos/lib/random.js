'use strict';

// Random numbers that a seed repeats.

/**
 * Mulberry32: one 32-bit state, plenty for choosing victims and pauses.
 * @param {string|number} seed - anything; equal seeds give equal sequences
 * @return {{next: function(): number, between: function(number, number): number, pick: function(Array): *}} the source
 */
function createRandom(seed) {
  let state = hash(String(seed));
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const between = (least, most) => least + Math.floor(next() * (most - least + 1));
  return { next, between, pick: list => list[between(0, list.length - 1)] };
}

/** FNV-1a. */
function hash(text) {
  let value = 0x811c9dc5;
  for (const char of text) value = Math.imul(value ^ char.codePointAt(0), 0x01000193);
  return value;
}

module.exports = { createRandom };
