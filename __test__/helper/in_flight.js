'use strict';

// Descriptors that are on their way for ever: sent into a channel that nobody reads. The kernel counts them for the user.

const { spawn } = require('child_process');
const { once } = require('events');
const { WriteWrap } = process.binding('stream_wrap');
const { Pipe, constants } = process.binding('pipe_wrap');

/**
 * @return {{count: number, release: Function}} how many there are, and what ends them
 */
function fillFlight() {
  const reader = spawn('sleep', [ '600' ], { stdio: [ 'ignore', 'ignore', 'ignore', 'ipc' ] });
  const channel = reader[Object.getOwnPropertySymbols(reader).find(symbol => symbol.description === 'kChannelHandle')];
  // Any handle will do; this one is a socket that never listens.
  const passenger = new Pipe(constants.SERVER);
  passenger.bind(`\0egg-cluster-test-${process.pid}`);
  let isReleased = false;
  let count = 0;
  for (; count < 1000; count++) {
    const request = new WriteWrap();
    request.oncomplete = () => {};
    const error = channel.writeUtf8String(request, '\n', passenger);
    if (error) throw new Error(`write: ${error}`);
    if (request.async) break;
  }
  return {
    count,
    async release() {
      if (isReleased) return;
      isReleased = true;
      passenger.close();
      reader.kill('SIGKILL');
      await once(reader, 'exit');
    },
  };
}

module.exports = { fillFlight };
