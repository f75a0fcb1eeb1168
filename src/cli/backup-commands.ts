import type { Command } from 'commander';

import { addHttpOptions } from './registry.ts';
import type { HttpOptions } from './registry.ts';
import { createConfigOption, createSettingOption, sourcesHelp } from './setting-flags.ts';
import type { SettingFlags } from './setting-flags.ts';

/** `backup`, `restore` and `inspect`. */
export function addBackupCommands(program: Command): void {
  // Other commands start sooner without what these need.
  addHttpOptions(
    program
      .command('backup')
      .description('write all that a registry has stored, as it is at one moment, into a file')
      .argument('<file>', 'what to write; one of this name is replaced once the new one is whole'),
  ).action(async (file: string, options: HttpOptions) => {
    const { writeBackup } = await import('./backup-files.ts');
    await writeBackup(file, options);
  });
  program
    .command('restore')
    .description('make the data folder of a registry out of a backup, before it is started')
    .argument('<file>', 'a backup')
    .requiredOption('--data-dir <folder>', 'the folder to make: it must not exist, or be empty')
    .addOption(createConfigOption())
    .addOption(createSettingOption('storeBytesMax'))
    .option('--json', 'print JSON', false)
    .addHelpText('after', sourcesHelp)
    .action(async (file: string, { json, ...flags }: SettingFlags & { readonly json: boolean }) => {
      const { restoreFile } = await import('./backup-files.ts');
      await restoreFile(file, { json, flags });
    });
  program
    .command('inspect')
    .description('check a backup, and say what is in it')
    .argument('<file>', 'a backup')
    .option('--json', 'print JSON', false)
    .action(async (file: string, options: { readonly json: boolean }) => {
      const { inspectFile } = await import('./backup-files.ts');
      await inspectFile(file, options);
    });
}
