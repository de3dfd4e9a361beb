'use strict';

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { test } = require('./helper/test');

function pidFile(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-pid-'));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  return path.join(dir, 'not/yet/there', 'master.pid');
}

test('pidFile and its directories are made, hold the digits of the pid and nothing else, and the file goes at the end', async t => {
  const file = pidFile(t);
  const app = await t.ready({ options: { pidFile: file } });
  assert.strictEqual(fs.readFileSync(file, 'utf8'), String(app.pid));
  await app.close();
  assert.strictEqual(fs.existsSync(file), false);
  assert.strictEqual(fs.existsSync(path.dirname(file)), true);
  assert.strictEqual(app.err, '');
});

test('pidFile goes after a failed start too', async t => {
  const file = pidFile(t);
  const app = await t.start({ options: { pidFile: file }, mini: { app: { readyDelay: 200, failReady: 'no' } } });
  await app.stdout(/app_worker#1:\d+ start, state/);
  assert.strictEqual(fs.readFileSync(file, 'utf8'), String(app.pid));
  await app.end();
  assert.strictEqual(fs.existsSync(file), false);
});

test('a pidFile that is gone already is no error', async t => {
  const file = pidFile(t);
  const app = await t.ready({ options: { pidFile: file } });
  fs.unlinkSync(file);
  assert.deepStrictEqual(await app.close(), { code: 0, signal: null });
  assert.strictEqual(app.err, '');
});

test('an old pidFile is overwritten', async t => {
  const file = pidFile(t);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, '123456789123456789\n');
  const app = await t.ready({ options: { pidFile: file } });
  assert.strictEqual(fs.readFileSync(file, 'utf8'), String(app.pid));
});
