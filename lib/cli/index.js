'use strict';

/** `npx egg-cluster-rs`: sees and steers running masters through their control sockets. */

const { Argument, Command, InvalidArgumentError, Option } = require('commander');
const { version } = require('../../package.json');
const { SHELLS } = require('./completion');
const { findSocket } = require('./find');
const { CliError, EXIT } = require('./failure');
const { hasColours, painter } = require('./text');

const EXITS = `
Exit codes:
  0  done
  1  it was tried and failed, or the master refused it
  2  the command line is wrong
  3  there is no master, or it cannot be asked

A master is found by the directory of its application (by default the current one), by the file
of its process id, or by its socket. Colours are for terminals; NO_COLOR=1 and FORCE_COLOR=1 decide otherwise.`;

const COMPLETION_HELP = `
Load it where the shell starts:
  bash  eval "$(egg-cluster-rs completion bash)"       in ~/.bashrc
  zsh   eval "$(egg-cluster-rs completion zsh)"        in ~/.zshrc, below compinit
  fish  egg-cluster-rs completion fish | source        in ~/.config/fish/config.fish

It completes the command egg-cluster-rs. Where that is only known to npx, an alias will do:
  alias egg-cluster-rs='npx egg-cluster-rs'`;

/**
 * @param {string[]} argv - as `process.argv`
 * @return {Promise<void>} the exit code of the process is set
 */
async function main(argv) {
  // Who has read enough closes the pipe.
  process.stdout.on('error', err => process.exit(err.code === 'EPIPE' ? 0 : 1));
  try {
    await program().parseAsync(argv);
  } catch (err) {
    process.exitCode = report(err);
  }
}

/** Says what is wrong; the exit code. */
function report(err) {
  // What commander has to say it has said.
  if (typeof err.code === 'string' && err.code.startsWith('commander.')) return err.exitCode === 0 ? 0 : EXIT.usage;
  if (!(err instanceof CliError)) throw err;
  const paint = painter(hasColours(process.stderr));
  process.stderr.write(`${paint('red', 'error')}: ${err.message}\n${err.hint ? `  ${err.hint}\n` : ''}`);
  return err.exitCode;
}

function program() {
  const cli = new Command('egg-cluster-rs')
    .description('See and steer the masters of Egg applications.')
    .version(version)
    .addHelpText('after', EXITS)
    .showHelpAfterError('(egg-cluster-rs --help shows what there is)')
    .exitOverride();
  const add = (name, description) => cli.command(name).description(description).exitOverride();
  lookingCommands(add);
  steeringCommands(add);
  return cli;
}

function lookingCommands(add) {
  located(add('status', 'show the master and its workers'))
    .option('--json', 'everything, as JSON')
    .option('-w, --watch [seconds]', 'again and again, every 2 seconds by default; q ends it', seconds)
    .argument('[slot]', 'only this slot, or "agent", with everything that is known of it', place)
    .action((slot, options, command) => run(command, context => require('./status').status(context, slot, options)));
  located(add('top', 'watch the workers: who uses how much of the machine'))
    .option('-i, --interval <seconds>', 'how often to look', seconds, 1)
    .action((options, command) => run(command, context => require('./top').top(context, { seconds: options.interval })));
  located(add('events', 'follow what happens, as names and values'))
    .option('--json', 'one JSON object in each line')
    .action((options, command) => run(command, context => require('./events').events(context, options)));
  located(add('logs', 'follow what happens, in the lines of the log of the master'))
    .option('--json', 'one JSON object in each line, as events --json')
    .action((options, command) => run(command, context => require('./events').logs(context, options)));
  add('list', 'show all masters of this host')
    .option('--json', 'everything, as JSON')
    .action(options => require('./status').list(surroundings(), options));
  add('doctor', 'look for what could be in the way of a master on this host')
    .option('-C, --dir <dir>', 'the directory of the application')
    .option('--port <port>', 'also look whether this port can be had, and who has it', wholeNumber(1, 65535))
    .option('--json', 'everything, as JSON')
    .action(options => require('./doctor').doctor(surroundings(), options));
  add('completion', 'print the completion of this command line for a shell')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .addHelpText('after', COMPLETION_HELP)
    .action((shell, options, command) => process.stdout.write(require('./completion').completion(command.parent, shell)));
}

function steeringCommands(add) {
  const json = command => command.option('--json', 'the outcome as JSON');
  const noWait = command => json(located(command).option('--no-wait', 'do not wait until it is done'));
  noWait(add('reload', 'replace all workers without losing a request; fails, and leaves the old ones, when a new one fails'))
    .option('--agent', 'replace the agent first')
    .action((options, command) => run(command, context => require('./steer').reload(context, options)));
  noWait(add('restart', 'replace the worker of one slot, in the same way'))
    .argument('<slot>', 'its number, from 0', wholeNumber(0, 65534))
    .action((slot, options, command) => run(command, context => require('./steer').restart(context, slot, options)));
  noWait(add('scale', 'change the number of workers; with fewer, those of the highest slots finish what they have'))
    .argument('<workers>', 'how many there shall be', wholeNumber(1, 65535))
    .action((workers, options, command) => run(command, context => require('./steer').scale(context, workers, options)));
  json(located(add('pause', 'accept no new connections: they wait in the queue of the kernel')))
    .action((options, command) => run(command, context => require('./steer').pause(context, options)));
  json(located(add('resume', 'accept new connections again')))
    .action((options, command) => run(command, context => require('./steer').resume(context, options)));
  noWait(add('stop', 'end the workers, which finish what they have, then the agent and the master'))
    .option('--timeout <seconds>', 'how long that may take', seconds, 60)
    .action((options, command) => run(command, context => require('./steer').stop(context, options)));
}

/** A command for one master. */
function located(command) {
  return command
    .addOption(new Option('-C, --dir <dir>', 'the directory of the application; by default the current one').conflicts([ 'socket', 'pidFile' ]))
    .addOption(new Option('--pid-file <file>', 'the file that has the process id of the master').conflicts([ 'socket' ]))
    .option('--socket <file>', 'the control socket of the master');
}

async function run(command, act) {
  const socket = await findSocket(command.opts());
  await act({ ...surroundings(), socket });
}

function surroundings() {
  const { stdin, stdout } = process;
  return {
    out: text => stdout.write(`${text}\n`),
    paint: painter(hasColours(stdout)),
    // What is read by programs is as wide as it is.
    columns: stdout.isTTY && stdout.columns > 0 ? stdout.columns : Infinity,
    terminal: stdout.isTTY && process.env.TERM !== 'dumb' ? { input: stdin, output: stdout } : null,
  };
}

/** A slot, or the agent's place. */
function place(text) {
  if (text === 'agent' || /^\d+$/.test(text)) return text === 'agent' ? text : String(Number(text));
  throw new InvalidArgumentError('It must be the number of a slot, from 0, or "agent".');
}

function wholeNumber(min, max) {
  return text => {
    const number = Number(text);
    if (/^\d+$/.test(text) && number >= min && number <= max) return number;
    throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
  };
}

function seconds(text) {
  const number = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && number >= 0.1 && number <= 86400) return number;
  throw new InvalidArgumentError('It must be a number of seconds from 0.1 to 86400.');
}

module.exports = { main, program };
