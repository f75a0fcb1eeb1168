import type {
  InstanceFilter,
  ListParams,
  ListResult,
  QueryResult,
  InstanceInput,
  ServiceName,
  SubscribeMode,
} from '../protocol/types.ts';
import type { SubscriptionEntry, Ticket } from './books.ts';
import type { RequestError, SlotcastError } from './errors.ts';
import type { Difference } from './view.ts';

/** What can happen to a client: its socket, its timer, its user. */
export type ClientEvent =
  | { readonly kind: 'socketOpened'; readonly socket: number }
  | { readonly kind: 'socketClosed'; readonly socket: number; readonly cause: string }
  | { readonly kind: 'frame'; readonly socket: number; readonly text: string }
  | { readonly kind: 'tick' }
  /** The turn in which the user called is over: what it asked for goes out together. */
  | { readonly kind: 'flush' }
  | { readonly kind: 'close' }
  | UserCall
  | { readonly kind: 'release'; readonly subscription: SubscriptionEntry };

/** A call that is settled later. */
export type UserCall =
  | {
      readonly kind: 'register';
      readonly ticket: Ticket;
      readonly service: ServiceName;
      readonly instance: InstanceInput;
    }
  | { readonly kind: 'deregister'; readonly ticket: Ticket; readonly service: ServiceName; readonly id: string }
  | {
      readonly kind: 'subscribe';
      readonly ticket: Ticket;
      readonly service: ServiceName;
      readonly mode: SubscribeMode;
      readonly filter?: InstanceFilter;
    }
  | { readonly kind: 'query'; readonly ticket: Ticket; readonly service: ServiceName; readonly filter?: InstanceFilter }
  | { readonly kind: 'list'; readonly ticket: Ticket; readonly params: ListParams }
  | { readonly kind: 'awaitConnection'; readonly ticket: Ticket };

/** What a call is settled with. */
export type Settlement =
  | { readonly kind: 'registered'; readonly id: string; readonly version: number }
  | { readonly kind: 'deregistered' }
  | { readonly kind: 'subscribed'; readonly subscription: SubscriptionEntry }
  | { readonly kind: 'queried'; readonly result: QueryResult }
  | { readonly kind: 'listed'; readonly result: ListResult }
  | { readonly kind: 'connected' };

/** What the user is told of, beside what was asked. */
export type Notice =
  | { readonly kind: 'connected'; readonly server: string; readonly session: string }
  | { readonly kind: 'disconnected'; readonly cause: string; readonly retryInMs: number }
  | { readonly kind: 'unreachable'; readonly server: string; readonly cause: string; readonly retryInMs: number }
  | { readonly kind: 'goaway'; readonly reason: string; readonly reconnectAfterMs: number }
  | { readonly kind: 'refused'; readonly what: Refused; readonly error: RequestError };

/** A standing wish that the server refuses although nobody waits for it; it is tried again. */
export type Refused =
  | { readonly kind: 'session' }
  | { readonly kind: 'registration'; readonly service: ServiceName; readonly id: string }
  | { readonly kind: 'subscription'; readonly service: ServiceName };

/** What the shell is to do. */
export type ClientEffect =
  | { readonly kind: 'openSocket'; readonly socket: number; readonly url: string }
  | { readonly kind: 'closeSocket'; readonly socket: number; readonly manner: 'orderly' | 'abandon' }
  | { readonly kind: 'send'; readonly socket: number; readonly text: string }
  /** Send a `tick` at this time, in place of any asked for before. */
  | { readonly kind: 'arm'; readonly atMs: number | undefined }
  | { readonly kind: 'flushSoon' }
  | { readonly kind: 'resolve'; readonly ticket: Ticket; readonly settlement: Settlement }
  | { readonly kind: 'reject'; readonly ticket: Ticket; readonly error: SlotcastError }
  | { readonly kind: 'notify'; readonly notice: Notice }
  | { readonly kind: 'changed'; readonly subscription: SubscriptionEntry; readonly difference: Difference }
  | { readonly kind: 'freshness'; readonly subscription: SubscriptionEntry }
  | { readonly kind: 'closed' };
