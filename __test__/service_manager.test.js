'use strict';

// The master as a service: what it makes of the environment of systemd. What it says to a service manager is tested
// in tests/service_manager.rs, for Node has no datagram sockets of this kind.

const assert = require('assert');
const path = require('path');
const { ownOnly } = require('./helper/test');

const own = (name, ...rest) => ownOnly('it knows no service manager', name, ...rest);
const VARIABLES = [ 'NOTIFY_SOCKET', 'WATCHDOG_PID', 'WATCHDOG_USEC', 'LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES' ];

for (const startMode of [ 'process', 'worker_threads' ]) {
  own(`a service manager that is not there is one line in the log, and no worker hears of it (${startMode})`, async t => {
    const socket = path.join(__dirname, 'nobody/notify');
    const given = Object.fromEntries(VARIABLES.map(name => [ name, '1' ]));
    const app = await t.ready({ options: { startMode }, env: { ...given, NOTIFY_SOCKET: socket, WATCHDOG_USEC: '200000' } });
    for (const role of [ 'app', 'agent' ]) {
      const { env } = await app.ask(role, 'info', { env: [ ...VARIABLES, 'PATH' ] });
      assert.deepStrictEqual(Object.keys(env), [ 'PATH' ]);
    }
    await app.close();
    assert.match(app.out, /WATCHDOG_USEC is ignored: signs of life are expected of process 1 /);
    assert.strictEqual(app.out.split(`the service manager cannot be told anything at ${socket} (NOTIFY_SOCKET): `).length, 2, app.out);
  });
}
