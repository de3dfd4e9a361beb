'use strict';

/**
 * `completion`: what a shell needs to complete this command line. It is made from the commands
 * themselves, so there is no second list of them.
 */

const SHELLS = [ 'bash', 'zsh', 'fish' ];
/** What stands for the value of an option; of any other nothing can be proposed. */
const VALUES = { dir: 'directory', socket: 'file', pidFile: 'file' };
const HELP = { flags: [ '-h', '--help' ], text: 'what there is', value: null, takesValue: false };

/**
 * @param {Object} program - of commander
 * @param {string} shell - one of SHELLS
 * @return {string} a script for that shell
 */
function completion(program, shell) {
  const commands = program.commands.map(commandOf);
  const top = [ ...program.options.map(optionOf), HELP ];
  const write = { bash, zsh, fish }[shell];
  return write(program.name(), commands, top);
}

/** What of a command can be completed. */
function commandOf(command) {
  const [ argument ] = command.registeredArguments;
  const words = argument && argument.argChoices ? argument.argChoices : [];
  return { name: command.name(), text: command.description(), words, options: [ ...command.options.map(optionOf), HELP ] };
}

function optionOf(option) {
  return {
    flags: [ option.short, option.long ].filter(Boolean),
    text: option.description,
    value: VALUES[option.attributeName()] || null,
    takesValue: option.required,
  };
}

/** Flags of all commands whose next word is a value of this kind. */
function flagsOf(commands, isWanted) {
  const flags = commands.flatMap(({ options }) => options.filter(isWanted).flatMap(option => option.flags));
  return [ ...new Set(flags) ].join('|');
}

function bash(name, commands, top) {
  const id = `_${name.replace(/\W/g, '_')}`;
  const words = ({ words: own, options }) => [ ...own, ...options.flatMap(({ flags }) => flags) ].join(' ');
  const first = [ ...commands.map(command => command.name), ...top.flatMap(({ flags }) => flags) ].join(' ');
  return `# bash completion of ${name}
${id}() {
  local word=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command= words= i
  # --dir=x is three words.
  if [[ $word == = ]]; then word=
  elif [[ $previous == = ]]; then previous=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in
      ${commands.map(command => command.name).join('|')}) command=\${COMP_WORDS[i]}; break ;;
    esac
  done
  COMPREPLY=()
  local IFS=$'\\n'
  case $previous in
    ${flagsOf(commands, ({ value }) => value === 'directory')})
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -d -- "$word")); return ;;
    ${flagsOf(commands, ({ value }) => value === 'file')})
      compopt -o filenames 2>/dev/null
      COMPREPLY=($(compgen -f -- "$word")); return ;;
    ${flagsOf(commands, ({ value, takesValue }) => takesValue && value === null)}) return ;;
  esac
  case $command in
    '') words='${first}' ;;
${commands.map(command => `    ${command.name}) words='${words(command)}' ;;`).join('\n')}
  esac
  COMPREPLY=($(IFS=' '; compgen -W "$words" -- "$word"))
}
complete -F ${id} ${name}
`;
}

function zsh(name, commands, top) {
  const id = `_${name.replace(/\W/g, '_')}`;
  return `#compdef ${name}
# zsh completion of ${name}
${id}() {
  local -a commands
  commands=(
${commands.map(command => `    ${quote(`${command.name}:${command.text}`)}`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    _arguments ${top.map(zshOption).join(' ')}
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${commands.map(({ name: own, words, options }) => `    ${own}) _arguments ${[ ...options.map(zshOption), ...zshWords(words) ].join(' ')} ;;`).join('\n')}
  esac
}
compdef ${id} ${name}
`;
}

function zshOption({ flags, text, value, takesValue }) {
  const action = { directory: ':directory:_files -/', file: ':file:_files' }[value] || (takesValue ? ':value: ' : '');
  const rest = `[${text.replace(/[[\]:\\]/g, '\\$&')}]${action}`;
  if (flags.length === 1) return quote(flags[0] + rest);
  return `${quote(`(${flags.join(' ')})`)}{${flags.join(',')}}${quote(rest)}`;
}

function zshWords(words) {
  return words.length > 0 ? [ quote(`1:what:(${words.join(' ')})`) ] : [ quote('1: :') ];
}

function quote(text) {
  return `'${text.replace(/'/g, '\'\\\'\'')}'`;
}

function fish(name, commands, top) {
  const line = (condition, rest) => `complete -c ${name} -n ${quoteFish(condition)} ${rest}`;
  const lines = [ `# fish completion of ${name}`, `complete -c ${name} -f` ];
  for (const option of top) lines.push(line('__fish_use_subcommand', fishOption(option)));
  for (const { name: own, text, words, options } of commands) {
    const seen = `__fish_seen_subcommand_from ${own}`;
    lines.push(line('__fish_use_subcommand', `-a ${own} -d ${quoteFish(text)}`));
    if (words.length > 0) lines.push(line(seen, `-a ${quoteFish(words.join(' '))}`));
    for (const option of options) lines.push(line(seen, fishOption(option)));
  }
  return `${lines.join('\n')}\n`;
}

function fishOption({ flags, text, value, takesValue }) {
  const names = flags.map(flag => (flag.startsWith('--') ? `-l ${flag.slice(2)}` : `-s ${flag.slice(1)}`));
  const action = { directory: ' -r -a \'(__fish_complete_directories)\'', file: ' -r -F' }[value] || (takesValue ? ' -x' : '');
  return `${names.join(' ')} -d ${quoteFish(text)}${action}`;
}

function quoteFish(text) {
  return `'${text.replace(/[\\']/g, '\\$&')}'`;
}

module.exports = { completion, SHELLS };
