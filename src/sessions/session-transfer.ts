import type { Unasked } from '../routing/partition-link.ts';
import type { fromPartition } from '../workers/messages.ts';
import type { SessionIdentity } from './session.ts';
import type { Orders } from './standing-orders.ts';

/** What a partition says of one session: the number comes first. */
export type SessionRecord = Extract<Unasked, [typeof fromPartition.claim, ...unknown[]]>;

/** What a host sends to the main thread about sessions that start on one host and continue on another. */
export type TransferEvent =
  /** A client has come back here whose session is on another host; `call` numbers the takeover request. */
  | { readonly kind: 'takeover'; readonly call: number; readonly secret: string }
  /** A partition said something of a session that has left this host, be it that it is back: only so nothing of it overtakes what was said before. */
  | { readonly kind: 'misrouted'; readonly record: SessionRecord }
  /** A session that had been on another host has ended here. */
  | { readonly kind: 'gone'; readonly session: number };

/** Whether a session has been detached for another host; `busy`: its requests in flight did not end in time. */
export type DetachOutcome = 'detached' | 'absent' | 'busy';

/** The outcome of a takeover request: the session is here now, there is none, or it could not be detached in time. */
export type TakeoverOutcome = 'here' | 'absent' | 'busy';

/** A part of a session on its way to another host. */
export interface SessionSlice extends Pick<SessionIdentity, 'number' | 'name' | 'secret' | 'mayHold' | 'holder'> {
  /** Where its caller was last. */
  readonly address: string;
  readonly app?: string | undefined;
  /** What operators had ordered when it was detached. */
  readonly orders: Orders;
  /** Four fields a registration, in their order: service's key, fragment, stamp, and how it stands among other sessions' claims. */
  readonly registrations: readonly (string | number)[];
  readonly isLast: boolean;
}
