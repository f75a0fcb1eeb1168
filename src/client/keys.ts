import type { Election, ElectOptions } from './election.ts';
import type {
  DeleteOptions,
  KeyChange,
  KeyDeletion,
  KeyEntry,
  KeyListOptions,
  KeyOperation,
  KeyPage,
  KeyTransaction,
  KeyValue,
  LockOptions,
  PutOptions,
  WatchOptions,
} from './key-types.ts';
import type { KeyWatch } from './key-watch.ts';
import type { Lock } from './lock.ts';
import type { CallOptions } from './options.ts';

/** The registry's keys, of which each has a value of up to 512 KiB that is on disk before a change of it resolves. */
export interface Keys {
  /** Undefined: there is no such key. Repeated automatically if the connection breaks before the answer. */
  get(key: string, options?: CallOptions): Promise<KeyEntry | undefined>;

  /**
   * Creates or changes a key. What it already has changes nothing. Rejects with `OutcomeUnknownError` if the connection breaks before the answer, as all changes of keys do:
   * it is not sent again, since that could undo what others have written in between.
   */
  put(key: string, value: KeyValue, options?: PutOptions): Promise<KeyChange>;

  /** Deletes a key. If there is none, that is applied, too. */
  delete(key: string, options?: DeleteOptions): Promise<KeyDeletion>;

  /** Deletes all keys with a prefix, in several commits if there are many; resolves with their number. Empty: all keys there are. */
  deletePrefix(prefix: string, options?: CallOptions): Promise<number>;

  /** Reads keys page by page, each when it is asked for: `for await (const { entries } of client.keys.list({ prefix: 'config/' }))`. */
  list(options?: KeyListOptions): AsyncIterable<KeyPage>;

  /** Carries out 1 to 128 operations, all in one commit or none. */
  transact(operations: readonly KeyOperation[], options?: CallOptions): Promise<KeyTransaction>;

  /**
   * Watches a key, or all that begin with a prefix, across reconnects. Resolves when all changes from now on are told, or with the option `version` those after it. Rejects with a `RequestError` if there are too many
   * watches.
   */
  watch(target: string | { readonly prefix: string }, options?: WatchOptions): Promise<KeyWatch>;

  /** The key as it is, and then whenever it has changed, until the loop is left or `signal` is aborted. What came in between may be left out. Undefined: there is no such key. */
  follow(key: string, options?: CallOptions): AsyncIterable<KeyEntry | undefined>;

  /**
   * Resolves when this client holds the key, and nobody else. Rejects with `LockHeldError` if others have held it for all of `timeoutMs`, by default `requestTimeoutMs`. Calls of one client for
   * one key take turns.
   */
  lock(key: string, options?: LockOptions): Promise<Lock>;

  /** Like `lock`, but undefined if it is held, or its lock delay is not over, right now. */
  tryLock(key: string, options?: LockOptions): Promise<Lock | undefined>;

  /** Campaigns for the key until it is ended: the one that holds it leads. */
  elect(key: string, options?: ElectOptions): Election;
}
