import { InvalidArgumentError } from 'commander';
import type { Command } from 'commander';

import { partitionsMax } from '../slots/slot-table.ts';
import { askServer } from './administration.ts';
import { AdministrationError } from './exit-codes.ts';
import { formatTable, formatText } from './output.ts';
import { addOutputOption, isForPeople, printResult } from './printing.ts';
import type { OutputOptions } from './printing.ts';
import { addHttpOptions, parseCount } from './registry.ts';
import type { HttpOptions } from './registry.ts';

interface ChangeOptions extends HttpOptions, OutputOptions {
  readonly wait: boolean;
}

/** What `/v1/partitions` answers. */
interface Description {
  readonly epoch: number;
  readonly partitions: readonly { readonly partition: number; readonly state: string; readonly slots: number }[];
  readonly move: {
    readonly isRunning: boolean;
    readonly slotsToMove: number;
    readonly slotsMoved: number;
    readonly stepsRolledBack: number;
    readonly failure?: string;
  };
}

/** How often a change is looked at, in milliseconds. */
const lookMs = 100;

/** `partitions` and `rebalance`. */
export function addPartitionCommands(program: Command): void {
  const partitions = addHttpOptions(
    program
      .command('partitions')
      .description('show the partitions, or raise or lower their number while the registry runs')
      .argument('[count]', 'how many there shall be', parsePartitions)
      .option('--no-wait', 'do not wait until all slots have moved'),
  );
  addOutputOption(partitions).action(async (count: number | undefined, options: ChangeOptions) => {
    if (count === undefined) await print(await askServer<Description>(options, 'readPartitions'), options);
    else await change(options, 'resizePartitions', { partitions: count });
  });
  const rebalance = addHttpOptions(
    program
      .command('rebalance')
      .description('move slots so that partitions hold about equally many instances')
      .option('--no-wait', 'do not wait until all slots have moved'),
  );
  addOutputOption(rebalance).action(async (options: ChangeOptions) => {
    await change(options, 'rebalancePartitions');
  });
}

function parsePartitions(text: string): number {
  const count = parseCount(text);
  if (count < 1 || count > partitionsMax) throw new InvalidArgumentError(`It must be from 1 to ${partitionsMax}.`);
  return count;
}

async function change(
  options: ChangeOptions,
  operation: 'resizePartitions' | 'rebalancePartitions',
  body?: object,
): Promise<void> {
  let description = await askServer<Description>(options, operation, body === undefined ? {} : { body });
  let shown = -1;
  while (options.wait && description.move.isRunning) {
    const { slotsMoved, slotsToMove } = description.move;
    if (slotsMoved !== shown && isForPeople(options)) console.error(`${slotsMoved} of ${slotsToMove} slots moved`);
    shown = slotsMoved;
    await new Promise((resolve) => {
      setTimeout(resolve, lookMs);
    });
    description = await askServer<Description>(options, 'readPartitions');
  }
  await print(description, options);
  if (description.move.failure !== undefined) throw new AdministrationError(description.move.failure);
}

async function print(description: Description, options: OutputOptions): Promise<void> {
  const { partitions } = description;
  await printResult(options, {
    value: description,
    rows: partitions,
    formatTable: (look) =>
      formatTable(
        ['PARTITION', 'STATE', 'SLOTS'],
        partitions.map(({ partition, state, slots }) => [String(partition), formatText(state), String(slots)]),
        look,
      ),
  });
}
