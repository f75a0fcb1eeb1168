import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';

import { RequestError } from '../client/index.ts';
import type { Client, Health, InstanceInput, Registration, ServiceFields } from '../client/index.ts';
import type { RemovalResult } from '../protocol/http-results.ts';
import { escapeTerminal } from '../runtime/terminal-escapes.ts';
import { askServer } from './administration.ts';
import { describeError } from './exit-codes.ts';
import { formatJson, formatText } from './output.ts';
import { runProgram, SignalForwarding } from './program.ts';
import {
  addServiceOptions,
  addWaitOption,
  awaitRegistry,
  openClient,
  parseCount,
  patienceMs,
  readServiceFields,
  waitForInterrupt,
  withClient,
  whenGivenUp,
} from './registry.ts';
import type { ServiceOptions, WaitOptions } from './registry.ts';

interface RegisterOptions extends ServiceOptions, WaitOptions {
  readonly id?: string;
  readonly weight?: number;
  readonly zone?: string;
  readonly disabled: boolean;
  readonly health?: Health;
  readonly persistent: boolean;
  readonly meta?: Record<string, string>;
}

const commandHelp = `
With a command the instance is registered first, and then the command is run; with --wait, it is run whether or not there is a registry. When it ends the
instance is deregistered, and the exit status is that of the command, 128 + N if it was ended by signal N. SIGTERM, SIGINT and SIGHUP are passed on to it, and
the instance is deregistered at once; at a second one it is ended by SIGKILL. What happens to the registration is then reported on stderr.`;

/** `register`: holds a registration until it is interrupted. */
export function addRegisterCommand(program: Command): void {
  const command = addServiceOptions(
    program
      .command('register')
      .description('register an instance, and hold it until interrupted, or as long as a command runs; or for good')
      .argument('<service>', 'name of the service')
      .argument('<host:port>', 'address of the instance; IPv6 as [::1]:80', parseAddress)
      .argument('[command...]', 'what to run while it is registered, after --')
      .option('--id <id>', 'id of the instance (default: host:port)')
      .option('--weight <n>', 'share of traffic, 0 to 10000 (default: as the service is declared, or 100)', parseCount)
      .option('--persistent', 'it lives until it is deregistered; do not hold it', false)
      .option('--zone <name>', 'where it runs')
      .option('--disabled', 'known, but takes no traffic', false)
      .addOption(
        new Option('--health <state>', 'how it is (default: passing)').choices(['passing', 'warning', 'critical']),
      )
      .option('--meta <k=v>', 'metadata; may be given more than once', parseMeta),
  );
  addWaitOption(command).addHelpText('after', commandHelp).action(registerInstance);
}

async function registerInstance(
  service: string,
  address: { readonly host: string; readonly port: number },
  command: readonly string[],
  options: RegisterOptions,
): Promise<void> {
  const instance = readInstance(address, options);
  if (options.persistent) {
    if (command.length > 0) throw new InvalidArgumentError('Either --persistent or a command.');
    await registerPersistent(service, instance, options);
    return;
  }
  const client = openClient(options);
  // The output is the command's, if there is one.
  const print = command.length > 0 ? console.error : console.log;
  const report: Report = (event, text, details = {}) => {
    print(options.json ? formatJson({ event, ...details }) : text);
  };
  const hold = { client, name: readServiceFields(service, options), instance, options, report };
  try {
    reportRefusals(client, report);
    await (command.length > 0 ? holdWhileRunning(hold, command) : holdUntilInterrupted(hold));
  } finally {
    await client.close();
  }
}

interface Hold {
  readonly client: Client;
  readonly name: ServiceFields;
  readonly instance: InstanceInput;
  readonly options: RegisterOptions;
  readonly report: Report;
}

/** It is tried again and again, and refused each time: that is said once. */
function reportRefusals(client: Client, report: Report): void {
  let refusal = '';
  client.on('connected', () => (refusal = ''));
  client.on('refused', ({ what, error }) => {
    const { code, message } = error;
    if (message === refusal) return;
    refusal = message;
    const subject = what.kind === 'registration' ? `the registration of ${formatText(what.id)}` : 'the session';
    report('refused', `${subject} was refused (${describeError(error)}); trying again`, {
      ...(what.kind === 'registration' ? { id: what.id } : {}),
      code,
      message,
    });
  });
}

/** Resolves once it is registered. */
async function begin({ client, name, instance, options, report }: Hold): Promise<Registration> {
  if (!options.wait) return await awaitRegistry(client, options, () => client.register(name, instance));
  const standing = await client.register(name, instance, { standing: true });
  report('waiting', `waiting for a registry that takes ${formatText(standing.id)}`, { id: standing.id });
  await standing.whenApplied({ timeoutMs: patienceMs });
  return standing;
}

function reportHeld({ id, version }: Registration, { client, name, report }: Hold, until: string): void {
  const text = `registered ${formatText(id)} in ${formatText(name.service)}${until}`;
  report('registered', text, { id, version });
  client.on('disconnected', ({ cause }) => {
    report('lost', `lost the registry (${escapeTerminal(cause)}); registering again as soon as it is back`, {
      cause,
    });
  });
  client.on('connected', () => {
    report('regained', 'the registry is back');
  });
}

