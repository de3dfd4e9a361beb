'use strict';

const assert = require('assert');
const util = require('util');
const test = require('./helpers/test');
const { prestartConfig } = require('../../lib/prestart_config');
const { withEnv } = require('./helpers/app');

const NONE = { atStart: false, spares: 0 };

function build(prestart, { isProduction = true, hindrance = null } = {}) {
  const warnings = [];
  const config = prestartConfig({ prestart, isProduction, hindrance, warn: (...args) => warnings.push(util.format(...args)) });
  return { config, warnings };
}

test('off by default, also in production with an environment of development', t => {
  withEnv(t, { NODE_ENV: undefined, EGG_CLUSTER_RS_PRESTART: undefined });
  for (const given of [ undefined, null, false ]) {
    assert.deepStrictEqual(build(given).config, NONE);
    assert.deepStrictEqual(build(given, { isProduction: false }).config, NONE);
  }
  process.env.NODE_ENV = 'development';
  assert.deepStrictEqual(build(undefined).config, NONE);
});

test('on, with a spare, where egg-bin dev starts it, unless it is switched off', t => {
  withEnv(t, { NODE_ENV: 'development', EGG_CLUSTER_RS_PRESTART: undefined });
  assert.deepStrictEqual(build(undefined, { isProduction: false }).config, { atStart: true, spares: 1 });
  assert.deepStrictEqual(build(false, { isProduction: false }).config, NONE);
  process.env.EGG_CLUSTER_RS_PRESTART = 'false';
  assert.deepStrictEqual(build(undefined, { isProduction: false }).config, NONE);
});

test('spares are none in production and one elsewhere, unless they are given', t => {
  withEnv(t, { NODE_ENV: undefined, EGG_CLUSTER_RS_PRESTART: undefined });
  assert.deepStrictEqual(build(true).config, { atStart: true, spares: 0 });
  assert.deepStrictEqual(build(true, { isProduction: false }).config, { atStart: true, spares: 1 });
  assert.deepStrictEqual(build({ spares: 2 }).config, { atStart: true, spares: 2 });
  assert.deepStrictEqual(build({ atStart: false, spares: 0 }, { isProduction: false }).config, NONE);
});

test('the environment switches it on where the option is not given; nonsense in it is told', t => {
  withEnv(t, { NODE_ENV: undefined, EGG_CLUSTER_RS_PRESTART: 'true' });
  assert.deepStrictEqual(build(undefined).config, { atStart: true, spares: 0 });
  assert.deepStrictEqual(build(false).config, NONE);
  process.env.EGG_CLUSTER_RS_PRESTART = 'yes';
  const { config, warnings } = build(undefined);
  assert.deepStrictEqual(config, NONE);
  assert.match(warnings[0], /EGG_CLUSTER_RS_PRESTART should be true or false, but is "yes"/);
});

test('where it is not possible the log says why, if somebody has asked for it', t => {
  withEnv(t, { NODE_ENV: 'development', EGG_CLUSTER_RS_PRESTART: undefined });
  const { config, warnings } = build(true, { hindrance: 'of a reason' });
  assert.deepStrictEqual(config, NONE);
  assert.match(warnings[0], /options\.prestart has no effect: of a reason/);
  assert.deepStrictEqual(build(undefined, { isProduction: false, hindrance: 'of a reason' }), { config: NONE, warnings: [] });
});
