import { setTimeout as delay } from 'node:timers/promises';

import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { Change, Client, ServiceSummary, Subscription } from '../client/index.ts';
import { describeError } from './exit-codes.ts';
import { formatChange, formatJson, formatText } from './output.ts';
import { paint } from './printing.ts';
import {
  addFilterOptions,
  addServiceOptions,
  addWaitOption,
  awaitRegistry,
  openClient,
  patienceMs,
  readFilter,
  readServiceFields,
  waitForInterrupt,
  whenGivenUp,
} from './registry.ts';
import type { FilterOptions, WaitOptions } from './registry.ts';

interface WatchOptions extends FilterOptions, WaitOptions {
  readonly prefix: boolean;
  readonly timestamps: boolean;
}

/** How often new services are looked for, in milliseconds. */
const lookMs = 1000;
const pageServices = 1000;
/** Services that one command watches. */
const servicesMax = 1000;

/** `watch`. */
export function addWatchCommand(program: Command): void {
  const command = program
    .command('watch')
    .description('print the instances of a service, and then each change as it comes, until interrupted')
    .argument('<service>', 'name of the service, or what names begin with')
    .option(
      '--prefix',
      'all services whose names begin so, also those that come later; an empty one stands for all',
      false,
    )
    .option('--timestamps', 'begin each line with the time', false);
  addWaitOption(addFilterOptions(addServiceOptions(command))).action(watch);
}

async function watch(service: string, options: WatchOptions): Promise<void> {
  if (options.prefix && options.wait) throw new InvalidArgumentError('Either --prefix or --wait.');
  const interrupted = waitForInterrupt();
  // Not closed at the first failure: it is there to outlive them.
  const client = openClient(options);
  try {
    client.on('refused', ({ error }) => {
      console.error(`the registry refused (${describeError(error)}); trying again`);
    });
    const watching = options.prefix ? watchPrefix(client, service, options) : watchOne(client, service, options);
    await Promise.race([interrupted, whenGivenUp(client), watching.then(() => interrupted)]);
  } finally {
    await client.close();
  }
}

async function watchOne(client: Client, service: string, options: WatchOptions): Promise<void> {
  const subscription = await subscribe(client, service, options);
  follow(client, subscription, new StatePrinter(options), options);
}

async function subscribe(client: Client, service: string, options: WatchOptions): Promise<Subscription> {
  const name = readServiceFields(service, options);
  const filter = readFilter(options);
  if (!options.wait) return await awaitRegistry(client, options, () => client.subscribe(name, filter));
  const standing = await client.subscribe(name, { ...filter, standing: true });
  console.error('waiting for a registry');
  await standing.whenApplied({ timeoutMs: patienceMs });
  return standing;
}

/** Rejects if the registry cannot be reached at first; then it goes on until the client is closed. */
async function watchPrefix(client: Client, prefix: string, options: WatchOptions): Promise<never> {
  const watched = new Map<string, Subscription>();
  const filter = readFilter(options);
  let isFull = false;
  let services = await awaitRegistry(client, options, () => listServices(client, prefix, options));
  for (;;) {
    for (const { service } of services) {
      if (watched.has(service)) continue;
      if (watched.size === servicesMax) {
        if (!isFull) console.error(`more than ${servicesMax} services begin so; no further ones are watched`);
        isFull = true;
        break;
      }
      const subscription = await client
        .subscribe(readServiceFields(service, options), filter)
        .catch((error: unknown) => {
          // It is found again the next time, unless there has been no first.
          if (watched.size === 0) throw error;
        });
      if (subscription === undefined) break;
      watched.set(service, subscription);
      // That the registry is away is said once, by the first.
      follow(client, subscription, new StatePrinter(options, service), { ...options, isAlone: watched.size === 1 });
    }
    // One that goes and comes back is still watched. Who waits for this must not keep the process alive.
    await delay(lookMs, undefined, { ref: false });
    services = client.isConnected ? await listServices(client, prefix, options).catch(() => []) : [];
  }
}

async function listServices(client: Client, prefix: string, options: WatchOptions): Promise<readonly ServiceSummary[]> {
  const { namespace = 'public', group = 'DEFAULT' } = options;
  const found: ServiceSummary[] = [];
  for (let cursor: string | undefined; ;) {
    const page = await client.list({
      namespace,
      prefix,
      limit: pageServices,
      ...(cursor === undefined ? {} : { cursor }),
    });
    for (const each of page.services) if (each.group === group) found.push(each);
    ({ cursor } = page);
    if (cursor === undefined || found.length > servicesMax) return found;
  }
}

/** Prints what there is, and each change. */
function follow(
  client: Client,
  subscription: Subscription,
  printer: StatePrinter,
  { json, isAlone = true }: WatchOptions & { readonly isAlone?: boolean },
): void {
  const { instances } = subscription;
  printer.print(subscription, { put: instances, removed: [] });
  if (!json && instances.length === 0) printer.printEmpty(subscription);
  subscription.on('change', (change) => {
    printer.print(subscription, change);
  });
  // Without a change in them: a program learns from them what its list is worth.
  const printWorth = (): void => {
    if (json) printer.print(subscription, { put: [], removed: [] });
  };
  let isBeingReached = false;
  client.on('disconnected', ({ retryInMs }) => {
    isBeingReached = retryInMs === 0;
  });
  subscription.on('stale', () => {
    // Also while it moves to another connection, as a registry may ask it to; the present one may end a moment before that one takes over, which the client says next.
    queueMicrotask(() => {
      const cause = client.isConnected || isBeingReached ? '' : 'the registry cannot be reached; ';
      if (isAlone) console.error(`${cause}the list may be out of date`);
      printWorth();
    });
  });
  subscription.on('fresh', () => {
    if (isAlone) console.error('the list is current again');
    printWorth();
  });
}

const signs = { '+': 'green', '-': 'red', '=': 'dim' } as const;

/** Prints lists and their changes as a line each, or as JSON. */
class StatePrinter {
  readonly #options: WatchOptions;
  /** Of several that are watched. */
  readonly #service: string | undefined;

  constructor(options: WatchOptions, service?: string) {
    this.#options = options;
    this.#service = service;
  }

  /** A change, and the list after it. */
  print(subscription: Subscription, { put, removed }: Pick<Change, 'put' | 'removed'>): void {
    const { version, instances, unconfirmed, isStale, isSwitchedOff } = subscription;
    const state = { version, put, removed, instances, isStale };
    if (this.#options.json) {
      const service = this.#service === undefined ? {} : { service: this.#service };
      const at = this.#options.timestamps ? { at: new Date().toISOString() } : {};
      console.log(
        formatJson({ ...at, ...service, ...state, unconfirmed: unconfirmed.map(({ id }) => id), isSwitchedOff }),
      );
      return;
    }
    const lines = formatChange({ ...state, unconfirmed: unconfirmed.length });
    for (const [at, line] of lines.entries())
      this.#printLine(at === lines.length - 1 ? `${line}${formatSwitch(subscription)}` : line);
  }

  printEmpty(subscription: Subscription): void {
    this.#printLine(`= 0 instances${formatSwitch(subscription)}`);
  }

  #printLine(line: string): void {
    const at = this.#options.timestamps ? `${new Date().toISOString()} ` : '';
    const service = this.#service === undefined ? '' : `${formatText(this.#service)} `;
    console.log(`${at}${service}${paint(signs[line[0] as keyof typeof signs], line)}`);
  }
}

function formatSwitch({ isSwitchedOff }: Pick<Subscription, 'isSwitchedOff'>): string {
  return isSwitchedOff ? ', switched off by an operator' : '';
}
