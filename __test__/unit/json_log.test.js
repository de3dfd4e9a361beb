'use strict';

const assert = require('assert');
const fs = require('fs');
const path = require('path');
const test = require('./helpers/test');

const { isJson, formatProblem, jsonLogger, JsonReporter, SILENT } = require('../../lib/json_log');

const root = path.join(__dirname, '../..');

/** Runs something, and gives back the lines that it writes to stdout and stderr. */
function written(t, act) {
  const lines = { out: [], err: [] };
  for (const [ name, stream ] of [ [ 'out', process.stdout ], [ 'err', process.stderr ] ]) {
    const { write } = stream;
    const mock = t.mock.method(stream, 'write', function(chunk, ...rest) {
      if (!String(chunk).startsWith('{"time"')) return write.call(this, chunk, ...rest);
      lines[name].push(JSON.parse(chunk));
      assert.ok(chunk.endsWith('}\n') && !chunk.slice(0, -1).includes('\n'));
      return true;
    });
    t.after(() => mock.mock.restore());
  }
  act();
  return lines;
}

test('only the two formats are taken', () => {
  for (const format of [ undefined, '', 'text' ]) {
    const env = { EGG_CLUSTER_RS_LOG_FORMAT: format };
    assert.deepStrictEqual([ isJson(env), formatProblem(env) ], [ false, null ]);
  }
  const json = { EGG_CLUSTER_RS_LOG_FORMAT: 'json' };
  assert.deepStrictEqual([ isJson(json), formatProblem(json) ], [ true, null ]);
  const wrong = { EGG_CLUSTER_RS_LOG_FORMAT: 'a "b"\n' };
  assert.strictEqual(isJson(wrong), false);
  assert.match(formatProblem(wrong), /should be json or text, but is "a \\"b\\"\\n"; using text$/);
});

test('texts and errors of the logger are lines, of several lines, too', t => {
  const { out, err } = written(t, () => {
    const logger = jsonLogger('INFO');
    logger.debug('not this');
    logger.info('a %s\nb', 1);
    logger.warn({ x: 1 });
    logger.error(Object.assign(new TypeError('broken'), { code: 'E_X' }));
    jsonLogger('NONE').error('nor this');
    jsonLogger('all').debug('all');
  });
  assert.deepStrictEqual(out.map(({ level, type, message }) => [ level, type, message ]),
    [ [ 'info', 'log', 'a 1\nb' ], [ 'warn', 'log', '{ x: 1 }' ], [ 'debug', 'log', 'all' ] ]);
  assert.deepStrictEqual([ err[0].message, err[0].error.name, err[0].error.code ], [ 'broken', 'TypeError', 'E_X' ]);
  assert.match(err[0].error.stack, /broken\n/);
});

test('an event keeps all of its members, at the level of its type', t => {
  const exited = { type: 'app-exited', pid: 7, code: 1, expected: false, reloaded: false };
  const { out, err } = written(t, () => {
    const reporter = new JsonReporter('INFO');
    for (const event of [ exited, { ...exited, expected: true }, { type: 'stuck', pid: 7 }, { type: 'new-type', x: null } ]) reporter.report(event);
    for (const type of SILENT) reporter.report({ type, message: { data: 'secret' } });
    reporter.signal('SIGTERM', null);
    reporter.exit(0, 'why');
    reporter.uncaughtException('a text');
  });
  assert.deepStrictEqual(out.map(({ level, type }) => [ level, type ]),
    [ [ 'info', 'app-exited' ], [ 'warn', 'stuck' ], [ 'info', 'new-type' ], [ 'info', 'signal' ], [ 'info', 'exit' ] ]);
  assert.deepStrictEqual(err.map(({ level, type }) => [ level, type ]), [ [ 'error', 'app-exited' ], [ 'error', 'uncaught-exception' ] ]);
  const { time, master, level, uptimeMs, ...members } = err[0];
  assert.deepStrictEqual(members, exited, `${time} ${level}`);
  assert.ok(master === process.pid && uptimeMs >= 0);
  assert.strictEqual(out[2].x, null);
  assert.strictEqual(err[1].message, 'a text');
});

test('docs/logs.md has every event with its members', () => {
  const source = fs.readFileSync(path.join(root, 'src/core/event.rs'), 'utf8');
  const [ , body ] = /\npub enum Event \{\n([^]*?)\n\}\n/.exec(source);
  const camel = name => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase());
  const types = new Map();
  for (const [ , variant, members = '' ] of body.matchAll(/^ {4}([A-Z]\w+)(?:,| \{\n([^]*?)\n {4}\},)$/gm)) {
    const names = [ ...members.matchAll(/^ {8}(\w+):/gm) ].flatMap(([ , name ]) => (name === 'status' ? [ 'code', 'signal' ] : [ camel(name) ]));
    types.set(variant.replace(/(?!^)([A-Z])/g, '-$1').toLowerCase(), names.sort());
  }
  for (const type of SILENT) types.delete(type);
  assert.ok(types.size > 40, `${types.size} events`);
  const text = fs.readFileSync(path.join(root, 'docs/logs.md'), 'utf8');
  const rows = [ ...text.matchAll(/^\| `([a-z-]+)` \|([^|]*)\| /gm) ].filter(([ , type ]) => types.has(type));
  const documented = new Map(rows.map(([ , type, members ]) => [ type, (members.match(/\w+/g) || []).sort() ]));
  assert.deepStrictEqual([ ...documented ].sort(), [ ...types ].sort());
});
