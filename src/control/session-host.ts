import type { AccessTables } from '../access/access-check.ts';
import type { StorePort } from '../durable/commits.ts';
import type { RemovedClaim, SessionInspection, SessionSummary } from '../protocol/http-results.ts';
import type { CounterSnapshot } from '../runtime/counters.ts';
import { emptyFigures } from '../sessions/host-figures.ts';
import type { HostFigures } from '../sessions/host-figures.ts';
import type { LeaseRecord } from '../sessions/lease-record.ts';
import type { LeaseAnswer, LeaseCall } from '../sessions/leases.ts';
import type { GuardOrders } from '../sessions/loss-messages.ts';
import type { DetachOutcome, SessionRecord, SessionSlice, TakeoverOutcome } from '../sessions/session-transfer.ts';
import type { Orders } from '../sessions/standing-orders.ts';
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

/** The weight that a service is declared with; undefined: with none any more. */
export type DeclaredWeight = readonly [key: string, weight: number | undefined];

/** A session of a host, and its place among all sessions of all hosts, by which pages continue. */
export type ListedSession = readonly [place: number, session: SessionSummary];

/** A session, by its number. */
export type DescribedOwner = readonly [owner: number, session: SessionSummary];

/**
 * A session host with all that it needs to reach partitions: its own router, gate and mailboxes. There is one on the main thread, and one on each I/O
 * thread; the code that starts partitions and moves slots addresses all of them in this way. Calls take effect in the order in which they were made.
 */
export interface SessionHost {
  /** By which partitions address it. */
  readonly number: number;
  /** A partition has begun a life: this is the host's mailbox to it. */
  connect(partition: number, port: MailboxPort): void;
  /** A partition that owns no slots any more is about to end. */
  disconnect(partition: number): Promise<void>;
  /** The store, or another life of its thread: it tells the host of keys that sessions watch. */
  connectStore(port: StorePort): void;
  freeze(slots: readonly number[]): void;
  thaw(slots: readonly number[]): void;
  /** `table`: the memory of a slot table, which threads share. */
  adoptTable(table: SharedArrayBuffer): void;
  /** A partition has died, and its slots are frozen. Resolves when everything that it had sent has been processed, to the highest version that it had issued. */
  lose(partition: number): Promise<number>;
  /** Rebuilding, first part: sends the partition the registrations of sessions. Resolves to whether it lived to the end of that. */
  restore(partition: number): Promise<boolean>;
  /** Rebuilding, second part: changes that were in flight, what may not have been pushed, and who subscribes. Resolves like the first. */
  resume(partition: number): Promise<boolean>;
  /** Rebuilding, third part: reads that were in flight. Resolves as the first does. */
  resumeReads(partition: number): Promise<boolean>;
  /** Resolves when the partition has applied everything that this host has sent it, and this host has processed everything that it had sent by then; false if it died first. */
  fence(partition: number): Promise<boolean>;
  /**
   * A thread that replaces one that has ended: grants these leases again, and recovers their registrations from the partitions. Resolves to whether
   * all partitions have sent everything.
   */
  recover(leases: readonly LeaseRecord[]): Promise<boolean>;
  /** Weights that services are declared with, for what is registered there without one; resolves when the host knows them. */
  setDefaultWeights(weights: readonly DeclaredWeight[]): Promise<void>;
  /** What operators have ordered, all of it; resolves when it is in effect for what this host holds. */
  setOrders(orders: Orders): Promise<void>;
  /** Whom the registry knows, and what they may do, all of it; resolves when it is in effect. */
  setAccess(tables: AccessTables): Promise<void>;
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
  /** Takes away what sessions of this host have registered of an instance, whoever they are. Resolves to whose that was, once subscribers are about to be told. */
  removeInstance(key: string, id: string): Promise<RemovedClaim[]>;
  /** How many subscriptions to a service there are. */
  countSubscribers(key: string): Promise<number>;
  /** Those of these sessions that are here. */
  describeOwners(owners: readonly number[]): Promise<DescribedOwner[]>;
  /** What a session holds, this much at most of each kind; undefined: it is not here. */
  inspectSession(session: string, limit: number): Promise<SessionInspection | undefined>;
  /** What a caller of another host does with a lease that is here. */
  carryOutLease(call: LeaseCall): Promise<LeaseAnswer>;
  /** SE8: detaches a session from its connection, for a client that has come back on another host. `done` is called at once, or when nothing is in flight for it. */
  detach(secret: string, done: (outcome: DetachOutcome) => void): void;
  /** The next part of a session that has been detached. With the last it is gone from here; without any it was not there. */
  takeSlice(session: number, done: (slice: SessionSlice | undefined) => void): void;
  /** A part of a session that continues here. */
  bring(slice: SessionSlice): void;
  /** The outcome of a takeover that this host has requested. */
  answerTakeover(call: number, outcome: TakeoverOutcome): void;
  /** A partition's message to another host about a session that is here. */
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
