import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import { RequestError } from '../client/index.ts';
import type { InstanceInput, Registration } from '../client/index.ts';
import type { RemovalResult } from '../protocol/http-results.ts';
import { escapeTerminal } from '../runtime/terminal-escapes.ts';
import { askServer } from './administration.ts';
import { describeError } from './exit-codes.ts';
import { formatJson, formatText } from './output.ts';
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
  readonly persistent: boolean;
  readonly meta?: Record<string, string>;
}

/** `register`: holds a registration until it is interrupted. */
export function addRegisterCommand(program: Command): void {
  const command = addServiceOptions(
    program
      .command('register')
      .description('register an instance, and hold it until interrupted; or for good')
      .argument('<service>', 'name of the service')
      .argument('<host:port>', 'address of the instance; IPv6 as [::1]:80', parseAddress)
      .option('--id <id>', 'id of the instance (default: host:port)')
      .option('--weight <n>', 'share of traffic, 0 to 10000 (default: as the service is declared, or 100)', parseCount)
      .option('--persistent', 'it lives until it is deregistered; do not hold it', false)
      .option('--zone <name>', 'where it runs')
      .option('--disabled', 'known, but takes no traffic', false)
      .option('--meta <k=v>', 'metadata; may be given more than once', parseMeta),
  );
  addWaitOption(command).action(registerInstance);
}

async function registerInstance(
  service: string,
  address: { readonly host: string; readonly port: number },
  options: RegisterOptions,
): Promise<void> {
  if (options.persistent) {
    await registerPersistent(service, readInstance(address, options), options);
    return;
  }
  const interrupted = waitForInterrupt();
  const client = openClient(options);
  const report: Report = (event, text, details = {}) => {
    console.log(options.json ? formatJson({ event, ...details }) : text);
  };
  try {
    const name = readServiceFields(service, options);
    const instance = readInstance(address, options);
    // It is tried again and again, and refused each time: that is said once.
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
    const begin = async (): Promise<Registration> => {
      if (!options.wait) return await awaitRegistry(client, options, () => client.register(name, instance));
      const standing = await client.register(name, instance, { standing: true });
      report('waiting', `waiting for a registry that takes ${formatText(standing.id)}`, { id: standing.id });
      await standing.whenApplied({ timeoutMs: patienceMs });
      return standing;
    };
    // Whoever interrupts it while it waits for a registry need not wait, too.
    const registration = await Promise.race([interrupted, begin()]);
    if (registration === 'interrupted') return;
    const { id, version } = registration;
    const shown = formatText(id);
    report('registered', `registered ${shown} in ${formatText(service)}; interrupt to deregister`, { id, version });
    client.on('disconnected', ({ cause }) => {
      report('lost', `lost the registry (${escapeTerminal(cause)}); registering again as soon as it is back`, {
        cause,
      });
    });
    client.on('connected', () => {
      report('regained', 'the registry is back');
    });
    await Promise.race([interrupted, whenGivenUp(client)]);
    if (client.isConnected) await deregister(registration, report);
  } finally {
    await client.close();
  }
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
      .description('deregister a persistent instance')
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
  { id, weight, zone, disabled, meta }: RegisterOptions,
): InstanceInput {
  return {
    host,
    port,
    ...(id === undefined ? {} : { id }),
    ...(weight === undefined ? {} : { weight }),
    ...(zone === undefined ? {} : { zone }),
    ...(disabled ? { enabled: false } : {}),
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
