import type {
  Instance,
  InstanceFilter,
  InstanceInput,
  ListParams,
  QueryParams,
  ServiceName,
  SubscribeMode,
} from '../protocol/types.ts';
import type { View } from './view.ts';

/** Names a call of the user that waits to be settled. */
export type Ticket = number;

/**
 * Where a standing wish is with the server: not told yet, waiting to be sent, sent, in force, or refused for a while.
 * All go back to `unsent` when the connection is lost.
 */
type Phase = 'unsent' | 'queued' | 'sent' | 'settled' | 'refused';

/** An instance that is to be registered whenever there is a connection. */
export interface RegistrationEntry {
  readonly kind: 'registration';
  readonly key: string;
  readonly service: ServiceName;
  readonly id: string;
  /** What is wanted. */
  instance: InstanceInput;
  /** What the server last said yes to: what is fallen back to when a later content is refused. */
  accepted: InstanceInput | undefined;
  /** The socket on which `accepted` was acknowledged. */
  acceptedOn: number;
  /** The socket on which it was last sent: the session there may hold it. */
  sentOn: number;
  phase: Phase;
  /** The content changed while a request was under way. */
  isChanged: boolean;
  /** `refused`: when to try again. */
  dueAtMs: number;
  version: number;
  /** Tickets whose content has not been sent. */
  waiting: Ticket[];
  /** Tickets that the request under way will settle. */
  riding: Ticket[];
}

/** A service that is to be subscribed whenever there is a connection, and what is known of it. */
export interface SubscriptionEntry {
  readonly kind: 'subscription';
  readonly key: string;
  readonly service: ServiceName;
  readonly mode: SubscribeMode;
  /** As it is sent: without what is not asked for. */
  readonly filter: InstanceFilter;
  readonly view: View;
  phase: Phase;
  dueAtMs: number;
  /** The view does not chain any more: the next request names no version. */
  wantsSnapshot: boolean;
  /** The highest version of a push that came before the answer to the request under way. */
  missedTo: number;
  /** How many `Subscription`s show this view. */
  handles: number;
  waiting: Ticket[];
}

/** A question that is asked once, or, when the connection breaks before the answer, once more. */
export interface Read {
  readonly kind: 'read';
  readonly ticket: Ticket;
  readonly request:
    | { readonly method: 'service.query'; readonly params: QueryParams }
    | { readonly method: 'service.list'; readonly params: ListParams };
  isSent: boolean;
}

export interface Withdrawal {
  readonly kind: 'withdrawal';
  readonly service: ServiceName;
  readonly id: string;
  /** Without one nobody waits for it. */
  readonly ticket: Ticket | undefined;
}

/** The server is to forget a subscription. */
export interface Unsubscription {
  readonly kind: 'unsubscription';
  readonly service: ServiceName;
}

/** Something to tell the server, once it can be sent. */
export type Errand = RegistrationEntry | SubscriptionEntry | Read | Withdrawal | Unsubscription;

/** Something that the server was too busy for. */
export interface Postponed {
  readonly errand: Withdrawal | Unsubscription;
  readonly dueAtMs: number;
}

/** A request that the server has not answered. */
export interface InFlight {
  readonly errand: Errand | { readonly kind: 'open' } | { readonly kind: 'probe' };
  readonly deadlineMs: number;
  /** A registration's content as it was sent. */
  readonly content: InstanceInput | undefined;
}

export interface TicketEntry {
  readonly deadlineMs: number;
  readonly owner: RegistrationEntry | SubscriptionEntry | Read | Withdrawal | { readonly kind: 'connection' };
}

/**
 * All that a client holds beside its connection. Collections are updated in place: copying ten thousand registrations for each of
 * their acknowledgements would be quadratic. Tickets and requests have one timeout each, so the first is always the next due.
 */
export interface Books {
  readonly registrations: Map<string, RegistrationEntry>;
  readonly subscriptions: Map<string, SubscriptionEntry>;
  readonly reads: Set<Read>;
  readonly tickets: Map<Ticket, TicketEntry>;
  readonly inFlight: Map<number, InFlight>;
  outbox: Errand[];
  /** No more than there were requests in flight. */
  postponed: Postponed[];
  nextRequest: number;
  /** When the first refused or postponed of all is due again. */
  retryAtMs: number | undefined;
}

export function createBooks(): Books {
  return {
    registrations: new Map(),
    subscriptions: new Map(),
    reads: new Set(),
    tickets: new Map(),
    inFlight: new Map(),
    outbox: [],
    postponed: [],
    nextRequest: 1,
    retryAtMs: undefined,
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
