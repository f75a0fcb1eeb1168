import type { KeyFailureReason } from '../protocol/types.ts';
import type { Ticket } from './entries.ts';
import type { KeyRequest } from './exchange-requests.ts';
import type { Watcher } from './watch-entries.ts';

/** How a key is to be held. */
export interface LockTerms {
  readonly key: string;
  /** Base64. */
  readonly value: string;
  /** Decimal. */
  readonly flags: string;
  readonly onEnd: 'release' | 'delete';
  /** Undefined: what the server has by default. */
  readonly lockDelayMs: number | undefined;
  /** Undefined: as long as the server keeps the session of a broken connection. */
  readonly lostAfterMs: number | undefined;
  /** Whether to wait while it is held. */
  readonly isPatient: boolean;
}

/** One holder, or who is to be it: from the call on until it has released the key or lost it. Known by its identity. */
export class LockClaim {
  readonly terms: LockTerms;

  constructor(terms: LockTerms) {
    this.terms = terms;
  }
}

/** A call that waits for its turn. */
export interface LockWait {
  readonly kind: 'lockWait';
  readonly entry: LockEntry;
  readonly claim: LockClaim;
  readonly ticket: Ticket;
}

/** A request on behalf of a lock. One at a time is about a key. */
export interface LockRequest {
  readonly kind: 'lock';
  readonly entry: LockEntry;
  readonly request: KeyRequest;
  isSent: boolean;
}

/** What has kept the client from acquiring the key, and how often. */
export interface Contention {
  readonly attempts: number;
  /** Undefined: the server could not say. */
  readonly reason: KeyFailureReason | undefined;
}

/** What the key is known to hold that is to be released, so that it is not overwritten with anything else. */
export interface LockContent {
  readonly value: string;
  readonly flags: string;
  /** Undefined: it is not known, and what the holder gave is right. */
  readonly version: number | undefined;
}

interface Unheld {
  /** For whom the present session may hold it all the same, since a request to acquire it went unanswered. */
  readonly mayHold: LockClaim | undefined;
  readonly contention: Contention;
}

export type LockPhase =
  | (Unheld & { readonly kind: 'free' })
  | (Unheld & { readonly kind: 'acquiring'; readonly wait: LockWait; readonly request: LockRequest })
  /** Another session holds it, or its lock delay is not over; or the server could not say. */
  | (Unheld & { readonly kind: 'contended'; readonly retryAtMs: number })
  | {
      readonly kind: 'held';
      readonly claim: LockClaim;
      readonly fence: number;
      readonly version: number;
      /** Asks whether it is still so. */
      readonly check: LockRequest | undefined;
      readonly checkAtMs: number;
    }
  /** Held when the connection was lost: it is as long as the server keeps the session. */
  | {
      readonly kind: 'cutOff';
      readonly claim: LockClaim;
      readonly fence: number;
      readonly version: number;
      readonly lostAtMs: number;
    }
  /** Nobody holds it any more; the server is to know. */
  | {
      readonly kind: 'releasing';
      readonly claim: LockClaim;
      readonly content: LockContent;
      /** Undefined: it waits for a session, or for `retryAtMs`. */
      readonly request: LockRequest | undefined;
      readonly retryAtMs: number | undefined;
      readonly attempts: number;
      readonly tickets: readonly Ticket[];
    };

/** A key that this client holds or wants to. Its session holds it for all of the program, so those who want it take turns. */
export interface LockEntry {
  readonly key: string;
  readonly waits: LockWait[];
  phase: LockPhase;
  /** Undefined: it has not been needed yet, or is not to be had. */
  watcher: Watcher | undefined;
}
