import type { Command } from 'commander';

import type { ServiceSummary } from '../client/index.ts';
import { escapeTerminal } from '../main/terminal-escapes.ts';
import { exitCodes } from './exit-codes.ts';
import { formatChange, formatInstances, formatJson, formatServices, formatText } from './output.ts';
import {
  addFilterOptions,
  addRegistryOptions,
  addServiceOptions,
  awaitRegistry,
  openClient,
  readFilter,
  readServiceFields,
  waitForInterrupt,
  withClient,
} from './registry.ts';
import type { FilterOptions, RegistryOptions, ServiceOptions } from './registry.ts';

/** Services asked for at a time. */
const pageServices = 1000;

interface ServicesOptions extends RegistryOptions {
  readonly namespace?: string;
  readonly prefix?: string;
}

/** `services`, `instances` and `watch`. */
export function addReadCommands(program: Command): void {
  addRegistryOptions(
    program
      .command('services')
      .description('list the services that have instances')
      .option('--namespace <name>', 'only of this namespace')
      .option('--prefix <text>', 'only those whose name begins so'),
  ).action(listServices);
  const instances = program
    .command('instances')
    .description('list the instances of a service; exit status 3 if it has none')
    .argument('<service>', 'name of the service');
  addFilterOptions(addServiceOptions(instances)).action(listInstances);
  const watch = program
    .command('watch')
    .description('print the instances of a service, and then each change as it comes, until interrupted')
    .argument('<service>', 'name of the service');
  addFilterOptions(addServiceOptions(watch)).action(watchService);
}

async function listServices(options: ServicesOptions): Promise<void> {
  const { namespace, prefix } = options;
  const filter = { ...(namespace === undefined ? {} : { namespace }), ...(prefix === undefined ? {} : { prefix }) };
  await withClient(options, async (client) => {
    const services: ServiceSummary[] = [];
    for (let cursor: string | undefined; ;) {
      const page = await client.list({ ...filter, limit: pageServices, ...(cursor === undefined ? {} : { cursor }) });
      for (const service of page.services) services.push(service);
      ({ cursor } = page);
      if (cursor === undefined) break;
    }
    console.log(options.json ? formatJson({ services }) : formatServices(services));
  });
}

async function listInstances(service: string, options: FilterOptions): Promise<void> {
  await withClient(options, async (client) => {
    const result = await client.query(readServiceFields(service, options), readFilter(options));
    if (options.json) console.log(formatJson(result));
    else if (result.instances.length > 0) console.log(formatInstances(result.instances));
    else console.error(`${formatText(service)} has no instances`);
    if (result.instances.length === 0) process.exitCode = exitCodes.notFound;
  });
}

async function watchService(service: string, options: FilterOptions): Promise<void> {
  const interrupted = waitForInterrupt();
  // Not closed at the first failure: it is there to outlive them.
  const client = openClient(options);
  try {
    const subscription = await Promise.race([
      interrupted,
      awaitRegistry(client, options, () => client.subscribe(readServiceFields(service, options), readFilter(options))),
    ]);
    if (subscription === 'interrupted') return;
    const { instances, version } = subscription;
    printChange(options, { version, put: instances, removed: [], instances, isStale: subscription.isStale });
    if (!options.json && instances.length === 0) console.log('= 0 instances');
    subscription.on('change', ({ version: to, put, removed, instances: after }) => {
      printChange(options, { version: to, put, removed, instances: after, isStale: subscription.isStale });
    });
    subscription.on('stale', () => {
      console.error('the registry is out of reach; what is shown may be old');
    });
    subscription.on('fresh', () => {
      console.error('the registry is back');
    });
    client.on('refused', ({ error }) => {
      console.error(`the registry refused (${escapeTerminal(error.message)}); trying again`);
    });
    await interrupted;
  } finally {
    await client.close();
  }
}

function printChange(
  options: ServiceOptions,
  change: Parameters<typeof formatChange>[0] & { readonly version: number; readonly isStale: boolean },
): void {
  if (options.json) console.log(formatJson(change));
  else for (const line of formatChange(change)) console.log(line);
}
