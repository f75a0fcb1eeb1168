import { Argument } from 'commander';
import type { Command, Option } from 'commander';

import { formatBash, formatFish, formatZsh } from './completion-scripts.ts';
import type { Place } from './completion-scripts.ts';

const formats = { bash: formatBash, zsh: formatZsh, fish: formatFish };

const help = `
To have it in every shell:
  bash  echo 'source <(slotcast completion bash)' >> ~/.bashrc
  zsh   slotcast completion zsh > "\${fpath[1]}/_slotcast"
  fish  slotcast completion fish > ~/.config/fish/completions/slotcast.fish`;

/** `completion`: a script for a shell, of all commands that were added before. */
export function addCompletionCommand(program: Command): void {
  program
    .command('completion')
    .description('print a script that completes commands, options and their values in a shell')
    .addArgument(new Argument('<shell>', 'which shell').choices(Object.keys(formats)))
    .addHelpText('after', help)
    .action((shell: keyof typeof formats) => {
      process.stdout.write(formats[shell](readPlaces(program, program.name())));
    });
}

/** What may follow a command, and each of those below it. */
function readPlaces(command: Command, path: string): Place[] {
  const help = command.createHelp();
  const commands = help.visibleCommands(command).filter((each) => each.name() !== 'help' || path === 'slotcast');
  const place: Place = {
    path,
    words: [
      ...commands.map((each) => ({ word: each.name(), description: firstSentence(each.description()) })),
      ...command.registeredArguments.flatMap(({ argChoices = [] }) =>
        argChoices.map((word) => ({ word, description: '' })),
      ),
    ],
    takesFile: command.registeredArguments.some((argument) => /file/.test(argument.name())),
    options: help
      .visibleOptions(command)
      .filter(({ long }) => long !== undefined && long !== null)
      .map((option) => readOption(option)),
  };
  return [
    place,
    ...commands.filter((each) => each.name() !== 'help').flatMap((each) => readPlaces(each, `${path}/${each.name()}`)),
  ];
}

function readOption(option: Option): Place['options'][number] {
  const { long = '', description, required, argChoices = [], flags } = option;
  return {
    word: long ?? '',
    description: firstSentence(description),
    value: required ? { words: argChoices, isFile: /<(?:file|path|dir|folder)>/.test(flags) } : undefined,
  };
}

/** What fits beside a word. */
function firstSentence(text: string): string {
  return (/^[^;:.(]*/.exec(text)?.[0] ?? '').trim();
}
