import type { Command } from 'commander';

import { resolveConfig } from '../config/config-checking.ts';
import { settingNames } from '../config/config.ts';
import { escapeTerminal } from '../runtime/terminal-escapes.ts';
import { formatTable, formatText } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { addSettingOptions, readSettings } from './setting-flags.ts';
import type { SettingFlags } from './setting-flags.ts';
import { withStartDefaults } from './start-command.ts';

type ConfigOptions = OutputOptions & SettingFlags & { readonly changed: boolean };

/** `config show`: what `start` would run with. */
export function addConfigCommand(program: Command): void {
  const config = program.command('config').description('show the settings that `start` would run with');
  const show = config
    .command('show')
    .description('show each setting, and where it comes from: a flag, the environment, the file, or the default')
    .option('--changed', 'only those that are not the default', false)
    .option('--json', 'print JSON', false);
  addSettingOptions(addOutputOption(show)).action(showConfig);
}

async function showConfig(options: ConfigOptions): Promise<void> {
  const { values: given, sources } = readSettings(options);
  const config = resolveConfig(withStartDefaults(given));
  const rows = settingNames
    .map((name) => ({ setting: name, value: config[name], source: sources[name] ?? 'default' }))
    .filter(({ source }) => !options.changed || source !== 'default');
  await printResult(options, {
    value: { settings: rows },
    rows,
    formatTable: (look) =>
      formatTable(
        ['SETTING', 'VALUE', 'FROM'],
        rows.map(({ setting, value, source }) => [
          setting,
          formatText(Array.isArray(value) ? value.join(',') : String(value)),
          escapeTerminal(source),
        ]),
        look,
      ),
  });
}
