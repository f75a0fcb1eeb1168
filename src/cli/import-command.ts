import { Option } from 'commander';
import type { Command } from 'commander';

import { dumpFormats } from '../archive/dump-formats.ts';
import type { ImportOptions } from './dump-import.ts';
import { addHttpOptions } from './registry.ts';

const templateHelp = `
A template for etcd says where keys, and values if it goes on after =>, have what an instance is:
  --template '/services/{service}/{host}:{port}'
  --template '/services/{service}/{id} => {"Addr":"{host}:{port}","Metadata":"{metadata}"}'
Besides there are {namespace} {group} {weight} {zone}, and {*} for what does not matter.
Keys that it does not describe are imported as keys.`;

/** `import`. */
export function addImportCommand(program: Command): void {
  addHttpOptions(
    program
      .command('import')
      .description('take services, instances and keys over from an export, or a dump of another registry')
      .argument('<file>', 'what to read; - is standard input')
      .addOption(new Option('--from <format>', 'what wrote it').choices(dumpFormats).makeOptionMandatory())
      .option('--dry-run', 'say what would be taken, and change nothing', false)
      .option('--template <text>', 'where host and port are, in a dump of etcd')
      .option('--namespace <name>', 'namespace for all services, in place of those that they had')
      .addHelpText('after', templateHelp),
  ).action(async (file: string, options: ImportOptions) => {
    // Other commands start sooner without it.
    const { importDump } = await import('./dump-import.ts');
    await importDump(file, options);
  });
}
