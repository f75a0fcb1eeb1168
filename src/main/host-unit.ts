import type { SlotTable } from '../slots/slot-table.ts';
import type { HostFigures } from './host-figures.ts';
import type { GuardDescription } from './loss-guard.ts';
import type { MailboxPort } from './partition-link.ts';

/** What a session host holds and has counted. */
export interface UnitState {
  /** Connected sessions. */
  readonly sessions: number;
  readonly leases: number;
  readonly registrations: number;
  /** Counts by reason. */
  readonly counters: Readonly<Record<string, number>>;
  readonly requestsWaiting: number;
  readonly slotShutMaxMs: number;
  /** By partition. */
  readonly requestsInFlight: readonly number[];
  readonly guard: GuardState;
  readonly figures: HostFigures;
}

/** What the guards of a host hold back, and how much. */
export type GuardState = GuardDescription & { readonly heldSessions: number; readonly heldInstances: number };

/** An instance in a session's log, for checkers. */
export interface LoggedInstance {
  readonly key: string;
  readonly id: string;
  readonly fragment: string;
}

/**
 * A session host with all that it needs to reach partitions: its own router, gate and mailboxes. There is one on the main thread, and one on each I/O
 * thread; whoever starts partitions and moves slots speaks to all of them in this way. What is told takes effect in the order in which it was told.
 */
export interface HostUnit {
  /** By which partitions address it. */
  readonly number: number;
  /** A partition has begun a life: this is the host's mailbox to it. */
  connect(partition: number, port: MailboxPort): void;
  /** A partition that owns no slots any more is about to end. */
  disconnect(partition: number): Promise<void>;
  shut(slots: readonly number[]): void;
  open(slots: readonly number[]): void;
  adoptTable(table: SlotTable): void;
  /** A partition has died, and its slots are shut. Resolves when all that it said before has been heard, to the highest version that it told of. */
  lose(partition: number): Promise<number>;
  /** Rebuilding, first part: tells the partition what sessions hold. Resolves to whether it lived to the end of it. */
  restore(partition: number): Promise<boolean>;
  /** Rebuilding, second part: who subscribes, what may not have been told, and what was under way. Resolves as the first does. */
  resume(partition: number): Promise<boolean>;
  /** Resolves when the partition has applied all that this host told it so far, and this host has taken all that it said by then; false if it died first. */
  fence(partition: number): Promise<boolean>;
  /** Says goodbye to all sessions; from now on nobody's leaving is told to others. */
  drain(reason: string): void;
  /** Closes all sessions; resolves when that is done. */
  closeAll(): Promise<void>;
  /** Asks a share of the sessions, 0 to 1, to connect anew within a time. Resolves to how many. */
  sendAway(reason: string, share: number, spreadMs: number): Promise<number>;
  releaseGuard(key: string | undefined): void;
  readState(): Promise<UnitState>;
  readLog(): Promise<LoggedInstance[]>;
}
