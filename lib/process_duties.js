'use strict';

/**
 * What a master does for the process that it has to itself, apart from the cluster.
 */

/** Between two looks for zombies, in ms. What libuv has not reaped in between is not its own. */
const REAP_INTERVAL = 2000;

/** Output is lost where nobody can read it: its other end is closed, its terminal gone, its disk full. */
const LOST_OUTPUT = [ 'EPIPE', 'EIO', 'ECONNRESET', 'ENOSPC', 'EDQUOT', 'ERR_STREAM_DESTROYED' ];

/** Once for each stream, however many masters there are. */
const guarded = new WeakSet();

/**
 * Goes on when a line of the log cannot be written: without a listener Node would end the process,
 * and the workers with it, for that.
 */
function outliveOutput() {
  for (const stream of [ process.stdout, process.stderr ]) {
    if (guarded.has(stream)) continue;
    guarded.add(stream);
    emitWhatIsThrown(stream);
    stream.on('error', err => {
      if (!LOST_OUTPUT.includes(err.code)) throw err;
    });
  }
}

/** Node 16 throws where later versions emit `error`: into the face of whoever writes to a file on a full disk. */
function emitWhatIsThrown(stream) {
  if (stream.constructor.name !== 'SyncWriteStream') return;
  const write = stream._write;
  stream._write = function(chunk, encoding, callback) {
    let isWritten = false;
    const done = err => {
      isWritten = true;
      callback(err);
    };
    try {
      write.call(this, chunk, encoding, done);
    } catch (err) {
      if (isWritten) throw err;
      callback(err);
    }
  };
}

/**
 * Reaps what has become a child of this process without being started by it. It does not keep
 * the process alive.
 *
 * @param {{adoptsOrphans: function(): boolean, reapOrphans: function(): number}} binding
 */
function reapOrphans(binding) {
  if (binding.adoptsOrphans()) setInterval(() => binding.reapOrphans(), REAP_INTERVAL).unref();
}

module.exports = { outliveOutput, reapOrphans, REAP_INTERVAL };
