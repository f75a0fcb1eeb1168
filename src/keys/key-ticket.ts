import type { JointPart } from '../durable/commits.ts';
import type { Changes } from './key-evaluation.ts';
import type { KeyAsker, KeyListing, KeyTransaction, PrefixDeletion } from './key-operations.ts';
import type { Ticket } from './key-queues.ts';
import type { KeyRow } from './key-row.ts';

/** What takes its turn: a request, or the release of keys whose holder's session has ended. */
export interface KeyTicket extends Ticket {
  readonly work: KeyWork;
  /** What the commit in flight changes. */
  changes: Changes;
  rows: readonly (KeyRow | undefined)[];
  /** How many keys and bytes there are to be more. */
  growth: Growth;
}

export interface Growth {
  readonly keys: number;
  readonly bytes: number;
}

export type KeyWork =
  | { readonly kind: 'transaction'; readonly transaction: KeyTransaction }
  | { readonly kind: 'listing'; readonly listing: KeyListing }
  | { readonly kind: 'deletion'; readonly deletion: PrefixDeletion; readonly isMore: boolean }
  | { readonly kind: 'release'; readonly holder: string };

const noChanges: Changes = new Map();
const noGrowth: Growth = { keys: 0, bytes: 0 };

/** Bytes of the values that a transaction reads. */
export function measureReads({ operations }: KeyTransaction, rows: readonly (KeyRow | undefined)[]): number {
  let bytes = 0;
  for (const [i, { kind }] of operations.entries()) {
    if (kind === 'get') bytes += Buffer.byteLength(rows[i]?.value ?? '', 'base64');
  }
  return bytes;
}

/** The part of a joint transaction that a ticket is; undefined: it is none. */
export function describePart({ work, rows }: KeyTicket): JointPart | undefined {
  if (work.kind !== 'transaction' || work.transaction.joint === undefined) return undefined;
  return { ...work.transaction.joint, isRefused: false, readBytes: measureReads(work.transaction, rows) };
}

export function createTicket(work: KeyWork, keys: readonly string[]): KeyTicket {
  return { work, keys, blockedBy: 0, changes: noChanges, rows: [], growth: noGrowth };
}

/** Whether it needs all that the partition has. */
export function isWide({ kind }: KeyWork): boolean {
  return kind === 'listing' || kind === 'deletion';
}

export function askerOf(work: KeyWork): KeyAsker | undefined {
  switch (work.kind) {
    case 'transaction':
      return work.transaction.asker;
    case 'listing':
      return work.listing.asker;
    case 'deletion':
      return work.deletion.asker;
    case 'release':
      return undefined;
    default:
      return work satisfies never;
  }
}
