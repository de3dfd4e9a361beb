'use strict';

// Looks at what would be published: `npm pack` would take everything that users need and nothing else, publint agrees,
// and every manifest carries the same version.

const { execFileSync } = require('child_process');
const fs = require('fs');
const path = require('path');
const { ROOT, StepError, run, localBin, main } = require('./steps');

/** Files without which the package does not work. */
const REQUIRED = [ 'LICENSE', 'README.md', 'bin/egg-cluster-rs.js', 'binding.js', 'index.d.ts', 'index.js', 'lib/bundle.js', 'lib/master.js', 'package.json' ];
/** All that may be in it. */
const ALLOWED = /^(LICENSE|README\.md|CHANGELOG\.md|package\.json|index\.(js|d\.ts)|binding\.(js|d\.ts)|bin\/.+\.js|lib\/.+\.(js|d\.ts))$/;

function checkVersions() {
  const read = name => fs.readFileSync(path.join(ROOT, name), 'utf8');
  const { version } = JSON.parse(read('package.json'));
  const platforms = fs.readdirSync(path.join(ROOT, 'npm')).map(name => `npm/${name}/package.json`);
  const wrong = platforms.filter(name => JSON.parse(read(name)).version !== version);
  const crate = read('Cargo.toml').match(/^version = "(.+)"/m);
  if (!crate || crate[1] !== version) wrong.push('Cargo.toml');
  if (wrong.length > 0) throw new StepError(`package.json is at version ${version}, but not ${wrong.join(', ')}`);
}

function checkFiles() {
  const report = execFileSync('npm', [ 'pack', '--dry-run', '--json', '--ignore-scripts' ], { cwd: ROOT, encoding: 'utf8' });
  // Some releases of npm print an array here, others an object keyed by the package name.
  const files = Object.values(JSON.parse(report))[0].files.map(file => file.path);
  const missing = REQUIRED.filter(name => !files.includes(name));
  const extra = files.filter(name => !ALLOWED.test(name));
  if (missing.length > 0) throw new StepError(`the package would lack ${missing.join(', ')}: see "files" in package.json`);
  if (extra.length > 0) throw new StepError(`the package would hold ${extra.join(', ')}: see "files" in package.json`);
}

main(() => {
  checkVersions();
  checkFiles();
  run('', localBin('publint'), [ '--strict' ]);
});
