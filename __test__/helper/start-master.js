'use strict';

// Runs in the process that is to become the master.

const path = require('path');

const { target, clusterDir, options, script, scriptArgs } = JSON.parse(process.argv[2]);

function report(data, sent) {
  if (process.connected) process.send({ action: 'test:report', data }, sent);
  else if (sent) sent();
}

function errorOf(err) {
  return { name: err.name, message: err.message, code: err.code };
}

function start() {
  const { startCluster } = require(target);
  let result;
  try {
    result = startCluster(options, (...args) => report({ type: 'callback', argument: args.some(arg => arg !== undefined) }));
  } catch (err) {
    report({ type: 'thrown', error: errorOf(err) }, () => process.exit(99));
    return;
  }
  if (result && result.catch) {
    result.catch(err => report({ type: 'rejected', error: errorOf(err) }, () => process.exit(99)));
  }
}

if (script) {
  require(script)({
    clusterDir,
    cluster: require(target),
    Master: require(path.join(clusterDir, 'lib/master')),
    options,
    args: scriptArgs,
    report,
    errorOf,
  });
} else {
  start();
}
