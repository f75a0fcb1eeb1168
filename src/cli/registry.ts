import { constants } from 'node:os';

import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import { connect, RequestError } from '../client/index.ts';
import type { Client, InstanceFilter, ServiceFields } from '../client/index.ts';
import { httpVariable, serverVariable } from '../config/config-sources.ts';
import { runIdentified } from './server-identity.ts';
import { addTlsOptions, readServers, readTls, readVariable, serverDefault } from './tls-options.ts';
import type { TlsOptions } from './tls-options.ts';
import { addTokenOption, readToken } from './token-option.ts';
import type { TokenOptions } from './token-option.ts';

/** Options that every command has which talks to a registry. */
export interface RegistryOptions extends TlsOptions, TokenOptions {
  readonly server?: string[];
  readonly json: boolean;
  readonly timeoutMs: number;
}

/** Options of commands that talk to a registry over HTTP. */
export interface HttpOptions extends RegistryOptions {
  /** Where HTTP is served, as a URL without a slash at its end; undefined: the server says. */
  readonly http?: string;
}

export interface ServiceOptions extends RegistryOptions, NameOptions {}

export function addRegistryOptions(command: Command): Command {
  return addTokenOption(addTlsOptions(command))
    .addOption(
      readVariable(
        new Option('--server <url>', 'registry to talk to, as a URL or HOST:PORT; several in a list, or given again'),
        serverVariable,
      )
        .argParser(parseServers)
        .default(undefined, serverDefault),
    )
    .option('--timeout-ms <ms>', 'give up after this long without an answer', parseTimeout, 5000)
    .option('--json', 'print JSON', false);
}

export function addHttpOptions(command: Command): Command {
  return addRegistryOptions(command).addOption(
    readVariable(
      new Option('--http <url>', 'where the registry serves HTTP, if it is not where its server says: behind a proxy'),
      httpVariable,
    ).argParser(parseHttp),
  );
}

export function addServiceOptions(command: Command): Command {
  return addRegistryOptions(addNameOptions(command));
}

/** What a service is named with, beside its name. */
export interface NameOptions {
  readonly namespace?: string;
  readonly group?: string;
}

export function addNameOptions(command: Command): Command {
  return command
    .option('--namespace <name>', 'namespace of the service (default: public)')
    .option('--group <name>', 'group of the service (default: DEFAULT)');
}

/** As far as it is given. */
export function readNameOptions({ namespace, group }: NameOptions): NameOptions {
  return { ...(namespace === undefined ? {} : { namespace }), ...(group === undefined ? {} : { group }) };
}

