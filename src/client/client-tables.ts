import type { Instance, InstanceInput, ServiceName } from '../protocol/types.ts';
import type { FilteredView, RegistrationEntry, SubscriptionEntry, Ticket } from './entries.ts';
import type { SlotcastError } from './errors.ts';
import type { ExchangeRequest } from './exchange-requests.ts';
import type { LockEntry, LockRequest, LockWait } from './lock-entries.ts';
import type { Unwatch, WatchEntry, Watcher } from './watch-entries.ts';

/** One request for one call: nothing of the client's state depends on it. */
export interface Exchange {
  readonly kind: 'exchange';
  readonly ticket: Ticket;
  readonly request: ExchangeRequest;
  isSent: boolean;
}

/** The server is to forget a subscription. */
export interface Unsubscription {
  readonly kind: 'unsubscription';
  readonly service: ServiceName;
}

/** What a resumed session holds is read, page by page, to be compared with what is wanted. */
export interface Reconciliation {
  readonly kind: 'reconciliation';
  /** Hashes by the registration's name. */
  readonly hashes: Map<string, { readonly service: ServiceName; readonly id: string; readonly hash: string }>;
  cursor: string | undefined;
}

/** Something to tell the server, once it can be sent. */
export type PendingOperation =
  | RegistrationEntry
  | SubscriptionEntry
  | Exchange
  | Unsubscription
  | LockRequest
  | WatchEntry
  | Unwatch;

/** Something that the server was too busy for. */
export interface Postponed {
  readonly operation: Unsubscription | Unwatch | Reconciliation;
  readonly dueAtMs: number;
}

/** How `session.open` is said: servers from before refuse what they do not know. `unversioned`: without `protocol`; `plain`: as at first. */
export type OpenForm = 'full' | 'unversioned' | 'plain';

/** A request that the server has not answered. */
export interface InFlight {
  readonly operation:
    | PendingOperation
    | Reconciliation
    | { readonly kind: 'open'; readonly form: OpenForm }
    | { readonly kind: 'probe' };
  readonly socket: number;
  readonly sentAtMs: number;
  readonly deadlineMs: number;
  /** How many requests went out in one frame with it, itself among them. */
  entries: number;
  /** A registration's content as it was sent; undefined when it was taken away. */
  readonly content: InstanceInput | undefined;
  /** What was sent of it is its health. */
  readonly isHealthReport: boolean;
}

export interface TicketEntry {
  /** Undefined: it waits for as long as it takes. */
  readonly deadlineMs: number | undefined;
  readonly timeoutMs: number | undefined;
  /** A deregistration that waits for the server also while cut off. */
  readonly isPatient: boolean;
  readonly owner:
    | RegistrationEntry
    | FilteredView
    | Exchange
    | LockWait
    | Watcher
    | { readonly kind: 'connection' | 'unlock' };
}

/** A connection that has been replaced by another, kept until that one has all its registrations. */
export interface PreviousConnection {
  readonly socket: number;
  /** What the new session has not acknowledged yet. */
  readonly missing: Set<RegistrationEntry>;
  readonly untilMs: number;
  readonly isClosing: boolean;
}

/**
 * All that a client holds in addition to its connection. Collections are updated in place: copying ten thousand registrations for each of
 * their acknowledgements would be quadratic. Requests have one timeout each, so the first is always the next due.
 */
export interface ClientTables {
  readonly registrations: Map<string, RegistrationEntry>;
  readonly subscriptions: Map<string, SubscriptionEntry>;
  readonly exchanges: Set<Exchange>;
  readonly locks: Map<string, LockEntry>;
  /** By what is watched. */
  readonly watches: Map<string, WatchEntry>;
  /** The server of the present session has no watches, or no more of them, for locks. */
  isWatchingRefused: boolean;
  readonly tickets: Map<Ticket, TicketEntry>;
  /** Tickets by their timeout: of those with the same one the first is always the next due. */
  readonly ticketsByTimeout: Map<number, Set<Ticket>>;
  readonly inFlight: Map<number, InFlight>;
  outbox: PendingOperation[];
  /** How many requests go into one batch: fewer since the server had no room for the answers of one. */
  entriesPerBatchMax: number;
  /** No more than there were requests in flight. */
  postponed: Postponed[];
  nextRequest: number;
  /** When the first refused or postponed of all is due again, or the first kept instance is to go. */
  retryAtMs: number | undefined;
  /** With it the last session can be resumed. */
  secret: string | undefined;
  /** The newest that was given, if each connection asks for one. */
  token: string | undefined;
  /** For how long the server keeps the session of a broken connection; undefined if it does not say. */
  graceMs: number | undefined;
  /** When the last request was sent that has been answered: the session was alive at that time, or later. */
  provenAtMs: number;
  /** When a sign of life was asked for last. */
  probedAtMs: number;
  /** The registry that the last session was with; undefined before the first, and with servers that do not say. */
  registry: string | undefined;
  /** What the server of the last session offers of what not every server does. */
  offers: readonly string[];
  /** Why the client has given up, if it has. */
  ended: SlotcastError | undefined;
  /** The registry has just started: it waits with answers to those who were there before. */
  isWarming: boolean;
  /** While it continues no registration is sent. */
  reconciliation: Reconciliation | undefined;
  previousConnection: PreviousConnection | undefined;
}

export function createTables(): ClientTables {
  return {
    registrations: new Map(),
    subscriptions: new Map(),
    exchanges: new Set(),
    locks: new Map(),
    watches: new Map(),
    isWatchingRefused: false,
    tickets: new Map(),
    ticketsByTimeout: new Map(),
    inFlight: new Map(),
    outbox: [],
    entriesPerBatchMax: Infinity,
    postponed: [],
    nextRequest: 1,
    retryAtMs: undefined,
    secret: undefined,
    token: undefined,
    graceMs: undefined,
    provenAtMs: 0,
    probedAtMs: 0,
    registry: undefined,
    offers: [],
    ended: undefined,
    isWarming: false,
    reconciliation: undefined,
    previousConnection: undefined,
  };
}

/** Names a registration of this client. */
export function registrationName(key: string, id: string): string {
  return `${key}\n${id}`;
}

/** The id that the server gives an instance that has none. */
export function instanceIdOf(instance: InstanceInput | Instance): string {
  return instance.id ?? `${instance.host}:${instance.port}`;
}
