import type { Failure } from '../protocol/errors.ts';
import type { KeyRow, LockEnd } from './key-row.ts';

/** How a lock is acquired: what becomes of the key when its session ends, and for how long nobody else may then acquire it. */
export interface LockTerms {
  readonly onEnd: LockEnd;
  readonly lockDelayMs: number;
}

/** A part of a transaction. Conditions are judged by what is committed, and by what the transaction's earlier operations do. */
export type KeyOperation =
  | { readonly kind: 'get'; readonly key: string }
  | {
      readonly kind: 'put';
      readonly key: string;
      /** Canonical base64. */
      readonly value: string;
      /** An unsigned number of 64 bits, in decimal. */
      readonly flags: string;
      /** Only if this is the key's version; 0: only if there is no such key. */
      readonly ifVersion?: number;
      /** Only if the session holds the key afterwards. */
      readonly acquire?: LockTerms;
      /** Only if the session holds the key, which it no longer does afterwards. */
      readonly release?: true;
    }
  | { readonly kind: 'delete'; readonly key: string; readonly ifVersion?: number }
  /** `version`: 0: there must be no such key; undefined: whichever it has. */
  | { readonly kind: 'check'; readonly key: string; readonly version?: number; readonly isHeld?: true };

/** Why an operation could not be carried out. None of these is an error: the caller asked for exactly this. */
export type UnmetReason =
  /** The key has another version, or it exists, or it does not. */
  | 'version'
  /** Another session holds it. */
  | 'held'
  /** The session that held it has ended, and its lock delay is not over. */
  | 'delayed'
  /** This session does not hold it. */
  | 'not_held';

export interface Unmet {
  /** Which operation, from 0. */
  readonly index: number;
  readonly reason: UnmetReason;
}

/** What is asked of one partition. */
export type KeyRequest =
  | ({
      readonly kind: 'transaction';
      /** Characters that the answer may have, if it only reads; if it has more, it is answered how many. */
      readonly room?: number;
    } & Omit<KeyTransaction, 'asker'>)
  | ({ readonly kind: 'listing' } & Omit<KeyListing, 'asker'>)
  | ({ readonly kind: 'deletion' } & Omit<PrefixDeletion, 'asker'>);

/** Who asks: the answer goes there. */
export interface KeyAsker {
  readonly host: number;
  readonly request: number;
  /** Characters that the answer may have; undefined: any number. */
  readonly room?: number | undefined;
}

/** A part of a transaction whose keys several partitions own. */
export interface JointShare {
  readonly id: number;
  readonly partitions: readonly number[];
}

export interface KeyTransaction {
  readonly asker: KeyAsker;
  /** Who holds what is acquired; empty: nobody who could hold a key. */
  readonly holder: string;
  readonly operations: readonly KeyOperation[];
  readonly joint?: JointShare;
}

export interface KeyListing {
  readonly asker: KeyAsker;
  readonly prefix: string;
  /** Only keys after this one; empty: from the start. */
  readonly after: string;
  readonly limit: number;
  /** Keys are cut after the first of these behind the prefix, and each result is given once; empty: they are not cut. */
  readonly separator: string;
  readonly isKeysOnly: boolean;
}

export interface PrefixDeletion {
  readonly asker: KeyAsker;
  readonly prefix: string;
}

/** What became of a request. `version`: no commit that the answer shows is above it. */
export type KeyOutcome =
  /** Of each operation the key as it is afterwards; undefined: there is none. */
  | { readonly kind: 'done'; readonly version: number; readonly rows: readonly (KeyRow | undefined)[] }
  | { readonly kind: 'unmet'; readonly version: number; readonly unmet: readonly Unmet[] }
  /** `names`: keys, or what is left of them when they are cut. `rows`: those of keys that are not cut, unless only keys were asked for. `next`: continue after this; empty: that was all. */
  | {
      readonly kind: 'listed';
      readonly version: number;
      readonly names: readonly string[];
      readonly rows: readonly KeyRow[];
      readonly next: string;
    }
  /** `isMore`: there are more, which another request deletes. */
  | { readonly kind: 'deleted'; readonly version: number; readonly count: number; readonly isMore: boolean }
  /** A joint transaction: nothing was done, since others are working on its keys, or another part could not be carried out. */
  | { readonly kind: 'conflict' }
  /** The slot is another partition's by now. */
  | { readonly kind: 'moved' }
  | { readonly kind: 'refused'; readonly failure: Failure };
