/** What session hosts and the loss guard tell each other; with I/O threads it crosses threads, without it is passed by hand. */

/** What a session lost, or what of it changed: the index of a service in the report's `keys`, and how many instances of it. */
export interface CountedService {
  readonly service: number;
  readonly count: number;
}

/**
 * All that a host has to say of losses, in its order: sessions that are back, sessions that broke, changes of those that are missing, names
 * that came again, sessions whose time is over. Nothing of it is said while nothing is lost.
 */
export interface LossReport {
  readonly host: number;
  /** Services that the rest names by their index. */
  readonly keys: readonly string[];
  /** Missing sessions that have resumed, whole. */
  readonly back: readonly number[];
  /** Sessions whose connection broke, with what they hold. */
  readonly missing: readonly { readonly session: number; readonly services: readonly CountedService[] }[];
  /** Of missing sessions: how many more they hold of a service, or how many fewer since they are somebody else's. */
  readonly changes: readonly { readonly session: number; readonly services: readonly CountedService[] }[];
  /** Of missing sessions: the hashed names of instances that were removed. */
  readonly removed: readonly {
    readonly session: number;
    readonly services: readonly { readonly service: number; readonly names: readonly number[] }[];
  }[];
  /** Hashed names of removed instances that have been registered again. */
  readonly returned: readonly number[];
  /** Missing sessions of which the host wants to know whether they are held back. `serial` identifies the question. */
  readonly due: readonly DueSession[];
  /** The numbers of instances that the host's sessions and leases have of the services that the guard tracks. */
  readonly totals: readonly CountedService[];
  /** Connections of the host that hold registrations, missing ones included. */
  readonly sessions: number;
  /** The last question of the guard to which this is the answer, or 0. */
  readonly answers: number;
}

export interface DueSession {
  readonly session: number;
  readonly serial: number;
}

/** What of a missing session stays: everything, nothing, or what it holds of some services. */
export type Held = 'all' | 'none' | readonly string[];

export interface Verdict extends DueSession {
  readonly held: Held;
}

/** What the guard sends to a host. */
export interface GuardOrders {
  /** Forget the names that were watched before; comes before the rest. */
  readonly isUnwatchingAll: boolean;
  /** Services of which to report how many instances the host holds: now, and whenever that changes. */
  readonly track: readonly string[];
  readonly untrack: readonly string[];
  /** Hashed names to report when they are registered. */
  readonly watch: readonly number[];
  readonly unwatch: readonly number[];
  /** Something that was held back may go: ask again for every held session. */
  readonly isRecheck: boolean;
  readonly verdicts: readonly Verdict[];
  /** Report all that is known, and name this number; 0: no question. */
  readonly ask: number;
}

/** Registrations, services, names or sessions in one message, about. Of a session that has more, the rest follows as changes. */
export const lossEntriesMax = 1000;

/** Of a host that has lost nothing and holds nothing. `answers`: the question that it answers. */
export function emptyReport(host: number, answers: number): LossReport {
  return {
    host,
    keys: [],
    back: [],
    missing: [],
    changes: [],
    removed: [],
    returned: [],
    due: [],
    totals: [],
    sessions: 0,
    answers,
  };
}
