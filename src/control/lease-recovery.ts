import type { PartitionLink } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import type { LeaseRecord } from '../sessions/lease-record.ts';
import type { SessionHost } from '../sessions/session-host.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';

export interface LeaseRecoveryOptions {
  readonly host: SessionHost;
  readonly router: Router;
  /** Of the host itself. */
  readonly number: number;
  readonly leases: readonly LeaseRecord[];
}

/** A part of what a partition holds for the sessions of a host: six fields a claim, and where to go on; empty: that was all. */
interface RecalledPart {
  readonly claims: readonly (string | number)[];
  readonly next: string;
}

/**
 * Grants leases anew on a host whose thread is new, each with all its time, and gets back from the partitions what they hold for them. What they hold for others
 * is of leases that were ending, and goes. Resolves to whether all partitions lived to tell all.
 */
export async function recoverLeases({ host, router, number, leases }: LeaseRecoveryOptions): Promise<boolean> {
  for (const lease of leases) host.sessions.restoreLease(lease);
  const links = router.links();
  const outcomes = await Promise.all(links.map((link) => recallFrom(link, { host, router, number })));
  if (!outcomes.every(Boolean)) return false;
  // One whose last registration went, or had not come yet: whoever renews it must learn that it keeps nothing alive.
  for (const { number: session } of leases) host.sessions.endEmptied(host.sessions.find(session));
  return true;
}

async function recallFrom(
  link: PartitionLink,
  { host, router, number }: Pick<LeaseRecoveryOptions, 'host' | 'router' | 'number'>,
): Promise<boolean> {
  for (let after = ''; ;) {
    const part = await ask(link, router, number, after);
    if (part === undefined) return false;
    host.takeBack(part.claims);
    if (part.next === '') return true;
    after = part.next;
  }
}

/** Undefined: the partition has died. */
function ask(link: PartitionLink, router: Router, number: number, after: string): Promise<RecalledPart | undefined> {
  if (link.isClosed) return Promise.resolve(undefined);
  return new Promise((resolve) => {
    router.askLink(link, {
      key: '',
      build: (request) => [toPartition.recall, request, number, after],
      settle: (answer) => {
        if (answer[0] !== fromPartition.recalled) throw new Error(`not an answer to a recall: ${answer[0]}`);
        const [, , claims, next] = answer;
        resolve({ claims, next });
      },
      abandon: () => {
        resolve(undefined);
      },
    });
  });
}
