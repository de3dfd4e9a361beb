'use strict';

// What the workers get of the options, beside what egg-cluster 2.5.0 makes of the same: both run
// at the same time, and the arguments of their workers are compared as text, but for the ports.

const assert = require('assert');
const path = require('path');
const { test, ownOnly } = require('./helper/test');
const { fixtures, original, root } = require('./helper/cluster');
const { freePort } = require('./helper/ports');

const tls = name => path.join(fixtures, 'tls', name);
const preloaded = path.join(fixtures, 'scripts/preloaded.js');

const https = { key: tls('key.pem'), cert: tls('cert.pem') };

const CASES = {
  'no more than what is needed': {},
  'numbers as text': async () => ({ workers: '1', port: String(await freePort()) }),
  'null, which means "not given", and what is missing': {
    workers: undefined, baseDir: undefined, plugins: null, https: null, env: null, require: null, title: null, debugPort: null,
  },
  'empty texts and zeros': { env: '', title: '', debugPort: 0, require: '' },
  'https with key, cert, ca and more, and debugPort': async () => ({
    https: { ...https, ca: tls('cert.pem'), passphrase: 'x', requestCert: false }, debugPort: await freePort(),
  }),
  'https: true, the deprecated form, and debugPort as text': async () => ({
    https: true, ...https, debugPort: String(await freePort()),
  }),
  'require as a text, env, plugins as an object': {
    require: preloaded, env: 'prod', plugins: { schedule: false, view: { enable: true, package: 'egg-view' } },
  },
  'require as an array, an env of one\'s own, plugins as JSON': {
    require: [ preloaded, 'path' ], env: 'sit', plugins: '{"schedule":false}',
  },
  'sticky, title, typescript and isDebug': { sticky: true, title: 'egg-server-of-"test" ä😀', typescript: true, isDebug: false },
  'startMode, ports and reusePort': { startMode: 'process', ports: [ 7001, '7002' ], reusePort: process.platform === 'linux' },
  'unknown ones of every kind': {
    'with-hyphen': 1, 'a.b': [ null, true, 1.5, 'x' ], deep: { er: { est: {} } }, key2: '\u2028\ud83d', mode: 'single',
  },
  'customEgg': { framework: undefined, customEgg: path.join(fixtures, 'framework-mini') },
  'the framework of package.json': { framework: undefined, baseDir: path.join(fixtures, 'apps/names-framework') },
};

/** The arguments of agent and app workers, with names for the ports that the masters chose or were given. */
async function argumentsOf(app) {
  await app.ready();
  const [ agent, worker ] = [ await app.ask('agent', 'info'), await app.ask('app', 'info') ];
  return [ agent, worker ].map(({ argv }) => argv[2].replace(/"(clusterPort|stickyWorkerPort|port|debugPort)":"?\d+"?/g, (text, name) =>
    (text.includes('":"') ? `"${name}":"text"` : `"${name}":number`)));
}

for (const [ name, given ] of Object.entries(CASES)) {
  test(`the workers get the options as egg-cluster gives them: ${name}`, async t => {
    const config = async () => ({
      options: typeof given === 'function' ? await given() : given,
      cwd: path.join(fixtures, 'apps/mini'),
    });
    const [ ours, theirs ] = [ await t.start(await config()), await t.start({ ...await config(), target: original }) ];
    assert.deepStrictEqual(await argumentsOf(ours), await argumentsOf(theirs));
  });
}

test('the workers get the options as egg-cluster gives them: EGG_SERVER_ENV', async t => {
  const config = { env: { EGG_SERVER_ENV: 'sit', NODE_ENV: 'production' } };
  const [ ours, theirs ] = [ await t.start(config), await t.start({ ...config, target: original }) ];
  const args = await argumentsOf(ours);
  assert.deepStrictEqual(args, await argumentsOf(theirs));
  assert.match(args[0], /"env":"sit"/);
});

ownOnly(
  'takes the text false for true, and leaves names with hyphens to the workers',
  'flags as text and names with hyphens arrive as what they mean',
  async t => {
    const app = await t.ready({
      options: { 'reuse-port': 'false', sticky: 'false', https: 'false', 'custom-egg': path.join(root, 'nowhere'), drain: '{"timeout":"50"}' },
    });
    const { argv } = await app.ask('app', 'info');
    const { reusePort, sticky, https: tlsOf, customEgg, drain } = JSON.parse(argv[2]);
    assert.deepStrictEqual({ reusePort, sticky, https: tlsOf, customEgg, drain },
      { reusePort: false, sticky: false, https: false, customEgg: path.join(root, 'nowhere'), drain: { timeout: 50 } });
    assert.ok(!('reuse-port' in JSON.parse(argv[2])));
  });
