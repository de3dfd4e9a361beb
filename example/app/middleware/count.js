'use strict';

// Counts every request that this worker answers.

module.exports = () => async function count(ctx, next) {
  ctx.app.self.requests++;
  await next();
};
