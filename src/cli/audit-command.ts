import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import type { ShowOptions, VerifyOptions } from './audit-files.ts';
import { addOutputOption } from './printing.ts';
import { createConfigOption, createSettingOption, sourcesHelp } from './setting-flags.ts';
import { readSpan } from './time-span.ts';

/** `audit verify` and `audit show`. They read files, and need no registry. */
export function addAuditCommands(program: Command): void {
  const audit = program
    .command('audit')
    .description('check and read the audit log of a registry, whether it runs or not');
  addFolderOptions(
    audit
      .command('verify')
      .description('check that no line of the audit log has been changed, removed or put in')
      .argument('[files...]', 'files of an audit log; without any, those of the data folder')
      .addOption(
        new Option(
          '--expect <hash>',
          'fail unless this is the hash of one of its lines: what was noted then is still there',
        ).argParser(readHash),
      )
      .option('--json', 'print JSON', false),
  ).action(async (files: readonly string[], options: VerifyOptions) => {
    const { verifyAudit } = await import('./audit-files.ts');
    await verifyAudit(files, options);
  });
  addOutputOption(
    addFolderOptions(
      audit
        .command('show')
        .description('print the last lines of the audit log that are meant, the oldest first')
        .argument('[files...]', 'files of an audit log; without any, those of the data folder')
        .option('--who <principal>', 'only what this principal has done')
        .option('--what <act>', 'only acts of this name, or with this beginning: `key`, `switch.set`')
        .addOption(
          new Option(
            '--since <time>',
            'only from then on: a time as `2026-01-31T12:00:00Z`, or an age as `90m` or `2d`',
          ).argParser(readSince),
        )
        .addOption(new Option('--limit <count>', 'so many lines at most').default(1000).argParser(readLimit))
        .option('--json', 'print JSON', false),
    ),
  ).action(async (files: readonly string[], options: ShowOptions) => {
    const { showAudit } = await import('./audit-files.ts');
    await showAudit(files, options);
  });
}

function addFolderOptions(command: Command): Command {
  return command
    .addOption(createSettingOption('dataDir'))
    .addOption(createConfigOption())
    .addHelpText('after', sourcesHelp);
}

/** So many are kept in memory. */
const limitMax = 1_000_000;

function readLimit(text: string): number {
  const limit = /^\d{1,7}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > limitMax) throw new InvalidArgumentError(`A number from 1 to ${limitMax}.`);
  return limit;
}

function readHash(text: string): string {
  if (!/^[0-9a-f]{64}$/i.test(text)) throw new InvalidArgumentError('A hash has 64 hexadecimal digits.');
  return text.toLowerCase();
}

/** In milliseconds since 1970. */
function readSince(text: string): number {
  const ageMs = readSpan(text);
  const atMs = ageMs === undefined ? Date.parse(text) : Date.now() - ageMs;
  if (Number.isNaN(atMs)) throw new InvalidArgumentError('Neither a time as 2026-01-31T12:00:00Z nor an age as 90m.');
  return atMs;
}
