import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import { connect } from '../client/index.ts';
import type { Client, InstanceFilter, ServiceFields } from '../client/index.ts';
import { serverVariable } from '../main/config.ts';

/** Options that every command has which talks to a registry. */
export interface RegistryOptions {
  readonly server: string[];
  readonly json: boolean;
  readonly timeoutMs: number;
}

export interface ServiceOptions extends RegistryOptions {
  readonly namespace?: string;
  readonly group?: string;
}

const serverDefault = 'ws://127.0.0.1:7070';

export function addRegistryOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--server <url>', 'registry to talk to; may be given more than once')
        .env(serverVariable)
        .argParser((url: string, before: unknown) => (Array.isArray(before) ? [...(before as string[]), url] : [url]))
        .default(undefined, serverDefault),
    )
    .option('--timeout-ms <ms>', 'give up after this long without an answer', parseCount, 5000)
    .option('--json', 'print JSON', false);
}

export function addServiceOptions(command: Command): Command {
  return addRegistryOptions(
    command
      .option('--namespace <name>', 'namespace of the service (default: public)')
      .option('--group <name>', 'group of the service (default: DEFAULT)'),
  );
}

/** Parses a whole number that is not negative. */
export function parseCount(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

export function readServiceFields(service: string, { namespace, group }: ServiceOptions): ServiceFields {
  return { service, ...(namespace === undefined ? {} : { namespace }), ...(group === undefined ? {} : { group }) };
}

/** What a filter is given by. */
export interface FilterOptions extends ServiceOptions {
  readonly zone?: string;
  readonly enabledOnly?: boolean;
  readonly select?: Readonly<Record<string, string>>;
}

/** `--zone`, `--enabled-only` and `--select`. */
export function addFilterOptions(command: Command): Command {
  return command
    .option('--zone <name>', 'only instances of this zone')
    .option('--enabled-only', 'only instances that take traffic')
    .option('--select <key=value>', 'only instances with this metadata; may be given several times', readSelection);
}

function readSelection(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('it must look like key=value');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

export function readFilter({ zone, enabledOnly, select }: FilterOptions): InstanceFilter {
  return {
    ...(zone === undefined ? {} : { zone }),
    ...(enabledOnly === undefined ? {} : { enabledOnly }),
    ...(select === undefined ? {} : { selector: select }),
  };
}

export function readServers({ server }: { readonly server?: string[] }): string[] {
  return server ?? [serverDefault];
}

export function openClient(options: RegistryOptions): Client {
  const { timeoutMs } = options;
  return connect({
    servers: readServers(options),
    app: 'slotcast-cli',
    connectTimeoutMs: timeoutMs,
    requestTimeoutMs: timeoutMs,
    backoffMaxMs: 1000,
  });
}

/** Runs something with a client, and closes it whatever happens. */
export async function withClient<T>(options: RegistryOptions, run: (client: Client) => Promise<T>): Promise<T> {
  const client = openClient(options);
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

/** Resolves at the first SIGINT or SIGTERM. */
export function waitForInterrupt(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        resolve();
      });
    }
  });
}
