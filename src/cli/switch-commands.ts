import { hostname, userInfo } from 'node:os';

import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import { protocolLimits } from '../protocol/limits.ts';
import type {
  NamespaceLimits,
  Switch,
  SwitchBody,
  SwitchesResult,
  SwitchKind,
  SwitchTarget,
} from '../protocol/switches.ts';
import type { InstanceOverride } from '../protocol/types.ts';
import { askServer } from './administration.ts';
import { formatJson, formatMetadata, formatTable, formatText, nothing } from './output.ts';
import type { TableLook } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { formatAge } from './quantities.ts';
import { parseMeta } from './register-command.ts';
import { addHttpOptions, addNameOptions, parseCount, readNameOptions } from './registry.ts';
import type { HttpOptions, NameOptions } from './registry.ts';
import { spanUpTo } from './time-span.ts';

const parseSpan = spanUpTo(protocolLimits.switchMsMax);

interface TargetOptions extends HttpOptions, NameOptions {}

interface OrderOptions extends TargetOptions {
  readonly reason?: string;
  readonly by: string;
  readonly for?: number;
}

interface LiftableOptions extends OrderOptions {
  readonly lift: boolean;
}

interface DrainOptions extends LiftableOptions {
  readonly host?: string;
  readonly over?: number;
}

interface LimitOptions extends LiftableOptions, NamespaceLimits {}

/** Clients, where a switch may be about them rather than about a service. */
interface ClientOptions {
  readonly address?: string;
  readonly app?: string;
  readonly session?: string;
}

interface OverrideOptions extends OrderOptions {
  readonly weight?: number;
  readonly enable: boolean;
  readonly disable: boolean;
  readonly zone?: string;
  readonly meta?: Readonly<Record<string, string>>;
  readonly lift: boolean;
}