/** Parses a whole number that is not negative. */
export function parseCount(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** The longest time that a timer can hold. */
const timeoutMaxMs = 2 ** 31 - 1;

function parseTimeout(text: string): number {
  const timeoutMs = parseCount(text);
  if (timeoutMs < 1 || timeoutMs > timeoutMaxMs)
    throw new InvalidArgumentError(`It must be from 1 to ${timeoutMaxMs}.`);
  return timeoutMs;
}

const serverExpected = 'It must be HOST:PORT, or a URL such as ws://127.0.0.1:7070; several are separated by commas.';

/** Servers of a list, added to those before it. `HOST:PORT` is a WebSocket in the clear. */
function parseServers(text: string, before: unknown): string[] {
  const servers = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map(readServer);
  if (servers.length === 0) throw new InvalidArgumentError(serverExpected);
  return [...(Array.isArray(before) ? (before as string[]) : []), ...servers];
}

const httpExpected = 'It must be HOST:PORT, or a URL such as http://127.0.0.1:7071.';

function parseHttp(text: string): string {
  return readAddress(text.trim(), { scheme: 'http', schemes: /^https?:$/, expected: httpExpected })
    .replace(/[?#].*$/, '')
    .replace(/\/+$/, '');
}

function readServer(text: string): string {
  return readAddress(text, { scheme: 'ws', schemes: /^(?:wss?|https?):$/, expected: serverExpected })
    .replace(/^http/, 'ws')
    .replace(/\/$/, '');
}

interface AddressForm {
  /** Of `HOST:PORT`. */
  readonly scheme: string;
  readonly schemes: RegExp;
  readonly expected: string;
}

function readAddress(text: string, { scheme, schemes, expected }: AddressForm): string {
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(text);
  let url: URL;
  try {
    url = new URL(hasScheme ? text : `${scheme}://${text}`);
  } catch {
    throw new InvalidArgumentError(expected);
  }
  // Without a scheme a port is what tells an address from a slip.
  const isAddress = hasScheme || /^(?:\[[0-9a-f:.]+\]|[^:/?#[\]@]+):\d{1,5}$/i.test(text);
  if (!isAddress || !schemes.test(url.protocol)) throw new InvalidArgumentError(expected);
  if (url.username !== '' || url.password !== '') {
    throw new InvalidArgumentError('It must not hold a user name or a password.');
  }
  return url.href;
}

export function readServiceFields(service: string, options: NameOptions): ServiceFields {
  return { service, ...readNameOptions(options) };
}

/** What a filter is given by. */
export interface FilterOptions extends ServiceOptions {
  readonly zone?: string;
  readonly enabledOnly?: boolean;
  readonly healthyOnly?: boolean;
  readonly select?: Readonly<Record<string, string>>;
}

/** `--zone`, `--enabled-only`, `--healthy-only` and `--select`. */
export function addFilterOptions(command: Command): Command {
  return command
    .option('--zone <name>', 'only instances of this zone')
    .option('--enabled-only', 'only instances that take traffic')
    .option('--healthy-only', 'only instances that are not critical')
    .option('--select <key=value>', 'only instances with this metadata; may be given several times', readSelection);
}

function readSelection(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be KEY=VALUE.');
  return { ...before, [text.slice(0, at)]: text.slice(at + 1) };
}

export function readFilter({ zone, enabledOnly, healthyOnly, select }: FilterOptions): InstanceFilter {
  return {
    ...(zone === undefined ? {} : { zone }),
    ...(enabledOnly === undefined ? {} : { enabledOnly }),
    ...(healthyOnly === undefined ? {} : { healthyOnly }),
    ...(select === undefined ? {} : { selector: select }),
  };
}

export function openClient(options: RegistryOptions): Client {
  const { timeoutMs } = options;
  const servers = readServers(options);
  const token = readToken(options);
  const tls = servers.some((server) => server.startsWith('wss:')) ? readTls(options) : undefined;
  return connect({
    servers,
    ...(tls === undefined ? {} : { tls }),
    ...(token === undefined ? {} : { token }),
    app: 'slotcast-cli',
    connectTimeoutMs: timeoutMs,
    requestTimeoutMs: timeoutMs,
    closeTimeoutMs: Math.min(timeoutMs, 2000),
    backoffMaxMs: 1000,
  });
}

/** Runs something with a client, and closes it whatever happens. */
export async function withClient<T>(options: RegistryOptions, run: (client: Client) => Promise<T>): Promise<T> {
  const client = openClient(options);
  try {
    return await awaitRegistry(client, options, () => run(client));
  } finally {
    await client.close();
  }
}

/** Runs the first thing that needs a session; says so at once if those who should be registries are none. */
export function awaitRegistry<T>(client: Client, options: RegistryOptions, run: () => Promise<T>): Promise<T> {
  const asked = { servers: readServers(options), timeoutMs: options.timeoutMs, tls: readTls(options) };
  return runIdentified(client, asked, run);
}

/** Rejects with the reason when the client gives up, which it does only if no server speaks its version of the protocol. */
export function whenGivenUp(client: Client): Promise<never> {
  return new Promise((_, reject) => {
    client.on('closed', () => {
      client.whenConnected().catch((error: unknown) => {
        if (error instanceof RequestError) reject(error);
      });
    });
  });
}

/** The option of commands that may begin before their registry does. */
export interface WaitOptions {
  readonly wait: boolean;
}

export function addWaitOption(command: Command): Command {
  return command.option('--wait', 'wait for a registry for as long as it takes', false);
}

/** For what waits as long as it takes: the longest time that a call can have. */
export const patienceMs: number = timeoutMaxMs;

/** Resolves at the first SIGINT, SIGTERM or SIGHUP, which a terminal sends that is closed; a second one ends the process at once. */
export function waitForInterrupt(): Promise<'interrupted'> {
  return new Promise((resolve) => {
    let isInterrupted = false;
    for (const signal of stopSignals) {
      process.on(signal, () => {
        if (isInterrupted) process.exit(128 + constants.signals[signal]);
        isInterrupted = true;
        resolve('interrupted');
      });
    }
  });
}

/** Signals that ask to end in order. */
export const stopSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
