'use strict';

/** Where egg-cluster has it. */
module.exports = require('../options').parseOptions;
