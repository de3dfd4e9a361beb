'use strict';

// `npm run simulate -- --steps N` and `npm run simulate -- --seed N`: the simulator of the core
// (src/core/tests/simulator), optimised. See "Simulation" in docs/reliability.md.

const { StepError, run, main } = require('./steps');

const TEST = 'core::tests::simulator::all_promises_hold_whatever_happens';
const USAGE = 'usage: npm run simulate -- [--steps N] [--seed N]';
/** Steps where neither is given. */
const STEPS = 10_000_000;

/**
 * @param {string[]} args - of the command line
 * @return {{steps?: string, seed?: string}} what was given, as written
 * @throws {StepError} on anything else than whole numbers for the two options
 */
function parse(args) {
  const given = {};
  for (let i = 0; i < args.length; i += 2) {
    const name = { '--steps': 'steps', '--seed': 'seed' }[args[i]];
    const value = args[i + 1] || '';
    if (!name) throw new StepError(`unknown argument ${args[i]}; ${USAGE}`);
    if (!/^[0-9]{1,19}$/.test(value)) throw new StepError(`${args[i]} needs a whole number; ${USAGE}`);
    given[name] = value;
  }
  return given;
}

main(() => {
  const { steps, seed } = parse(process.argv.slice(2));
  // A seed alone is one run, to be looked at. Otherwise every call begins somewhere else.
  process.env.EGG_CLUSTER_RS_SIM_SEED = seed || String(Date.now());
  process.env.EGG_CLUSTER_RS_SIM_STEPS = steps || (seed ? '1' : String(STEPS));
  const title = `simulation from seed ${process.env.EGG_CLUSTER_RS_SIM_SEED}`;
  run(title, 'cargo', [ 'test', '--profile', 'simulate', '--lib', '--', '--exact', TEST, '--nocapture' ]);
});
