import type { KeyFailureReason } from '../protocol/types.ts';
import type { CallOptions } from './options.ts';

/** A key without its value. */
export interface KeyMeta {
  readonly key: string;
  /** An unsigned number of 64 bits that means whatever its writers agree on. */
  readonly flags: bigint;
  /** The commit that created the key, and the one that changed it last. Commits are numbered across all keys. */
  readonly createVersion: number;
  readonly modifyVersion: number;
  /** How often it has been acquired. */
  readonly lockIndex: number;
  /** While a session holds it: the session's public name. */
  readonly holder?: string;
  /** While a session holds it: the fencing number, which rises with each holder. */
  readonly fence?: number;
}

export interface KeyEntry extends KeyMeta {
  readonly value: Uint8Array;
  /** The value as text, if it is UTF-8; what is not becomes U+FFFD. */
  readonly text: string;
}

/** What came of a change. A condition that did not hold is no error: `reason` is `version`, `held`, `delayed` or `not_held`. */
export type KeyChange =
  | { readonly applied: true; readonly version: number; readonly entry: KeyMeta }
  | KeyConditionUnmet;
export type KeyDeletion = { readonly applied: true; readonly version: number } | KeyConditionUnmet;
export interface KeyConditionUnmet {
  readonly applied: false;
  readonly version: number;
  readonly reason: KeyFailureReason;
}

/** The content of a key, and the conditions of writing it. */
export interface KeyWrite {
  /** By default 0. */
  readonly flags?: bigint;
  /** Only if this is the key's `modifyVersion`; 0: only if there is no such key. */
  readonly cas?: number;
  /** Only if this client's session holds the key afterwards. `lock` does this, and more. */
  readonly acquire?: boolean;
  /** Only if this client's session holds the key, which it no longer does afterwards. */
  readonly release?: boolean;
  /** With `acquire`: what becomes of the key when the session ends; by default `release`. */
  readonly onEnd?: 'release' | 'delete';
  /** With `acquire`: for how long nobody acquires the key after that; by default 15000. */
  readonly lockDelayMs?: number;
  /** The key lives as long as this client's session. */
  readonly ephemeral?: boolean;
}

export interface PutOptions extends KeyWrite, CallOptions {}

export interface DeleteOptions extends CallOptions {
  /** Only if this is the key's `modifyVersion`. */
  readonly cas?: number;
}

export interface KeyListOptions extends CallOptions {
  /** Without it, all keys. */
  readonly prefix?: string;
  /** Names without values: pages have `keys` in place of `entries`. */
  readonly keysOnly?: boolean;
  /** Keys are cut after the first of these behind the prefix, like paths after a slash; what is left of those is listed once, in `keys`. */
  readonly separator?: string;
  /** Keys per page, 1 to 1000, by default 100. A page also ends after 1 MiB of values. */
  readonly limit?: number;
}

export interface KeyPage {
  readonly version: number;
  /** Ordered by the bytes of their names. */
  readonly entries: readonly KeyEntry[];
  /** With `keysOnly`: the keys; with `separator`: also what is left of those that are cut. */
  readonly keys: readonly string[];
}

/** One step of a transaction. Each sees what those before it do. */
export type KeyOperation =
  | { readonly op: 'get'; readonly key: string }
  | ({ readonly op: 'put'; readonly key: string; readonly value: KeyValue } & KeyWrite)
  | { readonly op: 'delete'; readonly key: string; readonly cas?: number }
  /** Only if the key has this version (0: there is no such key); with `held`, only if this client's session holds it. */
  | { readonly op: 'check'; readonly key: string; readonly version?: number; readonly held?: boolean };

/** A string is stored as UTF-8. */
export type KeyValue = string | Uint8Array;

export type KeyTransaction =
  /** Of each operation the key afterwards, with its value if it is a `get`; undefined: there is none. */
  | {
      readonly applied: true;
      readonly version: number;
      readonly entries: readonly (KeyEntry | KeyMeta | undefined)[];
    }
  /** Nothing was done; each operation whose condition did not hold. */
  | {
      readonly applied: false;
      readonly version: number;
      readonly failures: readonly { readonly index: number; readonly reason: KeyFailureReason }[];
    };

export interface LockOptions extends CallOptions {
  /** What the key holds meanwhile, for those who look; by default empty. */
  readonly value?: KeyValue;
  readonly flags?: bigint;
  /** What becomes of the key when it is released, or the session ends: it stays without a holder (`release`, the default), or goes. */
  readonly onEnd?: 'release' | 'delete';
  /** For how long nobody acquires the key after the session has ended, in which a holder that was cut off finishes; by default 15000. */
  readonly lockDelayMs?: number;
  /**
   * For how long the connection may be lost before the lock counts as lost. By default the time for which the server keeps the session. Since nobody acquires the key
   * before `lockDelayMs` are over after that, it may be longer; but once both have passed since the last request that was answered, the lock is lost in any case.
   */
  readonly lostAfterMs?: number;
}

export interface WatchOptions extends CallOptions {
  /** Changes after this one, which a read or another watch has named; by default those from now on. */
  readonly version?: number;
}

/** A key after a change. */
export interface KeyUpdate {
  readonly key: string;
  /** The commit that changed it. */
  readonly modifyVersion: number;
  /** Undefined: it was deleted. */
  readonly entry: KeyEntry | undefined;
}

/** What a watch has to say; all changes through `version` are told then. */
export type KeyWatchEvent =
  | { readonly kind: 'changes'; readonly version: number; readonly updates: readonly KeyUpdate[] }
  /** Some changes are not known any more: read what is watched. */
  | { readonly kind: 'resync'; readonly version: number };
