'use strict';

// `npm run audit`: known vulnerabilities of what is published: crates (cargo deny) and npm packages.

const { StepError, run, ask, main } = require('./steps');

const ADVISORIES = [ 'deny', 'check', 'advisories', 'bans', 'licenses', 'sources' ];
const NPM = process.platform === 'win32' ? 'npm.cmd' : 'npm';

/** Both ask servers; the texts below say so, since a failure may be theirs. */
const AUDITS = [
  { title: 'cargo deny', command: 'cargo', args: ADVISORIES, probe: [ 'deny', '--version' ], missing: 'cargo install cargo-deny --locked' },
  { title: 'npm audit', command: NPM, args: [ 'audit', '--omit=dev' ], probe: [ '--version' ], missing: 'npm, which comes with Node' },
];

function problemOf({ title, command, args, probe, missing }) {
  if (ask(command, probe) === null) return `${title} is not installed (${missing})`;
  try {
    run(title, command, args);
  } catch (err) {
    if (!(err instanceof StepError)) throw err;
    return `${err.message}: see above, a vulnerability or a server of advisories that cannot be reached`;
  }
  return null;
}

main(() => {
  const problems = AUDITS.map(problemOf).filter(problem => problem !== null);
  if (problems.length > 0) throw new StepError(problems.join('\n       '));
});
