import { createReadStream } from 'node:fs';

import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { Client, KeyConditionUnmet, KeyEntry } from '../client/index.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { escapeTerminal } from '../runtime/terminal-escapes.ts';
import { exitCodes } from './exit-codes.ts';
import { addKeyWatchCommand } from './key-watch-command.ts';
import { addLockCommand } from './lock-command.ts';
import { formatJson, formatKeys, formatText, toKeyJson } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { ProgressBar } from './progress-bar.ts';
import { addRegistryOptions, parseCount, withClient } from './registry.ts';
import type { RegistryOptions } from './registry.ts';
import { explainFaults } from './whole-file.ts';

/** Keys asked for at a time. */
const pageKeys = 1000;

interface PutOptions extends RegistryOptions {
  readonly file?: string;
  readonly flags?: bigint;
  readonly cas?: number;
}

interface DeleteOptions extends RegistryOptions {
  readonly cas?: number;
  readonly prefix: boolean;
}

interface ListOptions extends RegistryOptions, OutputOptions {
  readonly keysOnly: boolean;
  readonly separator?: string;
}

/** `kv`: `get`, `put`, `delete`, `list`, `watch` and `lock`. */
export function addKeyCommands(program: Command): void {
  const kv = program.command('kv').description('read, write, watch and lock keys');
  const key = 'name of the key';
  addRegistryOptions(
    kv
      .command('get')
      .description('print the value of a key, as it is; exit status 3 if there is no such key')
      .argument('<key>', key),
  ).action(getKey);
  addRegistryOptions(
    kv
      .command('put')
      .description('create or change a key; exit status 1 if --cas does not hold')
      .argument('<key>', key)
      .argument('[value]', 'its value; without it and --file, it is empty')
      .option('--file <path>', 'read the value from a file; -: stdin')
      .option('--flags <number>', 'a number of 64 bits that is stored with it (default: 0)', parseFlags)
      .option('--cas <version>', 'only if this is its version; 0: only if there is no such key', parseCount),
  ).action(putKey);
  addRegistryOptions(
    kv
      .command('delete')
      .description('delete a key, or with --prefix all that begin so; exit status 1 if --cas does not hold')
      .argument('<key>', `${key}, or what the keys begin with`)
      .option('--prefix', 'all keys that begin so; an empty one stands for all', false)
      .option('--cas <version>', 'only if this is its version', parseCount),
  ).action(deleteKeys);
  const list = addRegistryOptions(
    kv
      .command('list')
      .description('list keys, ordered by their bytes')
      .argument('[prefix]', 'only those that begin so')
      .option('--keys-only', 'only their names', false)
      .option('--separator <text>', 'cut names after the first of these behind the prefix, like paths'),
  );
  addOutputOption(list).action(listKeys);
  addKeyWatchCommand(kv);
  addLockCommand(kv);
}

function parseFlags(text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n) {
    throw new InvalidArgumentError('It must be a whole number below 2^64.');
  }
  return BigInt(text);
}

async function getKey(key: string, options: RegistryOptions): Promise<void> {
  const entry = await withClient(options, (client) => client.keys.get(key));
  if (entry === undefined) {
    process.exitCode = exitCodes.notFound;
    if (options.json) console.log(formatJson({}));
    else console.error(`there is no key ${formatText(key)}`);
    return;
  }
  if (options.json) console.log(formatJson(toKeyJson(entry)));
  // Into a file or another program go its bytes; a terminal is shown what it may be.
  else if (process.stdout.isTTY) console.log(entry.text.split('\n').map(escapeTerminal).join('\n'));
  else await writeBytes(entry.value);
}

function writeBytes(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve) => {
    process.stdout.write(bytes, () => {
      resolve();
    });
  });
}

