import type { Failure } from '../protocol/errors.ts';

/** What the store keeps apart. `registry`: what the registry knows of itself; `services`: their own settings; `instances`: persistent ones; `sessions`: those whose locks outlive the process. */
export const durableTables = ['registry', 'services', 'instances', 'keys', 'sessions'] as const;

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
    };

/**
 * What the store says to a caller; a message holds all replies of one turn. They come in the order in which the caller asked, but for joint transactions, which
 * are replied to when all parts are there.
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
    };

/** What became of a commit. Failures: `storage_unavailable`, `busy`, `limit_exceeded` (nothing was done); `internal` (it may have been, or not). */
export type CommitOutcome = { readonly version: number } | { readonly failure: Failure };

/** The store as the main thread uses it. */
export interface DurableStore {
  commit(writes: readonly DurableWrite[]): Promise<CommitOutcome>;
  /** All rows of a table whose keys begin with a prefix, in order, part by part; rejects if the store cannot be read. */
  load(table: DurableTable, prefix?: string): AsyncIterable<readonly DurableRow[]>;
}
