import { constants } from 'node:os';

import type { Command } from 'commander';

import { resolveConfig } from '../config/config-checking.ts';
import type { Server } from '../main/index.ts';
import { loadServer } from '../main/server-loading.ts';
import { stopBlocking } from '../runtime/log.ts';
import { productVersion } from '../runtime/product-version.ts';
import { stopSignals } from './registry.ts';
import { ServiceManager } from './service-manager.ts';
import { addSettingOptions, readSettings } from './setting-flags.ts';
import type { SettingFlags } from './setting-flags.ts';
import { checkStart } from './start-check.ts';

/** Of the command; who embeds a registry says where, or wants none. */
const dataDirDefault = './slotcast-data';

/** What is given, and what `start` has as defaults of its own. */
export function withStartDefaults(given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return { dataDir: dataDirDefault, ...given };
}

/** `start`: runs the registry. Every setting is a flag. */
export function addStartCommand(program: Command): void {
  const command = program
    .command('start')
    .description('run the registry')
    .option('--check', 'only check the settings, the data folder and the ports, and say what was found', false);
  addSettingOptions(command).action(async ({ check, ...flags }: SettingFlags) => {
    if (check === true) await checkStart(withStartDefaults(readSettings(flags).values));
    else await runServer(flags);
  });
}

async function runServer(flags: SettingFlags): Promise<void> {
  const { values: given, passedOver } = readSettings(flags);
  const values = withStartDefaults(given);
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
  const manager = ServiceManager.find(process.env);
  // Who reads the line below may answer it with a signal.
  stopOnSignals(server, manager);
  manager?.ready(`listens on ${where}`);
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
function stopOnSignals(server: Server, manager: ServiceManager | undefined): void {
  let isStopping = false;
  for (const signal of stopSignals) {
    process.on(signal, () => {
      if (isStopping) process.exit(128 + constants.signals[signal]);
      isStopping = true;
      manager?.stopping();
      // Whatever else would keep the process alive, it was told to stop.
      void server.stop().then(() => process.exit(0));
    });
  }
}