async function holdUntilInterrupted(hold: Hold): Promise<void> {
  const { client, report } = hold;
  const interrupted = waitForInterrupt();
  // Whoever interrupts it while it waits for a registry need not wait, too.
  const registration = await Promise.race([interrupted, begin(hold)]);
  if (registration === 'interrupted') return;
  reportHeld(registration, hold, '; interrupt to deregister');
  await Promise.race([interrupted, whenGivenUp(client)]);
  if (client.isConnected) await deregister(registration, report);
}

async function holdWhileRunning(hold: Hold, command: readonly string[]): Promise<void> {
  const { client, report, options } = hold;
  const signals = new SignalForwarding();
  const stopped = new Promise<undefined>((resolve) => {
    signals.stopped.addEventListener('abort', () => {
      resolve(undefined);
    });
  });
  let registration: Registration | undefined;
  const registered = begin(hold).then((begun) => {
    registration = begun;
    reportHeld(begun, hold, ' until the command ends');
    return begun;
  });
  try {
    // Without a registry there is nothing to hold, but with --wait.
    if (!options.wait) await Promise.race([registered, stopped]);
    let isOver = false;
    const warn = (error: unknown): void => {
      // The command goes on, and its status counts: its own work is worth more than being found.
      if (!isOver) report('failed', describeError(error));
    };
    registered.catch(warn);
    const leave = once(async () => {
      if (registration !== undefined && client.isConnected) await deregister(registration, report).catch(warn);
    });
    // Nobody is to be sent to what is ending.
    void stopped.then(leave);
    process.exitCode = await runProgram(command, signals);
    await leave();
    isOver = true;
  } finally {
    signals.end();
  }
}

/** However often it is called, it runs once; all get the same. */
function once<T>(run: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () => (running ??= run());
}

async function registerPersistent(service: string, instance: InstanceInput, options: RegisterOptions): Promise<void> {
  const name = readServiceFields(service, options);
  const { id, version } = await withClient(options, (client) => client.register(name, instance, { persistent: true }));
  const text = `registered ${formatText(id)} in ${formatText(service)} until it is deregistered`;
  console.log(options.json ? formatJson({ event: 'registered', id, version, persistent: true }) : text);
}

interface DeregisterOptions extends ServiceOptions {
  readonly force: boolean;
}

/** `deregister`: of what `register --persistent` has registered, or, by force, of what anybody has. */
export function addDeregisterCommand(program: Command): void {
  addServiceOptions(
    program
      .command('deregister')
      .description('deregister a persistent instance, or with --force whatever anybody has registered')
      .argument('<service>', 'name of the service')
      .argument('<id>', 'id of the instance')
      .option('--force', 'whoever has registered it, persistent or not', false),
  ).action(async (service: string, id: string, options: DeregisterOptions) => {
    const name = readServiceFields(service, options);
    if (options.force) {
      const result = await askServer<RemovalResult>(options, 'removeInstance', { body: { ...name, id } });
      console.log(options.json ? formatJson(result) : formatRemoval(id, result));
      return;
    }
    await withClient(options, (client) => client.deregister(name, id, { persistent: true }));
    console.log(options.json ? formatJson({ event: 'deregistered', id }) : `deregistered ${formatText(id)}`);
  });
}

/** What was removed, and what brings it back. */
function formatRemoval(id: string, { claims, persistent }: RemovalResult): string {
  const owners = claims.map(({ session, app, address, state }) => {
    const comesBack =
      state === 'leased'
        ? 'its caller may register it again'
        : 'its client registers it again when it reconnects; `off --session` hides it, `quarantine` keeps it out';
    return `  of session ${session}${app === undefined ? '' : ` (${formatText(app)})`} at ${formatText(address)}: ${comesBack}`;
  });
  return [`removed ${formatText(id)}`, ...(persistent ? ['  it was persistent'] : []), ...owners].join('\n');
}

type Report = (event: string, text: string, details?: object) => void;

/** One that the registry refused in the meantime, or that is another's by now, is gone already. */
async function deregister(registration: Registration, report: Report): Promise<void> {
  const { id } = registration;
  try {
    await registration.deregister();
  } catch (error) {
    if (!(error instanceof RequestError) || !(error.code === 'not_found' || error.code === 'not_owner')) throw error;
    const { code, message } = error;
    report('gone', `${formatText(id)} is no longer registered by this command (${describeError(error)})`, {
      id,
      code,
      message,
    });
    return;
  }
  report('deregistered', `deregistered ${formatText(id)}`, { id });
}

function readInstance(
  { host, port }: { readonly host: string; readonly port: number },
  { id, weight, zone, disabled, health, meta }: RegisterOptions,
): InstanceInput {
  return {
    host,
    port,
    ...(id === undefined ? {} : { id }),
    ...(weight === undefined ? {} : { weight }),
    ...(zone === undefined ? {} : { zone }),
    ...(disabled ? { enabled: false } : {}),
    ...(health === undefined ? {} : { health }),
    ...(meta === undefined ? {} : { metadata: meta }),
  };
}

/** `host:port`, or `[v6]:port`. */
export function parseAddress(text: string): { host: string; port: number } {
  const [, v6, plain, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = v6 ?? plain;
  const number = Number(port);
  if (host === undefined || number < 1 || number > 65_535) {
    throw new InvalidArgumentError('It must be HOST:PORT, with a port from 1 to 65535.');
  }
  return { host, port: number };
}

/** Adds one `key=value` to those before it. */
export function parseMeta(text: string, before: unknown): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('It must be KEY=VALUE.');
  return { ...(before as Record<string, string> | undefined), [text.slice(0, at)]: text.slice(at + 1) };
}
