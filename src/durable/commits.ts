import type { Failure } from '../protocol/errors.ts';

/** What the store keeps apart. `registry`: what the registry knows of itself; `services`: their own settings; `instances`: persistent ones; `lockDelays`: keys that nobody may acquire yet. */
export const durableTables = ['registry', 'services', 'instances', 'keys', 'lockDelays'] as const;

export type DurableTable = (typeof durableTables)[number];

/** Bytes of a row's key in UTF-8: what a page of the store's file has room for. */
export const durableKeyBytesMax = 3072;

/** One row that a commit puts, or deletes. */
export interface DurableWrite {
  readonly table: DurableTable;
  /** 1 to {@link durableKeyBytesMax} bytes of UTF-8, by which rows are ordered. */
  readonly key: string;
  /** At most `storeRowBytesMax`; undefined: the row is deleted. */
  readonly payload: Uint8Array | undefined;
  /** The commit that created the row; 0: this one does. */
  readonly createVersion: number;
}

/** A row as the store has it. Versions are numbers of commits. */
export interface DurableRow {
  readonly key: string;
  readonly payload: Uint8Array;
  readonly createVersion: number;
  readonly modifyVersion: number;
}

/**
 * One of several parts that are committed together or not at all: each partition that owns some of a transaction's keys sends its own. The store waits for all of
 * them; one that carries a refusal, or whose sender has gone, refuses the others too.
 */
export interface JointPart {
  /** The same in all parts, and unique in the process. */
  readonly id: number;
  /** The partitions that send one, each through the port that was made for it. */
  readonly partitions: readonly number[];
  /** This part cannot be carried out. */
  readonly isRefused: boolean;
  /** Bytes of the values that it reads: only the store learns how many all parts read. */
  readonly readBytes: number;
}

/** What can be watched of table `keys`, by what stands behind the slot: one key, or all that begin with a prefix. */
export interface KeyTarget {
  readonly kind: 'key' | 'prefix';
  readonly name: string;
}

/**
 * What is asked of the store; a message holds all that a caller asks in one turn. `request`: numbers what one caller waits for.
 *
 * A port that closes leaves unknown what became of the commits that it has not replied to: each may have been stored, then whole, or not, and only the store can
 * tell. Whoever has to know loads the rows through the next port, which the store hands out once it is back; what it loads then is final.
 */
export type StoreRequest =
  | {
      readonly kind: 'commit';
      readonly request: number;
      readonly writes: readonly DurableWrite[];
      readonly joint?: JointPart;
    }
  | {
      readonly kind: 'load';
      readonly request: number;
      readonly table: DurableTable;
      /** Only keys from here on, this one included; empty: from the start. */
      readonly from: string;
      /** Only keys before this one; empty: to the end. */
      readonly to: string;
    }
  | {
      /** Tell of changes of this. A caller that watches it already is told as before, and what has changed after the version once more. */
      readonly kind: 'watch';
      readonly request: number;
      readonly target: KeyTarget;
      /** Only changes after this version; undefined: from now on. */
      readonly after: number | undefined;
    };

/** What a caller says that is not replied to. */
export type StoreNotice =
  /** Tell no more of it. What is on its way still comes. */
  | { readonly kind: 'unwatch'; readonly target: KeyTarget }
  /** Changes through this version have been read: more may be sent. */
  | { readonly kind: 'read'; readonly through: number };

/** A row of table `keys` was put or, without a payload, deleted. `modifyVersion`: by which commit. */
export interface KeyChange {
  readonly key: string;
  readonly payload: Uint8Array | undefined;
  /** 0 if it was deleted. */
  readonly createVersion: number;
  readonly modifyVersion: number;
}

/**
 * What the store says to a caller; a message holds all replies of one turn. They come in the order in which the caller asked, but for joint transactions, which
 * are replied to when all parts are there, and watches, which have an order of their own.
 */
export type StoreReply =
  /** It is on disk. `version`: of the commit; each is above all before it. */
  | { readonly kind: 'committed'; readonly request: number; readonly version: number }
  /** Nothing of it has been, or will be, stored. */
  | { readonly kind: 'refused'; readonly request: number; readonly failure: Failure }
  /** A part of the transaction was refused, this one or another, or did not come. */
  | { readonly kind: 'abandoned'; readonly request: number }
  /** A part of what was asked for. `next`: where to continue; undefined: that was all. */
  | {
      readonly kind: 'loaded';
      readonly request: number;
      readonly rows: readonly DurableRow[];
      readonly next: string | undefined;
    }
  /** From here on changes after `version` come. `changes`: those from `after` to it; undefined: they are not known any more, so what is there must be read. */
  | {
      readonly kind: 'watching';
      readonly request: number;
      readonly version: number;
      readonly changes: readonly KeyChange[] | undefined;
    };

/** What a caller that watches is told, after the replies to all callers about the same commits. */
export type StoreNews =
  /** All changes through a version, of what is watched, have been told with these; in the order of their versions, each once however many targets it concerns. */
  | { readonly kind: 'changed'; readonly through: number; readonly changes: readonly KeyChange[] }
  /** The caller was so slow that changes through this version are not known any more: what it watches must be read again. */
  | { readonly kind: 'missed'; readonly through: number };

/** The way to the store of one that watches: what it needs of a MessagePort. */
export interface StorePort {
  on(event: 'message', handle: (replies: readonly (StoreReply | StoreNews)[]) => void): unknown;
  /** The store has ended, and all that it had said has been handled. */
  on(event: 'close', handle: () => void): unknown;
  postMessage(requests: readonly (StoreRequest | StoreNotice)[]): void;
  close(): void;
}

/** What is asked of the store besides, by the main thread. */
export type BackupRequest =
  /** A backup of all that is stored at this place among the requests. */
  | { readonly kind: 'beginBackup'; readonly request: number; readonly origin: BackupOrigin }
  | { readonly kind: 'readBackup'; readonly request: number; readonly backup: number }
  /** It need not be read to its end. */
  | { readonly kind: 'endBackup'; readonly request: number; readonly backup: number };

export type BackupReply =
  | ({ readonly kind: 'backup'; readonly request: number } & BackupPart)
  | Extract<StoreReply, { readonly kind: 'refused' }>;

/** Who makes a backup. */
export interface BackupOrigin {
  /** The version of the product. */
  readonly slotcast: string;
  /** When, as a date of ISO 8601. */
  readonly createdAt: string;
}

/** The next bytes of a backup. */
export interface BackupPart {
  readonly backup: number;
  /** Undefined: that was all. */
  readonly part: Uint8Array | undefined;
}

/** What became of a commit. Failures: `storage_unavailable`, `busy`, `limit_exceeded` (nothing was done); `internal` (it may have been, or not). */
export type CommitOutcome = { readonly version: number } | { readonly failure: Failure };

/** The store as the main thread uses it. */
export interface DurableStore {
  commit(writes: readonly DurableWrite[]): Promise<CommitOutcome>;
  /**
   * All rows of a table whose keys begin with a prefix, and none before `from`, in the order of their bytes, part by part; rejects if the store cannot be
   * read.
   */
  load(table: DurableTable, prefix?: string, from?: string): AsyncIterable<readonly DurableRow[]>;
}
