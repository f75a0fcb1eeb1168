import type { Command } from 'commander';

import type { Client, KeyEntry, KeyWatch } from '../client/index.ts';
import { describeError } from './exit-codes.ts';
import { formatJson, formatText, toKeyJson } from './output.ts';
import { addRegistryOptions, awaitRegistry, openClient, waitForInterrupt, whenGivenUp } from './registry.ts';
import type { RegistryOptions } from './registry.ts';

/** Keys asked for at a time. */
const pageKeys = 1000;
/** Characters of a value that a line shows. */
const valueCharactersMax = 100;

interface WatchOptions extends RegistryOptions {
  readonly prefix: boolean;
}

/** `kv watch`. */
export function addKeyWatchCommand(kv: Command): void {
  addRegistryOptions(
    kv
      .command('watch')
      .description(
        'print a key, or with --prefix all that begin so, and then each change as it comes, until interrupted',
      )
      .argument('<key>', 'name of the key, or what the keys begin with')
      .option('--prefix', 'all keys that begin so; an empty one stands for all', false),
  ).action(watchKeys);
}

async function watchKeys(key: string, options: WatchOptions): Promise<void> {
  const interrupted = waitForInterrupt();
  // Not closed at the first failure: it is there to outlive them.
  const client = openClient(options);
  try {
    client.on('refused', ({ error }) => {
      console.error(`the registry refused (${describeError(error)}); trying again`);
    });
    client.on('disconnected', () => {
      console.error('the registry cannot be reached');
    });
    const target = options.prefix ? { prefix: key } : key;
    const watch = await Promise.race([interrupted, awaitRegistry(client, options, () => client.keys.watch(target))]);
    if (watch === 'interrupted') return;
    await Promise.race([interrupted, whenGivenUp(client), printChanges(client, watch, { key, options })]);
  } finally {
    await client.close();
  }
}

interface Watched {
  readonly key: string;
  readonly options: WatchOptions;
}

async function printChanges(client: Client, watch: KeyWatch, watched: Watched): Promise<void> {
  const { json } = watched.options;
  let shown = await printAll(client, watched);
  for await (const event of watch) {
    if (event.kind === 'resync') {
      // What was missed is in what there is.
      if (json) console.log(formatJson({ resync: true, version: event.version }));
      else console.error('some changes are not known any more; this is what there is:');
      shown = await printAll(client, watched);
      continue;
    }
    for (const { key, modifyVersion, entry } of event.updates) {
      // What was read may be ahead of what is told.
      if (modifyVersion <= (shown.get(key) ?? 0)) continue;
      if (entry !== undefined) printEntry(entry, json);
      else console.log(json ? formatJson({ key, deleted: true, modifyVersion }) : `- ${formatText(key)}`);
    }
  }
}

/** Prints what there is; returns the versions of it. */
async function printAll(client: Client, { key, options }: Watched): Promise<ReadonlyMap<string, number>> {
  const shown = new Map<string, number>();
  const print = (entry: KeyEntry): void => {
    shown.set(entry.key, entry.modifyVersion);
    printEntry(entry, options.json);
  };
  if (options.prefix) {
    for await (const { entries } of client.keys.list({ prefix: key, limit: pageKeys })) entries.forEach(print);
  } else {
    const entry = await client.keys.get(key);
    if (entry !== undefined) print(entry);
  }
  return shown;
}

function printEntry(entry: KeyEntry, json: boolean): void {
  const { key, text, modifyVersion, holder, fence } = entry;
  if (json) {
    console.log(formatJson(toKeyJson(entry)));
    return;
  }
  const value = text.length > valueCharactersMax ? `${text.slice(0, valueCharactersMax)}…` : text;
  const held = holder === undefined ? '' : ` held by ${formatText(holder)} fence ${fence}`;
  console.log(`+ ${formatText(key)} ${formatText(value)} version ${modifyVersion}${held}`);
}
