'use strict';

// Makes this Node one that has no diagnostics_channel.

const Module = require('module');

const load = Module._load;
Module._load = function(request, ...rest) {
  if (request === 'diagnostics_channel') throw new Error('Cannot find module \'diagnostics_channel\'');
  return load.call(this, request, ...rest);
};
