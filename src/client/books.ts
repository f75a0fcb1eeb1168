import type {
  Instance,
  InstanceFilter,
  InstanceInput,
  ListParams,
  QueryParams,
  ServiceName,
  SubscribeMode,
} from '../protocol/types.ts';
import type { SlotcastError } from './errors.ts';
import type { FilteredView } from './filtered-view.ts';
import type { View } from './view.ts';

/** Names a call of the user that waits to be settled. */
export type Ticket = number;

/**
 * Where a standing wish is with the server: not told yet, waiting to be sent, sent, in force, or refused for a while.
 * All go back to `unsent` when the connection is lost.
 */
type Phase = 'unsent' | 'queued' | 'sent' | 'settled' | 'refused';

/** An instance that is to be registered whenever there is a connection, or to be taken away. One request at a time is about it. */
export interface RegistrationEntry {
  readonly kind: 'registration';
  readonly key: string;
  readonly service: ServiceName;
  readonly id: string;
  /** What is wanted; undefined: that it goes. It is forgotten once the server holds nothing of it. */
  wanted: InstanceInput | undefined;
  /** What a server last said yes to: what is fallen back to when a later content is refused. */
  accepted: InstanceInput | undefined;
  /** What the present session, or the one to be resumed, has acknowledged to hold. */
  held: InstanceInput | undefined;
  /** A request whose outcome is not known has been sent since, so the session may hold something else. */
  isUnsure: boolean;
  phase: Phase;
  /** The wish changed while a request was under way. */
  isChanged: boolean;
  /** `refused`: when to try again. */
  dueAtMs: number;
  version: number;
  /** It stands though nobody waits for it and no server has accepted it yet. */
  isStanding: boolean;
  /** Whether it is what subscribers see: another session may have registered the same instance later. */
  isShown: boolean;
  /** Tickets whose content has not been sent. */
  waiting: Ticket[];
  /** Tickets that the request under way will settle. */
  riding: Ticket[];
  /** Tickets of those who took it away. */
  leaving: Ticket[];
}

