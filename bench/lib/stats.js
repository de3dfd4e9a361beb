'use strict';

/**
 * @param {number[]} values - at least one
 * @return {number} their median
 */
function median(values) {
  const sorted = [ ...values ].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * @param {number[]} values - one per round
 * @return {{median: number, min: number, max: number, values: number[]}} the summary
 */
function summarise(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), values };
}

/**
 * Compares two series round by round, so that what slowed the machine down for one round weighs on both sides.
 * @param {number[]} values - one per round
 * @param {number[]} base - of the same rounds
 * @return {{median: number, min: number, max: number, values: number[]}} the ratios values / base
 */
function ratios(values, base) {
  return summarise(values.map((value, round) => ratio(value, base[round])));
}

/** Nothing beside nothing is as much: two peers that lost no request are alike. */
function ratio(value, base) {
  return value === 0 && base === 0 ? 1 : value / base;
}

/**
 * @param {number[]} values - at least two, at equal distances
 * @return {number} by how much they grow from one to the next: the least squares' line
 */
function slope(values) {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  let above = 0;
  let below = 0;
  values.forEach((value, index) => {
    above += (index - middle) * (value - mean);
    below += (index - middle) ** 2;
  });
  return above / below;
}

module.exports = { median, summarise, ratios, slope };
