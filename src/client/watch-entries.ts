import type { KeyChangeEvent } from '../protocol/types.ts';
import type { Ticket } from './entries.ts';

/** What is watched: one key, or all that begin with a prefix. */
export type WatchTarget = { readonly key: string } | { readonly prefix: string };

/** What a watch has to say: changes in the order of commits, or that some are not known, so that what is watched must be read. */
export interface KeyNews {
  /** All changes through here have been told. */
  readonly version: number;
  /** Undefined: resync. */
  readonly changes: readonly KeyChangeEvent[] | undefined;
}

/** How far the client has come with a watch on the present session. */
export type WatchPhase =
  | { readonly kind: 'unsent' }
  | { readonly kind: 'queued' }
  /** Asked for what comes after `from`; undefined: from now on. `isFresh`: since the versions that are known mean nothing to this registry. */
  | { readonly kind: 'sent'; readonly from: number | undefined; readonly isFresh: boolean }
  | { readonly kind: 'live' }
  | { readonly kind: 'postponed'; readonly retryAtMs: number };

/** One watch on the wire, for all who look at the same. */
export interface WatchEntry {
  readonly kind: 'watch';
  readonly name: string;
  readonly target: WatchTarget;
  readonly watchers: Set<Watcher>;
  phase: WatchPhase;
  /** The versions of its watchers are of another registry. */
  isForeign: boolean;
}

/** One who looks: a user, or a lock whose key it is. */
export class Watcher {
  readonly kind = 'watcher';
  readonly entry: WatchEntry;
  readonly isLock: boolean;
  /** All changes through here have been told; undefined: it begins with those from now on. */
  version: number | undefined;
  /** The call that waits for the watch to begin. */
  ticket: Ticket | undefined;

  constructor(entry: WatchEntry, { isLock = false, version, ticket }: WatcherOptions) {
    this.entry = entry;
    this.isLock = isLock;
    this.version = version;
    this.ticket = ticket;
  }
}

interface WatcherOptions {
  readonly isLock?: boolean;
  readonly version?: number | undefined;
  readonly ticket?: Ticket;
}

/** The server is to forget a watch. */
export interface Unwatch {
  readonly kind: 'unwatch';
  readonly target: WatchTarget;
}
