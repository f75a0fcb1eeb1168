import type { Failure } from '../protocol/errors.ts';
import type {
  KeyChangeResult,
  KeyDeleteResult,
  KeyGetResult,
  KeyListResult,
  KeyTransactResult,
  ListResult,
  RegistrationsResult,
  SessionOpenResult,
} from '../protocol/types.ts';
import type { ReadKind } from './call-lane.ts';

/**
 * The outcome of a request, as a value. What a partition has encoded is not parsed again: `list` and `difference` are fields of a JSON object:
 * `"instances":[…]` or `"put":[…],"remove":[…]`, and `"closed":true` of a service that an operator has closed. `isWarming`: some who were there before the registry started may not be back.
 */
export type Result =
  | { readonly kind: 'opened'; readonly opening: SessionOpenResult }
  /** `weight`: what its service is declared with, if the instance came without one. */
  | {
      readonly kind: 'registered';
      readonly version: number;
      readonly id: string;
      readonly weight?: number | undefined;
      readonly isOff?: boolean;
    }
  | { readonly kind: 'deregistered'; readonly version: number }
  /** The health of what is registered. */
  | { readonly kind: 'reported'; readonly version: number }
  /** `count`: of the instances. */
  | {
      readonly kind: 'state';
      readonly version: number;
      readonly count: number;
      readonly list: string;
      readonly isWarming: boolean;
    }
  /** To one who holds a list of version `from`. */
  | {
      readonly kind: 'resumed';
      readonly from: number;
      readonly version: number;
      readonly difference: string;
      readonly isWarming: boolean;
    }
  | { readonly kind: 'registrations'; readonly page: RegistrationsResult }
  | { readonly kind: 'listed'; readonly page: ListResult }
  | { readonly kind: 'keys'; readonly result: KeyResult }
  /** Changes of keys after `version` are told from now on. `changes`: those before it that were asked for, as a JSON array; undefined: none were, or `isResync`: they are not known. */
  | {
      readonly kind: 'watching';
      readonly version: number;
      readonly changes: string | undefined;
      readonly isResync: boolean;
    }
  /** There is nothing to say but that it is done. */
  | { readonly kind: 'done' };

/** What becomes of a request about keys. */
export type KeyResult = KeyGetResult | KeyChangeResult | KeyDeleteResult | KeyListResult | KeyTransactResult;

/** Where the answer to one request goes. */
export interface Reply {
  succeed(result: Result): void;
  /** Runs a task once the answer has been sent, if it waits for the rest of its batch; returns false if it does not wait. */
  defer?(task: () => void): boolean;
  fail(failure: Failure): void;
  /** A read is sent to a partition: what it may bring back. Without this it may bring anything. */
  openRead?(kind: ReadKind, key: string): ReadTicket;
}

/** A read that is in flight for a session. */
export interface ReadTicket {
  /** Characters that its answer may have. */
  readonly room: number;
  /** Why it need not be sent: there is no room for any answer. */
  readonly refusal: Failure | undefined;
  /** Its answer has so many: it is asked for again once there is room for it, or refused. */
  enlarge(characters: number, again: () => void, refuse: (failure: Failure) => void): void;
  /** It has been answered. */
  end(): void;
}

/** For reads that are nobody's: as much as there is. */
export const unlimitedRoom: number = Number.MAX_SAFE_INTEGER;
