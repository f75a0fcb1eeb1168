import type { SessionSummary } from '../protocol/http-results.ts';
import type { CounterSnapshot } from '../runtime/counters.ts';
import { emptyFigures } from '../sessions/host-figures.ts';
import type { HostFigures } from '../sessions/host-figures.ts';
import type { LeaseRecord } from '../sessions/lease-record.ts';
import type { LeaseAnswer, LeaseCall } from '../sessions/leases.ts';
import type { GuardOrders } from '../sessions/loss-messages.ts';
import type { DetachOutcome, SessionRecord, SessionSlice, TakeoverOutcome } from '../sessions/session-transfer.ts';
import type { MailboxPort } from '../workers/runner.ts';

/** What a session host holds and has counted. */
export interface HostState {
  /** Connected sessions. */
  readonly sessions: number;
  readonly leases: number;
  readonly registrations: number;
  readonly counters: CounterSnapshot;
  readonly requestsWaiting: number;
  readonly slotShutMaxMs: number;
  /** By partition. */
  readonly requestsInFlight: readonly number[];
  readonly figures: HostFigures;
}

/** An instance in a session's log, for checkers. */
export interface LoggedInstance {
  readonly key: string;
  readonly id: string;
  readonly fragment: string;
  /** Another session has registered the instance since (SE7). */
  readonly isHidden: boolean;
  /** The name of the session that has it. */
  readonly session: string;
}

/** A session of a host, and its place among all sessions of all hosts, by which pages go on. */
export type ListedSession = readonly [place: number, session: SessionSummary];

/**
 * A session host with all that it needs to reach partitions: its own router, gate and mailboxes. There is one on the main thread, and one on each I/O
 * thread; whoever starts partitions and moves slots speaks to all of them in this way. What is told takes effect in the order in which it was told.
 */
export interface SessionHost {
  /** By which partitions address it. */
  readonly number: number;
  /** A partition has begun a life: this is the host's mailbox to it. */
  connect(partition: number, port: MailboxPort): void;
  /** A partition that owns no slots any more is about to end. */
  disconnect(partition: number): Promise<void>;
  freeze(slots: readonly number[]): void;
  thaw(slots: readonly number[]): void;
  /** `table`: the memory of a slot table, which threads share. */
  adoptTable(table: SharedArrayBuffer): void;
  /** A partition has died, and its slots are frozen. Resolves when all that it said before has been heard, to the highest version that it told of. */
  lose(partition: number): Promise<number>;
  /** Rebuilding, first part: tells the partition what sessions hold. Resolves to whether it lived to the end of it. */
  restore(partition: number): Promise<boolean>;
  /** Rebuilding, second part: changes that were under way, what may not have been told, and who subscribes. Resolves as the first does. */
  resume(partition: number): Promise<boolean>;
  /** Rebuilding, third part: reads that were under way. Resolves as the first does. */
  resumeReads(partition: number): Promise<boolean>;
  /** Resolves when the partition has applied all that this host told it so far, and this host has taken all that it said by then; false if it died first. */
  fence(partition: number): Promise<boolean>;
  /**
   * A thread that takes the place of one that has ended: grants these leases anew, and gets back from the partitions what they hold for them. Resolves to whether
   * all partitions have told all.
   */
  recover(leases: readonly LeaseRecord[]): Promise<boolean>;
  /** Something that a partition held is gone, and nobody knows what: whoever subscribes to its services gets the latest state. */
  refresh(partition: number): void;
  /** Asks all sessions to leave; from now on no departure is pushed to subscribers. */
  drain(reason: string): void;
  /** Closes all sessions; resolves when that is done. */
  closeAll(): Promise<void>;
  /** Asks a share of the sessions, 0 to 1, to reconnect within a time. Resolves to how many. */
  requestReconnect(reason: string, share: number, spreadMs: number): Promise<number>;
  /** The guard of the whole registry has decided something, or asks. */
  obeyGuard(orders: GuardOrders): void;
  readState(): Promise<HostState>;
  readLog(): Promise<LoggedInstance[]>;
  /** Sessions with places above `after`, `limit` at most. */
  readSessions(after: number, limit: number): Promise<ListedSession[]>;
  /** What a caller of another host does with a lease that is here. */
  carryOutLease(call: LeaseCall): Promise<LeaseAnswer>;
  /** SE8: detaches a session from its connection, for a client that has come back on another host. `done` is called at once, or when nothing is under way for it. */
  detach(secret: string, done: (outcome: DetachOutcome) => void): void;
  /** The next part of a session that has been detached. With the last it is gone from here; without any it was not there. */
  takeSlice(session: number, done: (slice: SessionSlice | undefined) => void): void;
  /** A part of a session that goes on here. */
  bring(slice: SessionSlice): void;
  /** The outcome of a takeover that this host has requested. */
  answerTakeover(call: number, outcome: TakeoverOutcome): void;
  /** What a partition told another host of a session that is here. */
  handleMisrouted(record: SessionRecord): void;
}

/** Of a host that holds nothing. */
export function emptyState(counters: CounterSnapshot): HostState {
  return {
    sessions: 0,
    leases: 0,
    registrations: 0,
    counters,
    requestsWaiting: 0,
    slotShutMaxMs: 0,
    requestsInFlight: [],
    figures: emptyFigures(),
  };
}
