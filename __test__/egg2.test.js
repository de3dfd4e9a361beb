'use strict';

// Egg 2, with the workers of egg-cluster 1.27.

const { promise } = require('./helper/egg_promises');
const { egg } = require('./helper/eggs');

promise({ name: 'Egg 2', ...egg('egg2'), scripts: '/fixtures/eggs/egg2/node_modules/egg-cluster/lib' });
