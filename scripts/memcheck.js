'use strict';

// `npm run memcheck -- NAME`: the Rust tests under AddressSanitizer, which also looks for leaks: the unit tests of all layers with
// `unsafe` code and what stands on it, and those that drive real Node processes. With NAME, only tests whose names contain it.
// Nothing is installed: the sanitizer comes with every toolchain for Linux on x86-64 and 64-bit ARM, and for macOS.

const { StepError, run, ask, main } = require('./steps');

/** What has `unsafe` code, what hands it its arguments, and what waits for it. The core has neither, and ten minutes of simulation. */
const UNITS = [ 'sys::', 'ipc::', 'driver::' ];
const PROGRAMS = [ 'adopted', 'channel_with_node', 'driver', 'panics', 'service_manager', 'threads' ];

/** Flags that are for nightly only; the stable compiler takes them when it is told to. */
function toolchain() {
  if (ask('cargo', [ '+nightly', '--version' ]) !== null) return [ '+nightly' ];
  process.env.RUSTC_BOOTSTRAP = '1';
  return [];
}

function hostOf(chosen) {
  const [ , host ] = /^host: (.+)$/m.exec(ask('rustc', [ ...chosen, '-vV' ]) || '') || [];
  if (!host) throw new StepError('cannot ask rustc for its host: is Rust installed?');
  return host;
}

main(() => {
  const names = process.argv.slice(2);
  const chosen = toolchain();
  process.env.RUSTFLAGS = '-Zsanitizer=address';
  process.env.ASAN_OPTIONS = process.env.ASAN_OPTIONS || 'detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1';
  // With an explicit target the flags do not reach build scripts and macros.
  const args = [ ...chosen, 'test', '--target', hostOf(chosen), '--target-dir', 'target/asan' ];
  run('unit tests under AddressSanitizer', 'cargo', [ ...args, '--lib', '--', ...(names.length > 0 ? names : UNITS) ]);
  const programs = PROGRAMS.flatMap(name => [ '--test', name ]);
  run('programs under AddressSanitizer', 'cargo', [ ...args, ...programs, '--', ...names ]);
});