/** `switches`, and a command for each kind of them; `guard`: to which some belong. */
export function addSwitchCommands(program: Command, guard: Command): void {
  const list = program
    .command('switches')
    .description("list operators' switches in force: what, who, why, since and until when");
  addOutputOption(addHttpOptions(list)).action(async (options: HttpOptions & OutputOptions) => {
    const result = await askServer<SwitchesResult>(options, 'listSwitches');
    const { switches } = result;
    await printResult(options, {
      value: result,
      rows: switches,
      formatTable: (look) => formatSwitches(switches, look),
    });
  });
  addOrderOptions(
    addClientOptions(
      program
        .command('off')
        .description(
          "shut a service's traffic off: its list is empty, and says that it was closed; or that of clients: what they have registered does not show; undone by `on`",
        )
        .argument('[service]', 'name of the service'),
    ).option('--session <name>', 'the client of this session'),
  ).action(async (service: string | undefined, options: OrderOptions & ClientOptions) => {
    const target = readClients(service, options);
    await setSwitch(service === undefined ? 'client-off' : 'service-off', service, options, target);
  });
  addTargetOptions(
    addClientOptions(
      program
        .command('on')
        .description('undo `off`: what is registered is shown again')
        .argument('[service]', 'name of the service'),
    ).option('--session <name>', 'the client of this session'),
  ).action(async (service: string | undefined, options: TargetOptions & ClientOptions) => {
    const target = readClients(service, options);
    await liftSwitch(service === undefined ? 'client-off' : 'service-off', service, options, target);
  });
  addOrderOptions(
    program
      .command('drain')
      .description('lower the weight of an instance, or of all that live on a host, to 0 in steps, and then disable it')
      .argument('[service]', 'name of the service')
      .argument('[id]', 'id of the instance')
      .option('--host <host>', 'all instances that are registered with this host')
      .option('--over <time>', 'over which time, such as 30s or 10m (default: 1m)', parseSpan)
      .option('--lift', 'undo: it is shown again as it is registered', false),
  ).action(async (service: string | undefined, id: string | undefined, options: DrainOptions) => {
    const { host, over, lift } = options;
    if (host === undefined ? id === undefined : service !== undefined)
      throw new InvalidArgumentError('Either a service and the id of an instance, or --host.');
    const target = { ...(id === undefined ? {} : { id }), ...(host === undefined ? {} : { host }) };
    const kind = host === undefined ? 'instance-drain' : 'host-drain';
    if (lift) await liftSwitch(kind, service, options, target);
    else await setSwitch(kind, service, options, { ...target, ...(over === undefined ? {} : { overMs: over }) });
  });
  addOrderOptions(
    program
      .command('freeze')
      .description(
        'push nothing, of one service, of all of a namespace, or of all; subscribers keep what they have; undone by `thaw`',
      )
      .argument('[service]', 'name of the service'),
  ).action(async (service: string | undefined, options: OrderOptions) => {
    await setSwitch('push-freeze', service, options, {});
  });
  addTargetOptions(
    program
      .command('thaw')
      .description('undo `freeze`: whoever has missed something gets the latest state')
      .argument('[service]', 'name of the service'),
  ).action(async (service: string | undefined, options: TargetOptions) => {
    await liftSwitch('push-freeze', service, options);
  });
  addGuardCommand(guard, 'hold', 'guard-hold', 'remove nothing that is lost, whatever the guard would decide');
  addGuardCommand(guard, 'off', 'guard-off', 'hold nothing back, whatever the guard would decide');
  addOrderOptions(
    program
      .command('limit')
      .description('limit what a namespace may have')
      .argument('<namespace>', 'name of the namespace')
      .option('--instances <count>', 'instances', parseCount)
      .option('--services <count>', 'services that have instances', parseCount)
      .option('--sessions <count>', 'sessions and leases that have registered something', parseCount)
      .option('--registrations-per-second <count>', 'registrations in a second, repeated ones too', parseCount)
      .option('--lift', 'undo', false),
  ).action(async (namespace: string, options: LimitOptions) => {
    const { instances, services, sessions, registrationsPerSecond, lift } = options;
    const limits: NamespaceLimits = {
      ...(instances === undefined ? {} : { instances }),
      ...(services === undefined ? {} : { services }),
      ...(sessions === undefined ? {} : { sessions }),
      ...(registrationsPerSecond === undefined ? {} : { registrationsPerSecond }),
    };
    const scope = { ...options, namespace };
    if (lift === Object.keys(limits).length > 0) throw new InvalidArgumentError('Either limits, or --lift.');
    if (lift) await liftSwitch('namespace-limit', undefined, scope);
    else await setSwitch('namespace-limit', undefined, scope, { limits });
  });
  addOrderOptions(
    addClientOptions(
      program
        .command('quarantine')
        .description('refuse clients, or what concerns a service')
        .argument('[service]', 'name of the service'),
    ).option('--lift', 'undo', false),
  ).action(async (service: string | undefined, options: LiftableOptions & ClientOptions) => {
    const target = readClients(service, options);
    if (options.lift) await liftSwitch('quarantine', service, options, target);
    else await setSwitch('quarantine', service, options, target);
  });
  addOrderOptions(
    program
      .command('read-only')
      .description('make the registry read-only: nothing is registered or stored, and what there is is served')
      .option('--lift', 'undo', false),
  ).action(async (options: LiftableOptions) => {
    if (options.lift) await liftSwitch('read-only', undefined, options);
    else await setSwitch('read-only', undefined, options, {});
  });
  addOrderOptions(
    program
      .command('override')
      .description('lay something over what an instance is registered with, also when it is registered again')
      .argument('<service>', 'name of the service')
      .argument('<id>', 'id of the instance')
      .option('--weight <weight>', 'its weight', parseCount)
      .option('--enable', 'it takes traffic', false)
      .option('--disable', 'it takes no traffic', false)
      .option('--zone <zone>', 'its zone')
      .option('--meta <key=value>', 'metadata; may be repeated', parseMeta)
      .option('--lift', 'undo: it is shown again as it is registered', false),
  ).action(async (service: string, id: string, options: OverrideOptions) => {
    const override = readOverride(options);
    const isGiven = Object.keys(override).length > 0;
    if (options.lift === isGiven) throw new InvalidArgumentError('Either what is laid over the instance, or --lift.');
    if (options.lift) await liftSwitch('instance-override', service, options, { id });
    else await setSwitch('instance-override', service, options, { id, override });
  });
}

function addGuardCommand(guard: Command, name: string, kind: SwitchKind, description: string): void {
  addOrderOptions(
    guard
      .command(name)
      .description(`${description}: of one service, or of all`)
      .argument('[service]', 'name of the service')
      .option('--lift', 'undo', false),
  ).action(async (service: string | undefined, options: LiftableOptions) => {
    if (options.lift) await liftSwitch(kind, service, options);
    else await setSwitch(kind, service, options, {});
  });
}

function addClientOptions(command: Command): Command {
  return command
    .option('--address <address>', 'clients that are connected from this address')
    .option('--app <name>', 'clients of this application');
}

/** A switch is about a service, or about clients. */
function readClients(service: string | undefined, { address, app, session }: ClientOptions): SwitchTarget {
  const given = [service, address, app, session].filter((value) => value !== undefined);
  if (given.length !== 1)
    throw new InvalidArgumentError('Either a service, or clients in one of the ways that --help lists.');
  return {
    ...(address === undefined ? {} : { address }),
    ...(app === undefined ? {} : { app }),
    ...(session === undefined ? {} : { session }),
  };
}

