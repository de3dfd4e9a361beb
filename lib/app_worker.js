'use strict';

/**
 * For `require('egg-cluster/lib/app_worker')` in worker scripts of a framework's own, where
 * this package stands in the place of egg-cluster. The native master never starts this file.
 */

require('@egg-cluster-rs/egg-cluster/lib/app_worker');
