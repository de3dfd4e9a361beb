'use strict';

const path = require('path');
const { spawn } = require('child_process');

const PROGRAM = path.join(__dirname, '../../bin/egg-cluster-rs.js');
const DEADLINE = 60000;

/** Starts the command line: the child, and a promise of `{ code, out, err }`. */
function startCli(args, { cwd, uid, gid, env = {} } = {}) {
  const child = spawn(process.execPath, [ PROGRAM, ...args ], {
    cwd, uid, gid, env: { ...process.env, NO_COLOR: undefined, FORCE_COLOR: undefined, ...env }, stdio: [ 'ignore', 'pipe', 'pipe' ],
  });
  const result = { code: null, out: '', err: '' };
  for (const [ name, stream ] of [ [ 'out', child.stdout ], [ 'err', child.stderr ] ]) {
    stream.setEncoding('utf8');
    stream.on('data', text => {
      result[name] += text;
    });
  }
  const ended = new Promise(resolve => {
    const timer = setTimeout(() => child.kill('SIGKILL'), DEADLINE);
    child.once('close', code => {
      clearTimeout(timer);
      resolve({ ...result, code });
    });
  });
  return { child, result, ended };
}

/** Runs the command line to its end. */
function cli(args, options) {
  return startCli(args, options).ended;
}

module.exports = { PROGRAM, cli, startCli };