/** A service that is subscribed whenever there is a connection, and what is known of it. A session has one subscription to a service. */
export interface SubscriptionEntry {
  readonly kind: 'subscription';
  readonly key: string;
  readonly service: ServiceName;
  readonly mode: SubscribeMode;
  /** What is asked for: what all who look have in common. As it is sent: without what lets everything through. */
  filter: InstanceFilter;
  readonly view: View;
  /** The filter that the view was answered with. */
  viewFilter: InstanceFilter;
  /** The filter of the request under way, or of the last one. */
  sentFilter: InstanceFilter;
  /** What users see, by the text of their filter. */
  readonly filtered: Map<string, FilteredView>;
  phase: Phase;
  /** The filter changed while a request was under way. */
  isChanged: boolean;
  dueAtMs: number;
  /** The view does not chain any more: the next request names no version. */
  wantsSnapshot: boolean;
  /** The view's version is of another registry, and means nothing to this one. */
  isForeign: boolean;
  /** The present session has answered it before. */
  isAnswered: boolean;
  /** The registry that answered has just started. */
  isWarming: boolean;
  /** It lets what is held stand until it knows better: the first push will be the list as it is. */
  isAwaitingList: boolean;
  /** Until then, instances stay that are known from before and that the registry has not told of. */
  keepUntilMs: number | undefined;
  /** As many instances as were known then: when the registry has so many, the others have gone. */
  keepCount: number;
  /** The highest version of a push that came before the answer to the request under way. */
  missedTo: number;
  /** The cache is being read. */
  isLoading: boolean;
  /** Until then those who subscribed wait for a registry, although the cache may have a list. */
  cacheDueAtMs: number | undefined;
  /** The view is as the cache had it: no registry has told anything of it since. */
  isFromCache: boolean;
  /** The registry that the cached list is of. */
  cachedRegistry: string | undefined;
  /** When the list, which has changed since it was saved, is saved. */
  saveAtMs: number | undefined;
  /** Tickets of those who need not wait for a list. */
  readonly standing: Set<Ticket>;
  /** What users were last told: whether the list may be behind. */
  isToldStale: boolean;
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
export type Errand = RegistrationEntry | SubscriptionEntry | Read | Unsubscription;

/** Something that the server was too busy for. */
export interface Postponed {
  readonly errand: Unsubscription | Reconciliation;
  readonly dueAtMs: number;
}

/** How `session.open` is said: servers from before refuse what they do not know. `unversioned`: without `protocol`; `plain`: as at first. */
export type OpenWording = 'full' | 'unversioned' | 'plain';

/** A request that the server has not answered. */
export interface InFlight {
  readonly errand:
    | Errand
    | Reconciliation
    | { readonly kind: 'open'; readonly wording: OpenWording }
    | { readonly kind: 'probe' };
  readonly socket: number;
  readonly deadlineMs: number;
  /** A registration's content as it was sent; undefined when it was taken away. */
  readonly content: InstanceInput | undefined;
}

export interface TicketEntry {
  /** Undefined: it waits for as long as it takes. */
  readonly deadlineMs: number | undefined;
  readonly timeoutMs: number | undefined;
  /** A deregistration that waits for the server also while cut off. */
  readonly isPatient: boolean;
  owner: RegistrationEntry | FilteredView | Read | { readonly kind: 'connection' };
}

/** A connection that another has taken the place of, kept until that one has all that it held. */
export interface Former {
  readonly socket: number;
  /** What the new session has not acknowledged yet. */
  readonly missing: Set<RegistrationEntry>;
  readonly untilMs: number;
  readonly isClosing: boolean;
}

/**
 * All that a client holds beside its connection. Collections are updated in place: copying ten thousand registrations for each of
 * their acknowledgements would be quadratic. Requests have one timeout each, so the first is always the next due.
 */
export interface Books {
  readonly registrations: Map<string, RegistrationEntry>;
  readonly subscriptions: Map<string, SubscriptionEntry>;
  readonly reads: Set<Read>;
  readonly tickets: Map<Ticket, TicketEntry>;
  /** Tickets by their timeout: of those with the same one the first is always the next due. */
  readonly ticketsByTimeout: Map<number, Set<Ticket>>;
  readonly inFlight: Map<number, InFlight>;
  outbox: Errand[];
  /** No more than there were requests in flight. */
  postponed: Postponed[];
  nextRequest: number;
  /** When the first refused or postponed of all is due again, or the first kept instance is to go. */
  retryAtMs: number | undefined;
  /** With it the last session can be resumed. */
  secret: string | undefined;
  /** The registry that the last session was with; undefined before the first, and with servers that do not say. */
  registry: string | undefined;
  /** What the server of the last session offers of what not every server does. */
  offers: readonly string[];
  /** Why the client has given up, if it has. */
  ended: SlotcastError | undefined;
  /** The registry has just started: it waits with answers to those who were there before. */
  isWarming: boolean;
  /** While it goes on no registration is sent. */
  reconciliation: Reconciliation | undefined;
  former: Former | undefined;
}

export function createBooks(): Books {
  return {
    registrations: new Map(),
    subscriptions: new Map(),
    reads: new Set(),
    tickets: new Map(),
    ticketsByTimeout: new Map(),
    inFlight: new Map(),
    outbox: [],
    postponed: [],
    nextRequest: 1,
    retryAtMs: undefined,
    secret: undefined,
    registry: undefined,
    offers: [],
    ended: undefined,
    isWarming: false,
    reconciliation: undefined,
    former: undefined,
  };
}

/** Whether what a subscription shows may be behind. */
export function isBehind({ phase, isAwaitingList, view }: SubscriptionEntry): boolean {
  return phase !== 'settled' || isAwaitingList || view.unconfirmedCount > 0;
}

/** Names a registration of this client. */
export function registrationName(key: string, id: string): string {
  return `${key}\n${id}`;
}

/** The id that the server gives an instance that has none. */
export function instanceIdOf(instance: InstanceInput | Instance): string {
  return instance.id ?? `${instance.host}:${instance.port}`;
}
