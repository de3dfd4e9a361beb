'use strict';

const assert = require('assert');
const test = require('./helpers/test');
const { FIGURES, findGrowth, warmUp } = require('../../soak/lib/growth');
const { plot } = require('../../soak/lib/plot');

const MIB = 2 ** 20;

/** A sample of each round; `change` says what is different in round n. */
function rounds(count, change = () => ({})) {
  return Array.from({ length: count }, (_, n) => ({
    minutes: n + 1,
    master: { rss: 60 * MIB, heap: 9 * MIB, descriptors: 35, threads: 8, zombies: 0, timers: 1, coreTimers: 3, children: 5, ...change(n) },
    guardian: { rss: 2 * MIB, descriptors: 8 },
    done: { requests: n, messages: n, reloads: n, kills: n },
  }));
}

const grown = samples => findGrowth(samples).filter(({ verdict }) => verdict !== 'flat').map(({ title }) => title);

test('what goes up and down does not grow, nor does what is so only at the beginning', () => {
  assert.strictEqual(findGrowth(rounds(10)).length, FIGURES.length);
  const samples = rounds(20, n => ({ rss: (60 + n % 3) * MIB, descriptors: n < warmUp(20) ? 20 + n : 35, timers: n === 15 ? 9 : 1 }));
  assert.deepStrictEqual(grown(samples), []);
});

test('a descriptor, a timer or a zombie more in each tenth round is found', () => {
  for (const [ name, title ] of [ [ 'descriptors', 'descriptors of the master' ], [ 'coreTimers', 'timers of the core' ], [ 'zombies', 'zombies' ] ]) {
    assert.deepStrictEqual(grown(rounds(60, n => ({ [name]: 1 + Math.floor(n / 10) }))), [ title ]);
  }
});

test('memory that grows by a quarter of a MiB in each round is found', () => {
  assert.deepStrictEqual(grown(rounds(60, n => ({ rss: (60 + n / 4) * MIB }))), [ 'RSS of the master, MiB' ]);
});

test('a few rounds tell nothing', () => {
  assert.throws(() => findGrowth(rounds(5)), /too few/);
});

test('the picture has a line for each figure', () => {
  const svg = plot({ samples: rounds(10), command: 'npm run soak', warmUp: 2, machine: { node: 'v20', cores: 2 } });
  assert.strictEqual(svg.match(/<polyline /g).length, 10);
  assert.doesNotMatch(svg, /NaN|undefined/);
});
