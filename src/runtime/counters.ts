import type { SettingName } from '../config/config.ts';
import type { CloseReason, ErrorCode } from '../protocol/errors.ts';
import type { SessionOpenParams } from '../protocol/types.ts';

/** Something that is counted in addition to errors and closes. */
interface CountedEvent {
  /** Its family in `/metrics`, if it has one; `/v1/stats` shows all. */
  readonly metric?: { readonly name: string; readonly help: string };
  /** The bound that was met. */
  readonly bound?: SettingName;
}

/** The events that are counted, by the name under which `/v1/stats` shows them. */
export const countedEvents = {
  loss_guard_tripped: {
    metric: { name: 'slotcast_guard_trips_total', help: 'Times that a guard began to hold back.' },
  },
  loss_guard_cleared: {},
  loss_held: {},
  loss_host_unheard: {},
  loss_names_full: {},
  session_opened: {
    metric: { name: 'slotcast_sessions_opened_total', help: 'Connections that became sessions.' },
  },
  edge_thread_died: {
    metric: { name: 'slotcast_edge_thread_deaths_total', help: 'Deaths of threads that serve HTTP.' },
  },
  store_thread_died: {
    metric: { name: 'slotcast_store_thread_deaths_total', help: 'Deaths of the thread of the store.' },
  },
  store_damaged: {
    metric: {
      name: 'slotcast_store_damages_total',
      help: 'Times that the file of the store was damaged or gone, and was replaced by what could be read.',
    },
  },
  tls_handshake_failed: {
    metric: {
      name: 'slotcast_tls_handshake_failures_total',
      help: 'TLS handshakes that failed: not TLS, too old, too slow, or without a certificate that is asked for.',
    },
  },
  tls_reloaded: {},
  tls_reload_failed: {},
  partition_died: {},
  partition_start_starved: {},
  accept_paused: {},
  http_answer_cut: { bound: 'httpAnswerTimeoutMs' },
  session_broken: {
    metric: {
      name: 'slotcast_sessions_broken_total',
      help: 'Sessions whose connection broke without a clean close.',
    },
  },
  session_resumed: {
    metric: { name: 'slotcast_sessions_resumed_total', help: 'Sessions that another connection took over.' },
  },
  session_conflated: {
    metric: {
      name: 'slotcast_sessions_conflated_total',
      help: 'Times that a session had left so much unread that it gets the latest state later, in place of pushes.',
    },
    bound: 'sessionUnconsumedBytesMax',
  },
  lease_expired: {
    metric: { name: 'slotcast_leases_expired_total', help: 'Leases that ran out.' },
  },
  journal_given_up: {
    metric: {
      name: 'slotcast_journals_given_up_total',
      help: 'Times that a journal was given up, since the disk failed or did not keep up.',
    },
    bound: 'journalBytesWaitingMax',
  },
  log_dropped: {},
  health_thread_died: {
    metric: { name: 'slotcast_health_thread_deaths_total', help: 'Deaths of the thread that makes checks.' },
  },
  push_dropped: {},
  push_resynced: {
    metric: {
      name: 'slotcast_push_conflations_total',
      help: 'Times that a subscriber was sent the latest state in place of pushes that it had missed.',
    },
  },
  held_version_ignored: {},
} as const;

export type CounterName = keyof typeof countedEvents;

/** Why a WebSocket handshake was refused, and the bound that was met, if it was one. */
export const upgradeRefusals = {
  path: undefined,
  handshake: undefined,
  origin: undefined,
  sessions: 'sessionsMax',
  address: 'sessionsPerAddressMax',
  descriptors: 'descriptorsReserved',
  rate: 'sessionsPerSecondMax',
  load: 'arrivalRequestsMax',
  draining: undefined,
} as const;

export type UpgradeRefusalReason = keyof typeof upgradeRefusals;

/** What the log says of a session. */
export interface NamedSession {
  readonly name: string;
  readonly address: string;
  /** What it said when it opened, if it has. */
  readonly opened: SessionOpenParams | undefined;
}

/** Who met a bound, if it was one: a session, or a caller at an address. */
export type BoundCause = NamedSession | string | undefined;

/** Who writes the log. */
export interface Watcher {
  /** A bound was met. */
  readonly onBound: (bound: string, cause: BoundCause) => void;
  /** A request was refused for another reason than a bound, or that the registry stops. */
  readonly onRefusal: (code: ErrorCode, cause: BoundCause) => void;
}

type LimitId = `limit_${string}`;

/** Under which something is counted. A bound's name comes from whoever met it, as text. */
export type CounterId =
  | CounterName
  | `refused_${ErrorCode}`
  | `upgrade_refused_${UpgradeRefusalReason}`
  | `closed_${CloseReason}`
  | LimitId;

/** What has been counted; what has not happened is left out. */
export type CounterSnapshot = { readonly [Id in Exclude<CounterId, LimitId>]?: number } & {
  readonly [id: LimitId]: number;
};

/** Counts by reason, so that reaching a bound is never silent (LI1). */
export class Counters {
  readonly #counts: Map<CounterId, number> = new Map();
  #watcher: Watcher | undefined;

  watch(watcher: Watcher): void {
    this.#watcher = watcher;
  }

  count(name: CounterName, cause?: BoundCause): void {
    this.#add(name);
    const event: CountedEvent = countedEvents[name];
    this.#reportBound(event.bound, cause);
  }

  countRefusal(code: ErrorCode, limit?: string, cause?: BoundCause): void {
    this.#add(`refused_${code}`);
    if (limit !== undefined) this.countLimit(limit, cause);
    else if (code !== 'draining') this.#watcher?.onRefusal(code, cause);
  }

  /** A bound was met. */
  countLimit(limit: string, cause?: BoundCause): void {
    this.#add(`limit_${limit}`);
    this.#reportBound(limit, cause);
  }

  countUpgradeRefusal(reason: UpgradeRefusalReason, address?: string): void {
    this.#add(`upgrade_refused_${reason}`);
    const bound: SettingName | undefined = upgradeRefusals[reason];
    this.#reportBound(bound, address);
  }

  countClose(reason: CloseReason): void {
    this.#add(`closed_${reason}`);
  }

  #reportBound(bound: string | undefined, cause: BoundCause): void {
    if (bound !== undefined) this.#watcher?.onBound(bound, cause);
  }

  #add(name: CounterId): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  snapshot(): CounterSnapshot {
    return sortCounts(this.#counts);
  }
}

/** Counts of several threads, or of one in several lives. */
export function sumCounters(snapshots: readonly CounterSnapshot[]): CounterSnapshot {
  const counts = new Map<CounterId, number>();
  for (const snapshot of snapshots)
    for (const [id, count] of countsOf(snapshot)) counts.set(id, (counts.get(id) ?? 0) + count);
  return sortCounts(counts);
}

/** How often each bound has been met, by its name. */
export function limitsMet(snapshot: CounterSnapshot): [limit: string, count: number][] {
  return countsOf(snapshot).flatMap(([id, count]) => (isLimit(id) ? [[id.slice(limitPrefix.length), count]] : []));
}

const limitPrefix = 'limit_';

function isLimit(id: CounterId): id is LimitId {
  return id.startsWith(limitPrefix);
}

function countsOf(snapshot: CounterSnapshot): [id: CounterId, count: number][] {
  return Object.entries(snapshot) as [CounterId, number][];
}

function sortCounts(counts: ReadonlyMap<CounterId, number>): CounterSnapshot {
  return Object.fromEntries([...counts].sort(([a], [b]) => (a < b ? -1 : 1)));
}
