import { Option } from 'commander';

import { describeSchema, resolveConfig } from '../config/config-checking.ts';
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
  return new Option(`${flagOf(name)} ${value}`, `${meaning} (${describeSchema(schema)})`);
}

function flagOf(name: SettingName): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

/** What is given of settings, wherever, each checked; and variables that look like one and are another's. Throws a `ConfigError`. */
export function readSettings(flags: SettingFlags): {
  readonly values: Readonly<Record<string, unknown>>;
  readonly passedOver: readonly string[];
} {
  const { config: file } = flags;
  const given: Record<string, unknown> = {};
  for (const name of settingNames) {
    const value = flags[name];
    if (value !== undefined) given[name] = typeof value === 'string' ? readSettingText(name, value) : value;
  }
  resolveConfig(given, 'command line');
  const fromFile = typeof file === 'string' ? readConfigFile(file) : {};
  const environment = readEnvironment(process.env);
  return { values: { ...fromFile, ...environment.values, ...given }, passedOver: environment.passedOver };
}
