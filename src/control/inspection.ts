import type { PartitionLink } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import { slotCount } from '../slots/slot.ts';
import { fromFields, fromPartition, toPartition } from '../workers/messages.ts';
import type { Hosts } from './hosts.ts';
import type { LoggedInstance } from './session-host.ts';

/** What each side says that it holds; in a quiet registry they must agree. */
export interface Inspection {
  readonly epoch: number;
  /** The partition that owns each slot. */
  readonly owners: readonly number[];
  /** What sessions and leases hold, by their logs. */
  readonly logged: readonly LoggedInstance[];
  /** Instances that partitions hold, by slot. */
  readonly held: readonly { readonly partition: number; readonly slot: number; readonly instances: number }[];
}

/** Asks both sides, for checkers. Every slot must be open. */
export async function inspectRegistry(hosts: Hosts): Promise<Inspection> {
  const { router } = hosts.main;
  const held = await Promise.all(router.links().map((link) => measure(router, link)));
  const { table } = router;
  const logs = await Promise.all(hosts.all().map((host) => host.readLog()));
  const owners = Array.from({ length: slotCount }, (_, slot) => table.ownerOf(slot));
  return { epoch: table.epoch, owners, logged: logs.flat(), held: held.flat() };
}

function measure(router: Router, link: PartitionLink): Promise<Inspection['held'][number][]> {
  return new Promise((resolve, reject) => {
    router.askLink(link, {
      key: '',
      build: (request) => [toPartition.measure, request],
      settle: (answer) => {
        if (answer[0] !== fromPartition.measured) throw new Error(`not an answer to a measurement: ${answer[0]}`);
        const loads = answer[fromFields.measured.loads];
        const { partition } = link;
        const slots = Array.from({ length: loads.length / 3 }, (_, i) => i * 3);
        resolve(slots.map((at) => ({ partition, slot: loads[at]!, instances: loads[at + 1]! })));
      },
      abandon: () => {
        reject(new Error(`partition ${link.partition} died while it was asked`));
      },
    });
  });
}
