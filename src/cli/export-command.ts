import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import { recordKinds } from '../archive/record-kinds.ts';
import type { RecordKind } from '../archive/record-kinds.ts';
import type { ExportOptions } from './registry-export.ts';
import { addHttpOptions } from './registry.ts';

/** `export`. */
export function addExportCommand(program: Command): void {
  const plurals = recordKinds.map((kind) => `${kind}s`);
  addHttpOptions(
    program
      .command('export')
      .description('write the declared services, persistent instances and keys of a registry as JSON lines')
      .argument(
        '[file]',
        'what to write; one of this name is replaced once the new one is whole; -, the default, is standard output',
      )
      .addOption(
        new Option('--only <kinds>', `only some of ${plurals.join(', ')}, separated by commas`).argParser(readKinds),
      ),
  ).action(async (file: string | undefined, options: ExportOptions) => {
    // Other commands start sooner without it.
    const { exportRegistry } = await import('./registry-export.ts');
    await exportRegistry(file ?? '-', options);
  });
}

function readKinds(text: string): RecordKind[] {
  return text.split(',').map((word) => {
    const kind = recordKinds.find((each) => `${each}s` === word.trim());
    if (kind !== undefined) return kind;
    throw new InvalidArgumentError(`It must be some of ${recordKinds.map((each) => `${each}s`).join(', ')}.`);
  });
}
