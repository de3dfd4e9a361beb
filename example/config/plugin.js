'use strict';

// The page needs no files; the plugin would make an empty folder for them.
exports.static = false;
