'use strict';

const assert = require('assert');
const test = require('./helpers/test');

const { checkSticky, stickyKey } = require('../../lib/sticky');
const { parseOptions } = require('../../lib/options');
const { app } = require('./helpers/app');

const check = sticky => checkSticky({ sticky });
const keyOf = sticky => stickyKey(check(sticky));

test('what is no object is left as it is, and needs no head', () => {
  for (const sticky of [ true, 1, 'true' ]) {
    assert.strictEqual(check(sticky), sticky);
    assert.strictEqual(stickyKey(sticky), null);
  }
  for (const sticky of [ undefined, null, false ]) assert.strictEqual(stickyKey(sticky), null);
});

test('an object is completed and stays truthy for the workers', t => {
  const { sticky } = parseOptions({ baseDir: app(t), workers: 1, sticky: {} });
  assert.deepStrictEqual(sticky, { by: 'address', trust: [ 'loopback', 'private' ], headTimeout: 2000 });
  assert.strictEqual(stickyKey(sticky), null);
});

test('what the native master is told', () => {
  assert.deepStrictEqual(keyOf({ by: 'forwarded', trust: 'loopback, 203.0.113.7', headTimeout: 500 }), {
    by: 'forwarded',
    name: null,
    trust: [ '127.0.0.0/8', '::1/128', '203.0.113.7' ],
    headTimeoutMs: 500,
  });
  assert.strictEqual(keyOf({ by: 'query' }).name, 'sid');
  assert.strictEqual(keyOf({ by: 'query', name: 'session[id]' }).name, 'session[id]');
  assert.strictEqual(keyOf({ by: 'cookie', name: 'EGG_SESS' }).name, 'EGG_SESS');
  assert.strictEqual(keyOf({ by: 'forwarded', name: 'X-Real-IP', trust: null }).name, 'X-Real-IP');
  const { trust } = keyOf({ by: 'proxy-protocol' });
  assert.deepStrictEqual(trust, [ '127.0.0.0/8', '::1/128', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7' ]);
  assert.deepStrictEqual(keyOf({ by: 'forwarded', trust: [ 'private', 'uniquelocal' ] }).trust, trust.slice(2));
  assert.deepStrictEqual(keyOf({ by: 'forwarded', trust: [] }).trust, []);
  const all = [ '0.0.0.0/0', '::/0', '::ffff:10.0.0.0/104', '2001:db8::1', '10.0.0.0/32' ];
  assert.deepStrictEqual(keyOf({ by: 'forwarded', trust: all }).trust, all);
});

const refused = [
  [ [ true ], TypeError, /^options\.sticky must be true or an object, but got \[ true \]$/ ],
  [ { By: 'cookie' }, TypeError, /^options\.sticky\.By is unknown: options\.sticky has 'by', 'name', 'trust', 'headTimeout'$/ ],
  [ { by: 'ip' }, TypeError, /^options\.sticky\.by must be one of 'address', .*'proxy-protocol', but got 'ip'$/ ],
  [ { by: 'toString' }, TypeError, /^options\.sticky\.by must be one of/ ],
  [ { by: 'cookie' }, TypeError, /^options\.sticky\.name must be the name of a cookie, for/ ],
  [ { by: 'cookie', name: 'a b' }, TypeError, /^options\.sticky\.name must be the name of a cookie, but got 'a b'$/ ],
  [ { by: 'cookie', name: '' }, TypeError, /name of a cookie, but got ''$/ ],
  [ { by: 'forwarded', name: 'X:Y' }, TypeError, /name of a header, but got 'X:Y'$/ ],
  [ { by: 'query', name: 'a&b' }, TypeError, /name of a query parameter, but got 'a&b'$/ ],
  [ { by: 'query', name: 7 }, TypeError, /but got 7$/ ],
  [ { name: 'sid' }, TypeError, /^options\.sticky\.name is of no use with sticky\.by 'address'/ ],
  [ { by: 'proxy-protocol', name: 'x' }, TypeError, /of no use with sticky\.by 'proxy-protocol'/ ],
  [ { by: 'forwarded', trust: true }, TypeError, /^options\.sticky\.trust must be an array of .* but got true$/ ],
  [ { by: 'forwarded', trust: [ 'loopback', '10.0.0.0/33' ] }, TypeError,
    /^options\.sticky\.trust must hold .* but has '10\.0\.0\.0\/33'$/ ],
  [ { by: 'forwarded', trust: [ undefined ] }, TypeError, /but has undefined$/ ],
  [ { by: 'forwarded', headTimeout: 0 }, RangeError,
    /^options\.sticky\.headTimeout must be a time in ms between 1 and 60000, but got 0$/ ],
  [ { by: 'forwarded', headTimeout: '2s' }, RangeError, /but got '2s'$/ ],
  [ { by: 'forwarded', headTimeout: 1.5 }, RangeError, /but got 1\.5$/ ],
];

test('what is wrong is refused by its name and value', () => {
  for (const [ sticky, type, message ] of refused) {
    assert.throws(() => check(sticky), err => err instanceof type && message.test(err.message), JSON.stringify(sticky));
  }
  for (const entry of [ '', 'lo', '10/8', '::/129', '10.0.0.0/-1', '10.0.0.0/08x', 'fe80::1%eth0', 'constructor', 5 ]) {
    assert.throws(() => check({ by: 'forwarded', trust: [ entry ] }), /options\.sticky\.trust must hold/, String(entry));
  }
});
