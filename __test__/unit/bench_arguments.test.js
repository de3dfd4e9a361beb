'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { DEFAULTS, parseArguments } = require('../../bench/lib/arguments');
const { loadSuites, chooseSuites } = require('../../bench/lib/suites');

test('without arguments all settings are the defaults', () => {
  assert.deepStrictEqual(parseArguments([]), { names: [], settings: DEFAULTS });
});

test('names and options may stand in any order', () => {
  const { names, settings } = parseArguments([ 'handoff', '--rounds=9', 'sticky', '--check', '--peers=floor,pm2' ]);
  assert.deepStrictEqual(names, [ 'handoff', 'sticky' ]);
  assert.deepStrictEqual(settings, { ...DEFAULTS, rounds: 9, check: true, peers: 'floor,pm2' });
});

test('an option that does not exist is refused by name', () => {
  for (const arg of [ '--round=3', '--', '--toString=1', '--constructor' ]) {
    assert.throws(() => parseArguments([ arg ]), /no option is called --.*; there are --workers/, arg);
  }
});

test('a number that is none is refused', () => {
  for (const arg of [ '--rounds', '--rounds=', '--rounds=0', '--rounds=-1', '--rounds=1.5', '--rounds=x' ]) {
    assert.throws(() => parseArguments([ arg ]), /--rounds takes a whole number from 1/, arg);
  }
});

test('a flag takes no value, so that --check=false is not taken for --check', () => {
  assert.throws(() => parseArguments([ '--check=false' ]), /--check takes no value/);
});

test('a record needs all peers, and is not compared with itself', () => {
  assert.throws(() => parseArguments([ '--record', '--peers=floor' ]), /--record needs all peers/);
  assert.throws(() => parseArguments([ '--record', '--check' ]), /give one of them/);
});

test('a name stands for a suite and for its cases, not for one that begins alike', () => {
  const suites = [ 'relay/1kB', 'relay', 'relay/100B', 'relays' ].map(name => ({ name }));
  const chosen = names => chooseSuites(suites, names).map(suite => suite.name);
  assert.deepStrictEqual(chosen([]), [ 'relay/1kB', 'relay', 'relay/100B', 'relays' ]);
  assert.deepStrictEqual(chosen([ 'relay' ]), [ 'relay/1kB', 'relay', 'relay/100B' ]);
  assert.deepStrictEqual(chosen([ 'relays', 'relay/100B', 'relays' ]), [ 'relays', 'relay/100B' ]);
  assert.throws(() => chosen([ 'rel' ]), /no benchmark is called rel; there are relay\/1kB, /);
});

test('every suite is complete, and its goals name its metrics and its peers', () => {
  const suites = loadSuites();
  const names = suites.map(suite => suite.name);
  assert.strictEqual(new Set(names).size, names.length);
  for (const { name, title, peers, metrics, goals, run } of suites) {
    assert.ok(name && title && typeof run === 'function', name);
    for (const { metric, of, atMost, atLeast } of goals) {
      const { better } = metrics.find(({ key }) => key === metric);
      assert.ok(Number.isFinite(better === 'lower' ? atMost : atLeast), `${name}: ${metric}`);
      assert.ok(of === null || peers.includes(of || 'egg-cluster'), `${name}: ${of}`);
    }
  }
});
