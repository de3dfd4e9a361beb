'use strict';

// What a shell completes, in real shells.

const assert = require('assert');
const fs = require('fs');
const os = require('os');
const path = require('path');
const { spawnSync } = require('child_process');
const { ownOnly } = require('./helper/test');
const { cli } = require('./helper/cli');
const { program } = require('../lib/cli');
const { completion, SHELLS } = require('../lib/cli/completion');

const own = (name, ...rest) => ownOnly('there is no command line', name, ...rest);
const missing = shell => (spawnSync(shell, [ '-c', ':' ]).status === 0 ? false : `there is no ${shell}`);
const bashSkip = { skip: missing('bash') };

/** What bash proposes for the last of these words. */
function proposals(script, words, cwd) {
  const list = words.map(word => `'${word}'`).join(' ');
  const { status, stdout, stderr } = spawnSync('bash', [ '--norc', '-c', `
    source "$1"
    COMP_WORDS=(${list}) COMP_CWORD=${words.length - 1}
    _egg_cluster_rs egg-cluster-rs
    printf '%s\\n' "\${COMPREPLY[@]}"`, 'bash', script ], { cwd, encoding: 'utf8' });
  assert.deepStrictEqual([ status, stderr ], [ 0, '' ]);
  return stdout.split('\n').filter(Boolean);
}

function scriptFile(t, shell) {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'egg-cluster-test-')));
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }));
  const file = path.join(dir, `completion.${shell}`);
  fs.writeFileSync(file, completion(program(), shell));
  return file;
}

own('the script has every command and every option, in each shell', async () => {
  for (const shell of SHELLS) {
    const { code, out, err } = await cli([ 'completion', shell ]);
    assert.deepStrictEqual([ code, err ], [ 0, '' ]);
    assert.strictEqual(out, completion(program(), shell));
    for (const command of program().commands) {
      assert.ok(out.includes(command.name()), command.name());
      for (const { long } of command.options) assert.ok(out.includes(shell === 'fish' ? `-l ${long.slice(2)}` : long), `${shell}: ${long}`);
    }
  }
});

own('bash completes commands, options, directories and files', bashSkip, async t => {
  const script = scriptFile(t, 'bash');
  const dir = path.dirname(script);
  fs.mkdirSync(path.join(dir, 'an app'));
  fs.writeFileSync(path.join(dir, 'a.sock'), '');
  const complete = (...words) => proposals(script, [ 'egg-cluster-rs', ...words ], dir);
  const names = program().commands.map(command => command.name());
  assert.deepStrictEqual(complete('').filter(word => !word.startsWith('-')), names);
  assert.deepStrictEqual(complete('re'), [ 'reload', 'restart', 'resume' ]);
  assert.deepStrictEqual(complete('completion', ''), [ ...SHELLS, '-h', '--help' ]);
  for (const command of program().commands) {
    const long = complete(command.name(), '--');
    for (const option of command.options) assert.ok(long.includes(option.long), `${command.name()} ${option.long}`);
  }
  assert.deepStrictEqual(complete('stop', '--t'), [ '--timeout' ]);
  assert.deepStrictEqual(complete('stop', '--timeout', ''), [], 'nobody can know it');
  assert.deepStrictEqual(complete('status', '--dir', 'a'), [ 'an app' ], 'also with a space');
  assert.deepStrictEqual(complete('status', '--dir', '=', 'a'), [ 'an app' ]);
  assert.deepStrictEqual(complete('status', '--dir', '='), [ 'an app' ]);
  assert.deepStrictEqual(complete('status', '--socket', 'a.').sort(), [ 'a.sock' ]);
});

own('zsh can read the script', { skip: missing('zsh') }, async t => {
  const { status, stderr } = spawnSync('zsh', [ '-n', scriptFile(t, 'zsh') ], { encoding: 'utf8' });
  assert.deepStrictEqual([ status, stderr ], [ 0, '' ]);
});

own('fish completes commands and options', { skip: missing('fish') }, async t => {
  const ask = line => `complete -C '${line}' | string replace -r '\t.*' ''`;
  const lines = [ 'egg-cluster-rs re', 'egg-cluster-rs stop --t', 'egg-cluster-rs completion ' ];
  const { status, stdout, stderr } = spawnSync('fish', [ '-c', `source ${scriptFile(t, 'fish')}; ${lines.map(ask).join('; ')}` ], { encoding: 'utf8' });
  assert.deepStrictEqual([ status, stderr ], [ 0, '' ]);
  assert.deepStrictEqual(stdout.trim().split('\n'), [ 'reload', 'restart', 'resume', '--timeout', ...[ ...SHELLS ].sort() ]);
});
