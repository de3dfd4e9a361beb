'use strict';

// Puts lib/native_master.js and all that it loads of lib/ into one file, lib/bundle.js, in which a master starts.

const fs = require('fs');
const path = require('path');
const { listFiles, hash } = require('./sources');
const { ROOT, main } = require('./steps');

const LIB = path.join(ROOT, 'lib');
const ENTRY = path.join(LIB, 'native_master.js');
const BUNDLE = path.join(LIB, 'bundle.js');

/** Makes the bundle, unless it is there and of the sources as they are. */
function bundle() {
  const sources = listFiles(LIB).filter(file => file !== BUNDLE && file.endsWith('.js'));
  const stamp = `// Made by scripts/bundle.js of sources with the hash ${hash([ ...sources, __filename ])}`;
  if (fs.existsSync(BUNDLE) && fs.readFileSync(BUNDLE, 'utf8').startsWith(stamp)) return;
  require('esbuild').buildSync({
    entryPoints: [ ENTRY ],
    outfile: BUNDLE,
    bundle: true,
    platform: 'node',
    target: 'node16',
    // Neither packages nor what napi generates.
    packages: 'external',
    external: [ '../binding.js' ],
    banner: { js: stamp },
    logLevel: 'warning',
  });
}

/** In the place of the bundle: the sources as they are, for what counts their lines. */
function loadSources() {
  fs.writeFileSync(BUNDLE, `'use strict';\n\nmodule.exports = require('./native_master');\n`);
}

module.exports = { bundle, loadSources, BUNDLE };

if (require.main === module) main(bundle);
