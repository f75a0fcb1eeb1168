import { Option } from 'commander';
import type { Command } from 'commander';

import { checkSetting, describeSchema } from '../config/config-checking.ts';
import { environmentName, readConfigFile, readEnvironment, readSettingText } from '../config/config-sources.ts';
import { settingNames, settings } from '../config/config.ts';
import type { SettingName } from '../config/config.ts';

/** What a command line says of settings, and of a file of them. */
export type SettingFlags = Readonly<Record<string, string | boolean | undefined>>;

export const sourcesHelp: string = `\nSettings come from flags, then ${environmentName('port')} and the like, then the file, then the defaults.`;

/** `--config`. */
export function createConfigOption(): Option {
  return new Option('--config <file>', 'JSON file of settings');
}

export function createSettingOption(name: SettingName): Option {
  const { schema, meaning } = settings[name];
  const value = schema.type === 'boolean' ? '[boolean]' : '<value>';
  const option = new Option(`${flagOf(name)} ${value}`, `${meaning} (${describeSchema(schema)})`);
  if (!Array.isArray(schema.enum)) return option;
  // For help and completion: what is refused is worded like that of other sources of settings.
  option.description = meaning;
  option.argChoices = schema.enum.map(String);
  return option;
}

function flagOf(name: SettingName): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** Shown first; the others follow under a heading of their own. */
const mainSettings: ReadonlySet<SettingName> = new Set([
  'host',
  'port',
  'httpPort',
  'partitions',
  'ioThreads',
  'dataDir',
  'inMemory',
  'transport',
  'logLevel',
]);

/** `--config`, and a flag for each setting. */
export function addSettingOptions(command: Command): Command {
  command.addOption(createConfigOption()).addHelpText('after', sourcesHelp);
  const named = [...settingNames].sort((a, b) => Number(mainSettings.has(b)) - Number(mainSettings.has(a)));
  for (const name of named) {
    const option = createSettingOption(name);
    command.addOption(mainSettings.has(name) ? option : option.helpGroup('More settings:'));
  }
  return command;
}

/** What is given of settings, wherever, each checked; where it was given; and variables that look like one and are another's. Throws a `ConfigError`. */
export function readSettings(flags: SettingFlags): {
  readonly values: Readonly<Record<string, unknown>>;
  /** In words: a flag, a variable, or a file. */
  readonly sources: Readonly<Partial<Record<SettingName, string>>>;
  readonly passedOver: readonly string[];
} {
  const { config: file } = flags;
  const given: Record<string, unknown> = {};
  for (const name of settingNames) {
    const value = flags[name];
    if (value !== undefined) given[name] = typeof value === 'string' ? readSettingText(name, value) : value;
  }
  // Each by itself: what it has to fit with may come from elsewhere.
  for (const [name, value] of Object.entries(given)) checkSetting(name, value, 'command line');
  const fromFile = typeof file === 'string' ? readConfigFile(file) : {};
  const environment = readEnvironment(process.env);
  const sources = Object.fromEntries([
    ...Object.keys(fromFile).map((name) => [name, `file ${String(file)}`]),
    ...Object.keys(environment.values).map((name) => [name, `environment ${environmentName(name as SettingName)}`]),
    ...Object.keys(given).map((name) => [name, `flag ${flagOf(name as SettingName)}`]),
  ]) as Partial<Record<SettingName, string>>;
  return { values: { ...fromFile, ...environment.values, ...given }, sources, passedOver: environment.passedOver };
}
