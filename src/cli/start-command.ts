import { constants } from 'node:os';

import { Option } from 'commander';
import type { Command } from 'commander';

import { describeSchema, resolveConfig } from '../config/config-checking.ts';
import { environmentName, readConfigFile, readEnvironment, readSettingText } from '../config/config-sources.ts';
import { settingNames, settings } from '../config/config.ts';
import type { SettingName } from '../config/config.ts';
import type { Server } from '../main/index.ts';
import { loadServer } from '../main/server-loading.ts';
import { stopBlocking } from '../runtime/log.ts';
import { productVersion } from '../runtime/product-version.ts';
import { stopSignals } from './registry.ts';

/** Of the command; who embeds a registry says where, or wants none. */
const dataDirDefault = './slotcast-data';

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

/** `start`: runs the registry. Every setting is a flag. */
export function addStartCommand(program: Command): void {
  const command = program
    .command('start')
    .description('run the registry')
    .option('--config <file>', 'JSON file of settings')
    .addHelpText(
      'after',
      `\nSettings come from flags, then ${environmentName('port')} and the like, then the file, then the defaults.`,
    );
  const named = [...settingNames].sort((a, b) => Number(mainSettings.has(b)) - Number(mainSettings.has(a)));
  for (const name of named) {
    const { schema, meaning } = settings[name];
    const value = schema.type === 'boolean' ? '[boolean]' : '<value>';
    const option = new Option(`${flagOf(name)} ${value}`, `${meaning} (${describeSchema(schema)})`);
    command.addOption(mainSettings.has(name) ? option : option.helpGroup('More settings:'));
  }
  command.action(runServer);
}

function flagOf(name: SettingName): string {
  return `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

async function runServer(flags: Readonly<Record<string, string | true | undefined>>): Promise<void> {
  const { config: file } = flags;
  const given: Record<string, unknown> = {};
  for (const name of settingNames) {
    const value = flags[name];
    if (value !== undefined) given[name] = value === true ? true : readSettingText(name, value);
  }
  resolveConfig(given, 'command line');
  const fromFile = typeof file === 'string' ? readConfigFile(file) : {};
  const environment = readEnvironment(process.env);
  const values: Record<string, unknown> = { dataDir: dataDirDefault, ...fromFile, ...environment.values, ...given };
  resolveConfig(values);
  const { startServer } = await loadServer();
  const server = await startServer(values, { variablesPassedOver: environment.passedOver });
  const { url, httpUrl } = server.address;
  const where = httpUrl === undefined ? url : `${url} and ${httpUrl}`;
  const ioThreads = Number(values['ioThreads'] ?? 0);
  const threads = [
    formatCount(server.partitions, 'partition'),
    ...(ioThreads > 0 ? [formatCount(ioThreads, 'I/O thread')] : []),
  ];
  // Who reads the line below may answer it with a signal.
  stopOnSignals(server);
  // Whoever reads may stand still, or be gone: no reason not to serve.
  stopBlocking(process.stdout);
  process.stdout.removeAllListeners('error');
  process.stdout.on('error', () => undefined);
  console.log(`slotcast ${productVersion} listens on ${where} with ${threads.join(' and ')}`);
}

function formatCount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** The first signal stops in order; a second ends at once. */
function stopOnSignals(server: Server): void {
  let isStopping = false;
  for (const signal of stopSignals) {
    process.on(signal, () => {
      if (isStopping) process.exit(128 + constants.signals[signal]);
      isStopping = true;
      // Whatever else would keep the process alive, it was told to stop.
      void server.stop().then(() => process.exit(0));
    });
  }
}
