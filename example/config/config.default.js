'use strict';

const path = require('path');

module.exports = appInfo => ({
  // Signs cookies. A real application keeps its own out of version control.
  keys: 'egg-cluster-rs-example',

  // In production Egg logs below the home directory; the example stays in its own, which git ignores.
  logger: { dir: path.join(appInfo.baseDir, 'logs') },

  security: {
    // The page brings its style and script inline; the script carries a nonce that Egg makes for each answer.
    csp: {
      enable: true,
      policy: {
        'default-src': "'none'",
        'connect-src': "'self'",
        'img-src': 'data:',
        'script-src': "'self'",
        'style-src': "'unsafe-inline'",
        'base-uri': "'none'",
        'form-action': "'none'",
        'frame-ancestors': "'none'",
      },
    },
  },
});
