'use strict';

// `npm run coverage`: which lines of Rust and of JavaScript the tests run. All Rust tests and all JavaScript tests, with an
// addon that counts: masters and workers of the tests with real processes count as well, but for those that are killed.
// `npm run coverage -- rust` and `-- js NAME` run a part. Figures go to stdout, pages to coverage/.

const fs = require('fs');
const path = require('path');
const { ROOT, StepError, run, ask, main } = require('./steps');
const { reportCoverage } = require('./coverage_report');
const { setup } = require('./setup');
const { loadSources, BUNDLE } = require('./bundle');
const { installEggs } = require('./eggs');

const OUT = path.join(ROOT, 'coverage');
const V8 = path.join(OUT, 'v8');
const TARGET = path.join(ROOT, 'target', 'coverage');
const ADDON = path.join(OUT, 'egg-cluster-rs.node');
/** Parts of the sources that are tests, or only for them. */
const NO_PRODUCT = '(/tests/|/bench/|/tests\\.rs|/testing\\.rs|/fuzzing/|/model\\.rs|build\\.rs|/rustc/)';

/** LLVM's own tools have to be of the compiler's version: those of rustup, or the system's. */
function findLlvmTools() {
  if (process.env.LLVM_COV && process.env.LLVM_PROFDATA) return;
  const sysroot = ask('rustc', [ '--print', 'sysroot' ]) || '';
  const [ , host ] = /^host: (.+)$/m.exec(ask('rustc', [ '-vV' ]) || '') || [];
  if (fs.existsSync(path.join(sysroot, 'lib', 'rustlib', String(host), 'bin', 'llvm-cov'))) return;
  const [ , major ] = /^LLVM version: (\d+)/m.exec(ask('rustc', [ '-vV' ]) || '') || [];
  const [ cov, profdata ] = [ `llvm-cov-${major}`, `llvm-profdata-${major}` ];
  if (ask(cov, [ '--version' ]) === null || ask(profdata, [ '--version' ]) === null) {
    throw new StepError(`coverage needs LLVM's tools: rustup component add llvm-tools, or the system's package llvm-${major}`);
  }
  process.env.LLVM_COV = which(cov);
  process.env.LLVM_PROFDATA = which(profdata);
}

function which(program) {
  return ask('sh', [ '-c', `command -v ${program}` ]);
}

/** What cargo and the programs that it builds have to be told to count. */
function instrument() {
  if (ask('cargo', [ 'llvm-cov', '--version' ]) === null) throw new StepError('coverage needs cargo-llvm-cov: cargo install cargo-llvm-cov --locked');
  findLlvmTools();
  process.env.CARGO_TARGET_DIR = TARGET;
  const shown = ask('cargo', [ 'llvm-cov', 'show-env' ]);
  if (shown === null) throw new StepError('cargo llvm-cov show-env failed');
  for (const [ , name, value ] of shown.matchAll(/^(\w+)='?(.*?)'?$/gm)) process.env[name] = value;
}

/** @return {boolean} whether all have passed */
function runTests(part, names) {
  let passed = true;
  const attempt = (...step) => {
    try {
      run(...step);
    } catch (err) {
      if (!(err instanceof StepError)) throw err;
      console.error(`  ${err.message}`);
      passed = false;
    }
  };
  if (part !== 'js') attempt('Rust tests', 'cargo', [ 'test', '--all-targets' ]);
  if (part !== 'rust') {
    run('the addon', 'cargo', [ 'build', '--lib' ]);
    const [ library ] = [ 'libegg_cluster_rs.so', 'libegg_cluster_rs.dylib' ].filter(name => fs.existsSync(path.join(TARGET, 'debug', name)));
    fs.copyFileSync(path.join(TARGET, 'debug', library), ADDON);
    process.env.NAPI_RS_NATIVE_LIBRARY_PATH = ADDON;
    process.env.NODE_V8_COVERAGE = V8;
    const runner = path.join(ROOT, '__test__', 'run.js');
    if (names.length === 0) attempt('JavaScript unit tests', process.execPath, [ runner, '--unit' ]);
    attempt('JavaScript tests', process.execPath, [ runner, ...names ]);
    delete process.env.NODE_V8_COVERAGE;
  }
  return passed;
}

/** All files of the package, also those that nothing loads. */
function ownFiles(directory = path.join(ROOT, 'lib')) {
  return fs.readdirSync(directory, { withFileTypes: true }).flatMap(entry => {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) return ownFiles(file);
    return file.endsWith('.js') && file !== BUNDLE ? [ file ] : [];
  });
}

main(async () => {
  const [ part, ...names ] = process.argv.slice(2);
  if (part !== undefined && part !== 'rust' && part !== 'js') throw new StepError('usage: npm run coverage [-- rust | -- js NAME]');
  setup();
  if (part !== 'rust') installEggs();
  instrument();
  fs.rmSync(OUT, { recursive: true, force: true });
  fs.mkdirSync(V8, { recursive: true });
  run('', 'cargo', [ 'llvm-cov', 'clean', '--profraw-only' ]);
  // The next setup makes the bundle again.
  loadSources();
  const passed = runTests(part, names);
  run('', 'cargo', [ 'llvm-cov', 'report', '--ignore-filename-regex', NO_PRODUCT ]);
  run('', 'cargo', [ 'llvm-cov', 'report', '--lcov', '--output-path', path.join(OUT, 'rust.lcov'), '--ignore-filename-regex', NO_PRODUCT ]);
  if (part !== 'rust') {
    await reportCoverage({ from: V8, to: path.join(OUT, 'js') }, [ path.join(ROOT, 'index.js'), ...ownFiles() ]);
  }
  if (!passed) throw new StepError('tests have failed, see above; what they had run is counted');
});
