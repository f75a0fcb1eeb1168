import type { Command } from 'commander';

import type { Change, ServiceSummary, Subscription } from '../client/index.ts';
import { describeError, exitCodes } from './exit-codes.ts';
import { formatChange, formatInstances, formatJson, formatServices, formatText } from './output.ts';
import { addOutputOption, isForPeople, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import {
  addFilterOptions,
  addRegistryOptions,
  addServiceOptions,
  addWaitOption,
  awaitRegistry,
  openClient,
  patienceMs,
  readFilter,
  readServiceFields,
  waitForInterrupt,
  withClient,
  whenGivenUp,
} from './registry.ts';
import type { FilterOptions, RegistryOptions, ServiceOptions, WaitOptions } from './registry.ts';

/** Services asked for at a time. */
const pageServices = 1000;

interface ServicesOptions extends RegistryOptions, OutputOptions {
  readonly namespace?: string;
  readonly prefix?: string;
}

/** `services`, `instances` and `watch`. */
export function addReadCommands(program: Command): void {
  const services = addRegistryOptions(
    program
      .command('services')
      .description('list the services that have instances')
      .option('--namespace <name>', 'only of this namespace')
      .option('--prefix <text>', 'only those whose name begins so'),
  );
  addOutputOption(services).action(listServices);
  const instances = program
    .command('instances')
    .description('list the instances of a service; exit status 3 if it has none')
    .argument('<service>', 'name of the service');
  addOutputOption(addFilterOptions(addServiceOptions(instances))).action(listInstances);
  const watch = program
    .command('watch')
    .description('print the instances of a service, and then each change as it comes, until interrupted')
    .argument('<service>', 'name of the service');
  addWaitOption(addFilterOptions(addServiceOptions(watch))).action(watchService);
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
    await printResult(options, {
      value: { services },
      rows: services,
      formatTable: (look) => formatServices(services, look),
    });
  });
}

async function listInstances(service: string, options: FilterOptions & OutputOptions): Promise<void> {
  await withClient(options, async (client) => {
    const result = await client.query(readServiceFields(service, options), readFilter(options));
    const { instances } = result;
    if (instances.length > 0 || !isForPeople(options)) {
      await printResult(options, {
        value: result,
        rows: instances,
        formatTable: (look) => formatInstances(instances, look),
      });
    } else if (result.closed === true) console.error(`${formatText(service)} is switched off by an operator`);
    else console.error(`${formatText(service)} has no instances`);
    if (instances.length === 0) process.exitCode = exitCodes.notFound;
  });
}

async function watchService(service: string, options: FilterOptions & WaitOptions): Promise<void> {
  const interrupted = waitForInterrupt();
  // Not closed at the first failure: it is there to outlive them.
  const client = openClient(options);
  try {
    client.on('refused', ({ error }) => {
      console.error(`the registry refused (${describeError(error)}); trying again`);
    });
    const name = readServiceFields(service, options);
    const filter = readFilter(options);
    const begin = async (): Promise<Subscription> => {
      if (!options.wait) return await awaitRegistry(client, options, () => client.subscribe(name, filter));
      const standing = await client.subscribe(name, { ...filter, standing: true });
      console.error('waiting for a registry');
      await standing.whenApplied({ timeoutMs: patienceMs });
      return standing;
    };
    const subscription = await Promise.race([interrupted, begin()]);
    if (subscription === 'interrupted') return;
    const { instances } = subscription;
    printState(options, subscription, { put: instances, removed: [] });
    if (!options.json && instances.length === 0) console.log(`= 0 instances${formatSwitch(subscription)}`);
    subscription.on('change', (change) => {
      printState(options, subscription, change);
    });
    // Without a change in them: a program learns from them what its list is worth.
    const printWorth = (): void => {
      if (options.json) printState(options, subscription, { put: [], removed: [] });
    };
    subscription.on('stale', () => {
      console.error('the registry cannot be reached; the list may be out of date');
      printWorth();
    });
    subscription.on('fresh', () => {
      console.error('the registry is back');
      printWorth();
    });
    await Promise.race([interrupted, whenGivenUp(client)]);
  } finally {
    await client.close();
  }
}

/** A change, and the list after it. */
function printState(
  options: ServiceOptions,
  subscription: Subscription,
  { put, removed }: Pick<Change, 'put' | 'removed'>,
): void {
  const { version, instances, unconfirmed, isStale, isSwitchedOff } = subscription;
  const state = { version, put, removed, instances, isStale };
  if (options.json) console.log(formatJson({ ...state, unconfirmed: unconfirmed.map(({ id }) => id), isSwitchedOff }));
  else {
    const lines = formatChange({ ...state, unconfirmed: unconfirmed.length });
    for (const [at, line] of lines.entries())
      console.log(at === lines.length - 1 ? `${line}${formatSwitch(subscription)}` : line);
  }
}

function formatSwitch({ isSwitchedOff }: Subscription): string {
  return isSwitchedOff ? ', switched off by an operator' : '';
}
