import type { PartitionLink } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import type { LeaseRecord } from '../sessions/lease-record.ts';
import type { SessionCore } from '../sessions/session-core.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';

export interface LeaseRecoveryOptions {
  readonly core: SessionCore;
  readonly router: Router;
  /** Of the host itself. */
  readonly number: number;
  readonly leases: readonly LeaseRecord[];
}

/**
 * Grants leases again on a host whose thread is new, each with its full time, and recovers their registrations from the partitions. What they hold for others
 * is of leases that were ending, and goes. Resolves to whether all partitions lived to tell all.
 */
export async function recoverLeases({ core, router, number, leases }: LeaseRecoveryOptions): Promise<boolean> {
  for (const lease of leases) core.sessions.restoreLease(lease);
  const links = router.links();
  for (const { lease, mayHold } of leases) {
    const holder = mayHold ? core.sessions.findLease(lease)?.identity.holder : undefined;
    if (holder !== undefined) for (const link of links) link.tell([toPartition.vouch, holder]);
  }
  // Those of the thread before that have not been vouched for have ended.
  if (core.areHoldersKnown) for (const link of links) link.tell([toPartition.releaseOrphans]);
  const outcomes = await Promise.all(links.map((link) => recallFrom(link, { core, router, number })));
  if (!outcomes.every(Boolean)) return false;
  // One whose last registration went, or had not come yet: whoever renews it must learn that it keeps nothing alive.
  for (const { number: session } of leases) core.sessions.endEmptied(core.sessions.find(session));
  return true;
}

export type Recall = Pick<LeaseRecoveryOptions, 'core' | 'router' | 'number'>;

/** Recovers what a partition holds for the host's sessions. Resolves to whether it lived to tell all. */
export async function recallFrom(link: PartitionLink, recall: Recall): Promise<boolean> {
  let after: string | undefined = '';
  do {
    after = await recallPart(link, recall, after);
  } while (after !== undefined && after !== '');
  return after !== undefined;
}

/** Resolves to where to continue; empty: that was all. Undefined: the partition has died. */
function recallPart(link: PartitionLink, { core, router, number }: Recall, after: string): Promise<string | undefined> {
  if (link.isClosed) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    router.askLink(link, {
      key: '',
      build: (request) => [toPartition.recall, request, number, after],
      settle: (answer) => {
        if (answer[0] !== fromPartition.recalled) throw new Error(`not an answer to a recall: ${answer[0]}`);
        const [, , claims, next] = answer;
        // At once: what the partition says of these claims afterwards may lie in the same batch.
        core.takeBack(claims);
        resolve(next);
      },
      abandon: () => {
        resolve(undefined);
      },
    });
  });
}
