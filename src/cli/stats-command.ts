import type { Command } from 'commander';

import type { Stats } from '../protocol/http-results.ts';
import { askServer } from './administration.ts';
import { formatTable, formatText } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { addHttpOptions } from './registry.ts';
import type { HttpOptions } from './registry.ts';

/** `stats`: what `/v1/stats` says. */
export function addStatsCommand(program: Command): void {
  const command = program
    .command('stats')
    .description('show what the registry holds, and what it has counted since its start: refusals, bounds, closes');
  addOutputOption(addHttpOptions(command)).action(async (options: HttpOptions & OutputOptions) => {
    const stats = await askServer<Stats>(options, 'readStats');
    const rows = listFigures(stats);
    await printResult(options, {
      value: stats,
      rows,
      formatTable: (look) =>
        formatTable(
          ['NAME', 'VALUE'],
          rows.map(({ name, value }) => [formatText(name), formatText(String(value))]),
          look,
        ),
    });
  });
}

/** A figure a line: what is nested has a path. What a newer registry adds is shown, too. */
function listFigures(value: object, path = ''): { readonly name: string; readonly value: unknown }[] {
  return Object.entries(value).flatMap(([key, part]: [string, unknown]) => {
    const name = `${path}${key}`;
    return typeof part === 'object' && part !== null ? listFigures(part, `${name}.`) : [{ name, value: part }];
  });
}
