import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { ServiceDeclaration } from '../protocol/service-declaration.ts';
import { askServer } from './administration.ts';
import { readJsonFile } from './json-file.ts';
import { formatInstances, formatText } from './output.ts';
import type { TableLook } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { addHttpOptions, addNameOptions, readNameOptions } from './registry.ts';
import type { HttpOptions, NameOptions } from './registry.ts';

interface DeclareOptions extends HttpOptions, NameOptions, OutputOptions {
  readonly remove: boolean;
}

/** `declare`: the settings and persistent instances of a service, as JSON. */
export function addDeclareCommand(program: Command): void {
  const command = addNameOptions(
    program
      .command('declare')
      .description('declare a service from JSON: its settings and persistent instances; without a file, show them')
      .argument('<service>', 'name of the service')
      .argument(
        '[file]',
        'JSON with description, owner, protectionThreshold, healthThreshold, defaultWeight, metadata, instances; -: stdin',
      )
      .option('--remove', 'remove the settings, and all persistent instances', false),
  );
  addOutputOption(addHttpOptions(command)).action(
    async (service: string, file: string | undefined, options: DeclareOptions) => {
      const { remove } = options;
      if (remove && file !== undefined) throw new InvalidArgumentError('Either a file or --remove.');
      const name = readNameOptions(options);
      let declaration: ServiceDeclaration;
      if (file !== undefined) {
        const body = { ...(await readJsonFile(file)), ...name };
        declaration = await askServer(options, 'declareService', { service, body });
      } else
        declaration = await askServer(options, remove ? 'withdrawService' : 'readService', {
          service,
          query: { ...name },
        });
      await printResult(options, {
        value: declaration,
        rows: declaration.instances,
        formatTable: (look) => `${remove ? 'removed:\n' : ''}${formatDeclaration(declaration, look)}`,
      });
    },
  );
}

function formatDeclaration({ instances, metadata, ...fields }: ServiceDeclaration, look: TableLook): string {
  const lines: [name: string, value: unknown][] = [
    ...Object.entries(fields),
    ...Object.entries(metadata ?? {}).map(([key, value]): [string, string] => [`metadata.${key}`, value]),
  ];
  const settings = lines.map(([name, value]) => `${formatText(name)}: ${formatText(String(value))}`);
  return [...settings, ...(instances.length === 0 ? [] : ['', formatInstances(instances, look)])].join('\n');
}
