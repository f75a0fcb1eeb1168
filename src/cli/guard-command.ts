import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import type { ReleaseBody } from '../protocol/http-operations.ts';
import type { GuardResult } from '../protocol/http-results.ts';
import type { Switch, SwitchesResult } from '../protocol/switches.ts';
import { askServer } from './administration.ts';
import { formatTable, formatText } from './output.ts';
import type { TableLook } from './output.ts';
import { addOutputOption, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { formatAge } from './quantities.ts';
import { addHttpOptions, addNameOptions, readNameOptions } from './registry.ts';
import type { HttpOptions, NameOptions } from './registry.ts';

type GuardOptions = HttpOptions & OutputOptions;

interface ReleaseOptions extends HttpOptions, OutputOptions, NameOptions {
  readonly all: boolean;
}

/** `guard` and `guard release`; returns `guard`, which has more. */
export function addGuardCommands(program: Command): Command {
  const guard = program.command('guard').description('show what loss guards hold back from removal, or release it');
  const show = guard
    .command('show', { isDefault: true })
    .description('show what is held back, and by which thresholds');
  addOutputOption(addHttpOptions(show)).action(async (options: GuardOptions) => {
    await print(await askServer<GuardResult>(options, 'readGuard'), options);
  });
  const release = guard
    .command('release')
    .description('remove what is held back: of a service, or with --all everything')
    .argument('[service]', 'name of the service')
    .option('--all', 'everything that is held back', false);
  addOutputOption(addHttpOptions(addNameOptions(release))).action(
    async (service: string | undefined, options: ReleaseOptions) => {
      if ((service === undefined) !== options.all) throw new InvalidArgumentError('Either a service or --all.');
      const body: ReleaseBody = service === undefined ? {} : { service, ...readNameOptions(options) };
      await print(await askServer<GuardResult>(options, 'releaseGuard', { body }), options);
    },
  );
  return guard;
}

async function print(result: GuardResult, options: GuardOptions): Promise<void> {
  const { services } = result;
  const { switches } = await askServer<SwitchesResult>(options, 'listSwitches');
  const orders = switches.filter(({ kind }) => kind === 'guard-hold' || kind === 'guard-off');
  await printResult(options, {
    value: result,
    rows: services,
    formatTable: (look) => [formatGuard(result, look), ...orders.map(formatOrder)].join('\n'),
  });
}

/** An order that stands instead of what the guard would decide. */
function formatOrder({ kind, service, namespace, group }: Switch): string {
  const what = kind === 'guard-hold' ? 'by order nothing that is lost is removed' : 'by order nothing is held back';
  return service === undefined ? what : `${what} of ${formatText(`${namespace}/${group}/${service}`)}`;
}

function formatGuard(result: GuardResult, look: TableLook): string {
  const { isHolding, holdingForMs = 0, missingSessions, sessions, heldSessions, heldInstances, services } = result;
  const lines = [
    isHolding
      ? `the registry-wide guard has held back removals for ${formatAge(holdingForMs)}`
      : 'the registry-wide guard holds nothing back',
    `${missingSessions} of ${sessions} sessions are missing; ${heldSessions} are held back with ${heldInstances} instances`,
  ];
  if (services.length > 0) {
    const rows = services.map(({ key, holdingForMs: forMs, missing, total }) => [
      formatText(key),
      formatAge(forMs),
      String(missing),
      String(total),
    ]);
    lines.push('', formatTable(['SERVICE', 'HELD FOR', 'MISSING', 'INSTANCES'], rows, look));
  }
  return lines.join('\n');
}
