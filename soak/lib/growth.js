'use strict';

// Whether a series of samples grows: the median of its first half against that of its second one, after a warm-up.

const { median } = require('../../bench/lib/stats');

const MIB = 2 ** 20;

/**
 * What is looked at, and by how much it may be more in the second half. Counts may not, but for one timer of the core: that of
 * connections which have waited is set until its time is over, whether they wait still or not. Memory may: the allocators of
 * C and of V8 keep pages as they please. What really leaks goes on, and passes every bound with time.
 */
const FIGURES = [
  { title: 'RSS of the master, MiB', of: ({ master }) => master.rss / MIB, slack: 4 },
  { title: 'JavaScript heap of the master, MiB', of: ({ master }) => master.heap / MIB, slack: 1 },
  { title: 'RSS of the guardian, MiB', of: ({ guardian }) => guardian.rss / MIB, slack: 0.5 },
  { title: 'descriptors of the master', of: ({ master }) => master.descriptors, slack: 0 },
  { title: 'descriptors of the guardian', of: ({ guardian }) => guardian.descriptors, slack: 0 },
  { title: 'threads of the master', of: ({ master }) => master.threads, slack: 0 },
  { title: 'zombies', of: ({ master }) => master.zombies, slack: 0 },
  { title: 'timers of the core', of: ({ master }) => master.coreTimers, slack: 1 },
  { title: 'timers of the JavaScript', of: ({ master }) => master.timers, slack: 0 },
  { title: 'children of the master', of: ({ master }) => master.children, slack: 0 },
];

/** How many of so many samples are left out at the beginning: a fifth, and two at least. */
function warmUp(count) {
  return Math.max(2, Math.ceil(count / 5));
}

/**
 * @param {Object[]} samples - one per round
 * @return {Array<{title: string, before: number, after: number, verdict: string}>} of every figure; the verdict is `flat` or `GROWS`
 */
function findGrowth(samples) {
  const counted = samples.slice(warmUp(samples.length));
  const half = counted.length >> 1;
  if (half < 2) throw new Error(`${samples.length} rounds are too few to tell whether anything grows`);
  return FIGURES.map(({ title, of, slack }) => {
    const before = median(counted.slice(0, half).map(of));
    const after = median(counted.slice(-half).map(of));
    return { title, before: round(before), after: round(after), verdict: after > before + slack ? 'GROWS' : 'flat' };
  });
}

function round(value) {
  return Math.round(value * 100) / 100;
}

module.exports = { FIGURES, findGrowth, warmUp };
