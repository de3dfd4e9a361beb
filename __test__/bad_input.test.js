'use strict';

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { test, ownOnly } = require('./helper/test');
const { fixtures } = require('./helper/cluster');
const wrong = require('./helper/wrong_options');

const app = name => path.join(fixtures, 'apps', name);
const tls = name => path.join(fixtures, 'tls', name);
const nowhere = path.join(os.tmpdir(), 'egg-cluster-test-nowhere');

// name -> [ options, the message thrown ]
const cases = {
  'a baseDir without package.json': [ { baseDir: nowhere }, `${path.join(nowhere, 'package.json')} should exist` ],
  'an unknown framework': [ { framework: 'framework-of-nobody' }, /^framework-of-nobody is not found in / ],
  'a framework path that does not exist': [ { framework: nowhere }, `${nowhere} should exist` ],
  'a framework without Application': [ { framework: app('no-application') }, `should define Application in ${app('no-application')}` ],
  'a framework without Agent': [ { framework: app('no-agent') }, `should define Agent in ${app('no-agent')}` ],
  'https without a key': [ { https: { cert: tls('cert.pem') } }, 'options.https.key should exists' ],
  'an https key that does not exist': [ { https: { key: nowhere, cert: tls('cert.pem') } }, 'options.https.key should exists' ],
  'an https certificate that does not exist': [ { https: { key: tls('key.pem'), cert: nowhere } }, 'options.https.cert should exists' ],
  'an https ca that does not exist': [ { https: { key: tls('key.pem'), cert: tls('cert.pem'), ca: nowhere } }, 'options.https.ca should exists' ],
  'a pidFile under a file': [ { pidFile: path.join(tls('key.pem'), 'below/master.pid') }, /EEXIST|ENOTDIR/ ],
};

for (const [ name, [ options, expected ] ] of Object.entries(cases)) {
  test(`${name} throws at once, names what is wrong and starts nothing`, async t => {
    const master = await t.start({ options });
    const { error } = await master.report('thrown');
    if (typeof expected === 'string') assert.strictEqual(error.message, expected);
    else assert.match(error.message, expected);
    assert.strictEqual((await master.end()).code, 99);
    assert.doesNotMatch(master.out, /agent_worker#1/);
    assert.ok(!fs.existsSync(nowhere));
  });
}

test('a wrong option does not keep the same process from starting with right ones', async t => {
  const master = await t.start({ script: 'wrong-then-right.js' });
  assert.match((await master.report('thrown')).error.message, /is not found in/);
  await master.ready();
});

ownOnly(
  'passes most of them on, and fails later or never',
  'every wrong value of every option is refused at once, and leaves nothing that keeps the process alive',
  async t => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-wrong-'));
    t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
    const master = await t.start({ script: 'wrong-options.js', options: { pidFile: path.join(dir, 'master.pid') } });
    assert.deepStrictEqual(await master.end(), { code: 0, signal: null });
    const reports = master.found('test:report').map(({ data }) => data);
    const count = Object.values(wrong).reduce((sum, values) => sum + values.length, 0);
    assert.strictEqual(reports.length, count);
    assert.deepStrictEqual(reports.filter(({ type }) => type !== 'refused'), []);
    for (const { name, i, error } of reports) {
      assert.strictEqual(error.name, wrong[name][i][1], error.message);
      assert.match(error.message, wrong[name][i][2]);
    }
    assert.strictEqual(master.out + master.err, '');
    assert.deepStrictEqual(fs.readdirSync(dir), []);
  });
