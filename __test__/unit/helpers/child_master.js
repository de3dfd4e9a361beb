'use strict';

/**
 * A master of its own process, over the fake. Its native side answers each message of the
 * parent with what it was asked, and closes like the true one.
 *
 * $ node child_master.js <baseDir>
 */

const { install, FakeNativeMaster } = require('./fake_native');

install();
FakeNativeMaster.onCreate = fake => {
  // As the true one, it keeps the process alive until it has closed.
  const alive = setInterval(() => {}, 1000);
  fake.send = (json, fromParent) => {
    fake.emit({ type: 'to-parent', message: { action: 'sent', data: { message: JSON.parse(json), fromParent } } });
  };
  fake.start = () => fake.emit({ type: 'to-parent', message: { action: 'egg-ready', to: 'parent', from: 'master', data: {} } });
  fake.close = () => {
    fake.emit({ type: 'closing-apps', timeoutMs: 10 });
    // Nobody reads this any more where the parent has disconnected.
    fake.emit({ type: 'to-parent', message: { action: 'late' } });
    setImmediate(() => {
      clearInterval(alive);
      fake.emit({ type: 'closed', code: 0 });
    });
  };
};

require('../../..').startCluster({ baseDir: process.argv[2], workers: 1, env: 'prod' });
