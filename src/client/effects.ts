import type {
  DeregisterResult,
  InstanceFilter,
  ListParams,
  ListResult,
  QueryResult,
  RegisterResult,
  InstanceInput,
  ServiceName,
  SubscribeMode,
} from '../protocol/types.ts';
import type { RegistrationEntry, Ticket } from './entries.ts';
import type { FilteredView } from './entries.ts';
import type { LockLoss, RequestError, SlotcastError } from './errors.ts';
import type { KeyRequest } from './exchange-requests.ts';
import type { KeyResult } from './key-results.ts';
import type { CachedList } from './list-cache.ts';
import type { LockClaim } from './lock-entries.ts';
import type { Difference } from './view.ts';
import type { KeyNews, Watcher, WatchTarget } from './watch-entries.ts';

/** What can happen to a client: its sockets, its timer, its user. */
export type ClientEvent =
  | { readonly kind: 'tokenGiven'; readonly socket: number; readonly token: string }
  | { readonly kind: 'socketOpened'; readonly socket: number }
  | { readonly kind: 'socketClosed'; readonly socket: number; readonly cause: string }
  | { readonly kind: 'frame'; readonly socket: number; readonly text: string }
  | { readonly kind: 'tick' }
  /** The turn in which the user called is over: what it asked for goes out together. */
  | { readonly kind: 'flush' }
  | { readonly kind: 'close' }
  /** The cache has been read: undefined if it has no list that can be used. */
  | { readonly kind: 'listLoaded'; readonly service: ServiceName; readonly list: CachedList | undefined }
  | UserCall
  /** The user waits for a call no more. */
  | { readonly kind: 'abort'; readonly ticket: Ticket }
  | { readonly kind: 'release'; readonly subscription: FilteredView }
  | { readonly kind: 'unwatchKeys'; readonly watcher: Watcher };

/** A call that is settled later, within `timeoutMs` or what the settings say. */
export type UserCall = { readonly ticket: Ticket; readonly timeoutMs?: number | undefined } & (
  | {
      readonly kind: 'register';
      readonly service: ServiceName;
      readonly instance: InstanceInput;
      readonly isStanding?: boolean;
    }
  | {
      readonly kind: 'deregister';
      readonly service: ServiceName;
      readonly id: string;
      /** Waits for the server also while cut off. */
      readonly isPatient?: boolean;
    }
  | {
      readonly kind: 'subscribe';
      readonly service: ServiceName;
      readonly mode: SubscribeMode;
      readonly filter?: InstanceFilter;
      readonly isStanding?: boolean;
    }
  | { readonly kind: 'query'; readonly service: ServiceName; readonly filter?: InstanceFilter }
  | { readonly kind: 'list'; readonly params: ListParams }
  | { readonly kind: 'registerPersistent'; readonly service: ServiceName; readonly instance: InstanceInput }
  | { readonly kind: 'deregisterPersistent'; readonly service: ServiceName; readonly id: string }
  | { readonly kind: 'keys'; readonly request: KeyRequest }
  | { readonly kind: 'lock'; readonly claim: LockClaim }
  | { readonly kind: 'unlock'; readonly claim: LockClaim }
  | { readonly kind: 'watchKeys'; readonly target: WatchTarget; readonly version: number | undefined }
  | { readonly kind: 'awaitConnection' }
  | { readonly kind: 'awaitRegistration'; readonly registration: RegistrationEntry }
  | { readonly kind: 'awaitSubscription'; readonly subscription: FilteredView }
);

/** What a call is settled with. */
export type Settlement =
  | { readonly kind: 'registered'; readonly registration: RegistrationEntry }
  | { readonly kind: 'deregistered'; readonly pending: boolean }
  | { readonly kind: 'subscribed'; readonly subscription: FilteredView }
  | { readonly kind: 'queried'; readonly result: QueryResult }
  | { readonly kind: 'listed'; readonly result: ListResult }
  | { readonly kind: 'stored'; readonly result: RegisterResult | DeregisterResult }
  | { readonly kind: 'keysAnswered'; readonly result: KeyResult }
  | { readonly kind: 'locked'; readonly fence: number }
  /** A call that does not wait: the key is held, or its lock delay is not over. */
  | { readonly kind: 'lockRefused' }
  | { readonly kind: 'released' }
  | { readonly kind: 'watching'; readonly watcher: Watcher }
  | { readonly kind: 'connected' };

/** An event for the user. */
export type Notice =
  /**
   * `isResumed`: the server still had this client's registrations. Without a preceding `disconnected`, the client has moved to another connection. `capabilities`:
   * those that the server offers; docs/PROTOCOL.md lists them.
   */
  | {
      readonly kind: 'connected';
      readonly server: string;
      readonly session: string;
      readonly isResumed: boolean;
      readonly capabilities: readonly string[];
    }
  | { readonly kind: 'disconnected'; readonly cause: string; readonly retryInMs: number }
  | { readonly kind: 'unreachable'; readonly server: string; readonly cause: string; readonly retryInMs: number }
  | { readonly kind: 'goaway'; readonly reason: string; readonly reconnectAfterMs: number }
  /**
   * The server is a door to another registry than the one before: it was restarted without its memory, or `servers` names several
   * registries. What is known stays in views, unconfirmed, until providers have had enough time to get there, too.
   */
  | { readonly kind: 'registry'; readonly server: string; readonly registry: string; readonly previous: string }
  /** Another client has registered an instance of this one, and subscribers see that (`isShown` false), or this one's again. */
  | { readonly kind: 'claim'; readonly service: ServiceName; readonly id: string; readonly isShown: boolean }
  | { readonly kind: 'refused'; readonly what: Refused; readonly error: RequestError };

/** A standing wish that the server refuses although nobody waits for it; it is tried again, save with `unsupported_version`. */
export type Refused =
  | { readonly kind: 'session' }
  | { readonly kind: 'registration'; readonly service: ServiceName; readonly id: string }
  | { readonly kind: 'subscription'; readonly service: ServiceName }
  | ({ readonly kind: 'watch' } & WatchTarget);

/** What the shell is to do. */
export type ClientEffect =
  /** `tokenGiven` follows, or `socketClosed` with the reason why there is none. */
  | { readonly kind: 'askToken'; readonly socket: number }
  | { readonly kind: 'openSocket'; readonly socket: number; readonly url: string }
  | { readonly kind: 'closeSocket'; readonly socket: number; readonly manner: 'orderly' | 'abandon' }
  | { readonly kind: 'send'; readonly socket: number; readonly text: string }
  /** Send a `tick` at this time, in place of any asked for before. */
  | { readonly kind: 'arm'; readonly atMs: number | undefined }
  | { readonly kind: 'flushSoon' }
  | { readonly kind: 'resolve'; readonly ticket: Ticket; readonly settlement: Settlement }
  | { readonly kind: 'reject'; readonly ticket: Ticket; readonly error: SlotcastError }
  | { readonly kind: 'notify'; readonly notice: Notice }
  | { readonly kind: 'changed'; readonly subscription: FilteredView; readonly difference: Difference }
  | { readonly kind: 'freshness'; readonly subscription: FilteredView; readonly isStale: boolean }
  | { readonly kind: 'keysChanged'; readonly watcher: Watcher; readonly news: KeyNews }
  | { readonly kind: 'lockLost'; readonly claim: LockClaim; readonly cause: LockLoss }
  | { readonly kind: 'loadList'; readonly service: ServiceName }
  | { readonly kind: 'saveList'; readonly list: CachedList }
  | { readonly kind: 'closed' };