function addTargetOptions(command: Command): Command {
  return addHttpOptions(addNameOptions(command));
}

function addOrderOptions(command: Command): Command {
  return addTargetOptions(
    command
      .option('--reason <text>', 'why')
      .option('--by <name>', 'who orders it (default: you, on this machine)', nameCaller())
      .option('--for <time>', 'undo it by itself after a time, such as 30s, 10m, 2h or 1d', parseSpan),
  );
}

function nameCaller(): string {
  try {
    return `${userInfo().username}@${hostname()}`;
  } catch {
    // The user of a container may have no name.
    return hostname();
  }
}

function readOverride({ weight, enable, disable, zone, meta }: OverrideOptions): InstanceOverride {
  if (enable && disable) throw new InvalidArgumentError('Either --enable or --disable.');
  return {
    ...(enable || disable ? { enabled: enable } : {}),
    ...(weight === undefined ? {} : { weight }),
    ...(zone === undefined ? {} : { zone }),
    ...(meta === undefined ? {} : { metadata: meta }),
  };
}

async function setSwitch(
  kind: SwitchKind,
  service: string | undefined,
  options: OrderOptions,
  more: SwitchTarget & Pick<SwitchBody, 'override' | 'overMs' | 'limits'>,
): Promise<void> {
  const { reason, by, for: forMs, json } = options;
  const body: SwitchBody = {
    kind,
    ...(service === undefined ? {} : { service }),
    ...readNameOptions(options),
    ...more,
    by,
    ...(reason === undefined ? {} : { reason }),
    ...(forMs === undefined ? {} : { forMs }),
  };
  const order = await askServer<Switch>(options, 'setSwitch', { body });
  console.log(
    json ? formatJson(order) : `set ${describe(order)}${order.until === undefined ? '' : ` until ${order.until}`}`,
  );
}

async function liftSwitch(
  kind: SwitchKind,
  service: string | undefined,
  options: TargetOptions,
  target: SwitchTarget = {},
): Promise<void> {
  const query = {
    kind,
    ...(service === undefined ? {} : { service }),
    ...readNameOptions(options),
    ...target,
  };
  const order = await askServer<Switch>(options, 'liftSwitch', { query });
  console.log(options.json ? formatJson(order) : `lifted ${describe(order)}`);
}

function describe({ kind, ...order }: Switch): string {
  const [service, target] = [nameService(order), nameTarget(order)];
  const of = service === '-' ? '' : ` of ${service}`;
  return `${kind}${of}${target === '-' ? '' : ` ${target}`}`;
}

function nameService({ namespace, group, service }: Pick<Switch, 'namespace' | 'group' | 'service'>): string {
  if (service === undefined) return namespace === undefined ? '-' : formatText(`${namespace}/*`);
  return formatText(`${namespace}/${group}/${service}`);
}

/** An instance, or clients. */
function nameTarget({ id, host, address, app, session }: SwitchTarget): string {
  if (id !== undefined) return formatText(id);
  const given = Object.entries({ host, address, app, session }).filter(([, value]) => value !== undefined);
  return given.length === 0 ? '-' : formatText(given.map(([name, value]) => `${name}=${value}`).join(' '));
}

/** What it lays over an instance, over which time it drains, what it limits: in the words of the options that set it. */
function formatWhat({ override: { metadata, ...fields } = {}, overMs, limits }: Switch): string {
  const over = overMs === undefined ? {} : { over: formatAge(overMs) };
  const words = Object.entries({ ...fields, ...over, ...limits }).map(
    ([name, value]) => `${name}=${formatText(String(value))}`,
  );
  const meta = formatMetadata(metadata);
  const all = meta === nothing ? words : [...words, meta];
  return all.length === 0 ? nothing : all.join(' ');
}

function formatSwitches(switches: readonly Switch[], look: TableLook): string {
  if (switches.length === 0) return 'no switch is in force';
  return formatTable(
    ['SWITCH', 'SERVICE', 'TARGET', 'WHAT', 'BY', 'FROM', 'SINCE', 'UNTIL', 'REASON'],
    switches.map(({ kind, by, orderedFrom, since, until, reason, ...order }) => [
      kind,
      nameService(order),
      nameTarget(order),
      formatWhat({ kind, orderedFrom, since, ...order }),
      by === undefined ? '-' : formatText(by),
      formatText(orderedFrom),
      since,
      until ?? '-',
      reason === undefined ? '-' : formatText(reason),
    ]),
    look,
  );
}
