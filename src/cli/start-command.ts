import { constants } from 'node:os';

import type { Command } from 'commander';

import { resolveConfig } from '../config/config-checking.ts';
import { settingNames } from '../config/config.ts';
import type { SettingName } from '../config/config.ts';
import type { Server } from '../main/index.ts';
import { loadServer } from '../main/server-loading.ts';
import { stopBlocking } from '../runtime/log.ts';
import { productVersion } from '../runtime/product-version.ts';
import { stopSignals } from './registry.ts';
import { createConfigOption, createSettingOption, readSettings, sourcesHelp } from './setting-flags.ts';
import type { SettingFlags } from './setting-flags.ts';

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
    .addOption(createConfigOption())
    .addHelpText('after', sourcesHelp);
  const named = [...settingNames].sort((a, b) => Number(mainSettings.has(b)) - Number(mainSettings.has(a)));
  for (const name of named) {
    const option = createSettingOption(name);
    command.addOption(mainSettings.has(name) ? option : option.helpGroup('More settings:'));
  }
  command.action(runServer);
}

async function runServer(flags: SettingFlags): Promise<void> {
  const { values: given, passedOver } = readSettings(flags);
  const values: Readonly<Record<string, unknown>> = { dataDir: dataDirDefault, ...given };
  resolveConfig(values);
  const { startServer } = await loadServer();
  const server = await startServer(values, { variablesPassedOver: passedOver });
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
