/**
 * The client of slotcast, for Node and browsers: registers instances and keeps them registered, shows services as live views.
 * @module
 */
import { ClientShell } from './client-shell.ts';
import type { Client } from './client.ts';
import type { ClientOptions } from './options.ts';

/**
 * Makes a client, which connects in the background and stays connected until it is closed. It is returned at once and not when
 * connected, since a registry that cannot be reached at first is the same case as one that is lost later: calls wait, each for at
 * most `requestTimeoutMs`, and there is one path to get right instead of two. `whenConnected` waits for the first session.
 * Throws `OptionError`.
 */
export function connect(options: ClientOptions): Client {
  return new ClientShell(options).start();
}

export { declareService, readDeclaration, withdrawDeclaration } from './declaring.ts';
export type { Declaration, DeclaringOptions } from './declaring.ts';
export type {
  Client,
  ClientEvents,
  ListOptions,
  PersistentOptions,
  QueryOptions,
  RegisterOptions,
  StandingOptions,
  SubscribeOptions,
} from './client.ts';
export type { Election, ElectionEvents, ElectOptions } from './election.ts';
export type { Refused } from './effects.ts';
export type { StopListening } from './emitter.ts';
export {
  ClosedError,
  ConnectionLostError,
  LockHeldError,
  LockLostError,
  NoInstanceError,
  OptionError,
  OutcomeUnknownError,
  QueueFullError,
  RequestError,
  SlotcastError,
  TimeoutError,
} from './errors.ts';
export type { LockLoss } from './errors.ts';
export type { ClientTls } from './web-socket.ts';
export { Picker } from './picker.ts';
export type { InstanceSource, Picked, PickerOptions, PickPolicy } from './picker.ts';
export type {
  DeleteOptions,
  KeyChange,
  KeyConditionUnmet,
  KeyDeletion,
  KeyEntry,
  KeyListOptions,
  KeyMeta,
  KeyOperation,
  KeyPage,
  KeyTransaction,
  KeyUpdate,
  KeyValue,
  KeyWatchEvent,
  KeyWrite,
  LockOptions,
  PutOptions,
  WatchOptions,
} from './key-types.ts';
export type { KeyWatch } from './key-watch.ts';
export type { Keys } from './keys.ts';
export type { CachedList, ListCache } from './list-cache.ts';
export type { Lock } from './lock.ts';
export type { CallOptions, ClientOptions, TokenSource } from './options.ts';
export type { Deregistration, DeregisterOptions, Registration } from './registration.ts';
export type { Change } from './changes.ts';
export type { Subscription, SubscriptionEvents } from './subscription.ts';
export type { WebSocketConstructor, WebSocketEvent, WebSocketLike } from './web-socket.ts';
export type { ServiceDeclaration, ServiceSettings } from '../protocol/service-declaration.ts';
export type { ErrorCode } from '../protocol/errors.ts';
export type {
  Health,
  Instance,
  InstanceFilter,
  InstanceInput,
  KeyFailureReason,
  ListParams,
  ListResult,
  QueryResult,
  RegisterResult,
  ServiceFields,
  ServiceName,
  ServiceSummary,
  SubscribeMode,
} from '../protocol/types.ts';
