'use strict';

// A strict reader of Prometheus' text format 0.0.4, which accepts no more than our answers need.

const assert = require('assert');

const HELP = /^# HELP ([a-z_]+) (\S.*\S)$/;
const TYPE = /^# TYPE ([a-z_]+) (gauge|counter)$/;
const SAMPLE = /^([a-z_]+)(?:\{(.+)\})? (-?\d+(?:\.\d+)?(?:e-?\d+)?)$/;
const LABEL = /^([a-z_]+)="((?:[^"\\]|\\\\|\\"|\\n)*)"(,|$)/;

/**
 * @param {string} text
 * @return {Map<string, {type: string, help: string, samples: Array<{labels: object, value: number}>}>}
 */
function parseMetrics(text) {
  assert.ok(text.endsWith('\n'), 'the last line has an end');
  const lines = text.slice(0, -1).split('\n');
  const families = new Map();
  let current = null;
  for (let i = 0; i < lines.length; i++) {
    const help = HELP.exec(lines[i]);
    if (help) {
      const type = TYPE.exec(lines[++i]);
      assert.ok(type && type[1] === help[1], `after the HELP of ${help[1]} comes its TYPE, not ${lines[i]}`);
      assert.ok(!families.has(help[1]), `${help[1]} is there twice`);
      current = { type: type[2], help: help[2], samples: [] };
      families.set(help[1], current);
      continue;
    }
    const sample = SAMPLE.exec(lines[i]);
    assert.ok(sample, `no line of a metric: ${lines[i]}`);
    assert.strictEqual(families.get(sample[1]), current, `${sample[1]} stands below its own head`);
    const labels = parseLabels(sample[2]);
    const isSame = other => JSON.stringify(other.labels) === JSON.stringify(labels);
    assert.ok(!current.samples.some(isSame), `twice the same sample: ${lines[i]}`);
    const value = Number(sample[3]);
    if (current.type === 'counter') assert.ok(value >= 0, lines[i]);
    current.samples.push({ labels, value });
  }
  return families;
}

function parseLabels(text) {
  const labels = {};
  for (let rest = text || ''; rest !== '';) {
    const label = LABEL.exec(rest);
    assert.ok(label, `no labels: ${text}`);
    assert.ok(!(label[1] in labels), `twice the label ${label[1]}`);
    labels[label[1]] = label[2].replace(/\\(.)/g, (_, char) => (char === 'n' ? '\n' : char));
    rest = rest.slice(label[0].length);
  }
  return labels;
}

module.exports = { parseMetrics };
