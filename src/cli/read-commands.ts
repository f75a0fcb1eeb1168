import type { Command } from 'commander';

import type { ServiceSummary } from '../client/index.ts';
import { exitCodes } from './exit-codes.ts';
import { formatInstances, formatServices, formatText } from './output.ts';
import { addOutputOption, isForPeople, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import {
  addFilterOptions,
  addRegistryOptions,
  addServiceOptions,
  readFilter,
  readServiceFields,
  withClient,
} from './registry.ts';
import type { FilterOptions, RegistryOptions } from './registry.ts';

/** Services asked for at a time. */
const pageServices = 1000;

interface ServicesOptions extends RegistryOptions, OutputOptions {
  readonly namespace?: string;
  readonly prefix?: string;
}

/** `services` and `instances`. */
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