async function putKey(key: string, value: string | undefined, options: PutOptions): Promise<void> {
  const { file, flags, cas, json } = options;
  if (file !== undefined && value !== undefined) throw new InvalidArgumentError('Either a value or --file.');
  const content = file === undefined ? (value ?? '') : await readValue(file);
  const write = { ...(flags === undefined ? {} : { flags }), ...(cas === undefined ? {} : { cas }) };
  const change = await withClient(options, (client) => client.keys.put(key, content, write));
  if (!change.applied) {
    reportUnmet(key, change, options);
    return;
  }
  const { entry } = change;
  console.log(json ? formatJson(toKeyJson(entry)) : `${formatText(key)} is at version ${entry.modifyVersion}`);
}

/** Not more of it than a value may have: whatever is in the file, or comes without an end. */
async function readValue(file: string): Promise<Uint8Array> {
  const { keyValueBytesMax: bytesMax } = protocolLimits;
  const chunks: Buffer[] = [];
  let bytes = 0;
  const source = file === '-' ? process.stdin : createReadStream(file, { end: bytesMax });
  await explainFaults(file, async () => {
    for await (const chunk of source as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > bytesMax) throw new InvalidArgumentError(`A value has at most ${bytesMax} bytes.`);
    }
  });
  return Buffer.concat(chunks);
}

const unmetMessages: Readonly<Record<KeyConditionUnmet['reason'], string>> = {
  version: 'its version is another one',
  held: 'it is held by others',
  delayed: 'its lock delay is not over',
  not_held: 'it is not held',
};

function reportUnmet(key: string, { version, reason }: KeyConditionUnmet, { json }: RegistryOptions): void {
  process.exitCode = exitCodes.failed;
  if (json) console.log(formatJson({ applied: false, version, reason }));
  else console.error(`${formatText(key)} was not changed: ${unmetMessages[reason]}`);
}

async function deleteKeys(key: string, options: DeleteOptions): Promise<void> {
  const { cas, prefix, json } = options;
  if (prefix && cas !== undefined) throw new InvalidArgumentError('Either --prefix or --cas.');
  if (prefix) {
    const deleted = await withClient(options, (client) => client.keys.deletePrefix(key));
    console.log(json ? formatJson({ deleted }) : `deleted ${deleted} ${deleted === 1 ? 'key' : 'keys'}`);
    return;
  }
  const deletion = await withClient(options, (client) => client.keys.delete(key, cas === undefined ? {} : { cas }));
  if (!deletion.applied) reportUnmet(key, deletion, options);
  else console.log(json ? formatJson({ version: deletion.version }) : `there is no ${formatText(key)} any more`);
}

async function listKeys(prefix: string | undefined, options: ListOptions): Promise<void> {
  const { keysOnly } = options;
  const entries: KeyEntry[] = [];
  const names: string[] = [];
  await withClient(options, (client) => readPages(client, { prefix, options, entries, names }));
  const keys = entries.map((entry) => toKeyJson(entry));
  await printResult(options, {
    value: { keys: keysOnly ? names : keys, ...(keysOnly || names.length === 0 ? {} : { cut: names }) },
    rows: [...names.map((key) => ({ key })), ...keys],
    formatTable: (look) => [...names.map(formatText), ...(keysOnly ? [] : [formatKeys(entries, look)])].join('\n'),
  });
}

interface Listing {
  readonly prefix: string | undefined;
  readonly options: ListOptions;
  readonly entries: KeyEntry[];
  readonly names: string[];
}

async function readPages(client: Client, { prefix, options, entries, names }: Listing): Promise<void> {
  const { keysOnly, separator } = options;
  const progress = new ProgressBar(process.stderr, 'listing');
  const pages = client.keys.list({
    keysOnly,
    limit: pageKeys,
    ...(prefix === undefined ? {} : { prefix }),
    ...(separator === undefined ? {} : { separator }),
  });
  try {
    for await (const page of pages) {
      for (const entry of page.entries) entries.push(entry);
      for (const name of page.keys) names.push(name);
      progress.show(undefined, `${entries.length + names.length} keys`);
    }
  } finally {
    progress.end();
  }
}
