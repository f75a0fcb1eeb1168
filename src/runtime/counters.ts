import type { SettingName } from '../config/config.ts';
import type { CloseReason, ErrorCode } from '../protocol/errors.ts';
import type { SessionOpenParams } from '../protocol/types.ts';

/** What is counted beside errors and closes. */
export type Happening =
  | 'loss_guard_tripped'
  | 'loss_guard_cleared'
  | 'loss_held'
  | 'loss_host_unheard'
  | 'loss_names_full'
  | 'session_opened'
  | 'partition_died'
  | 'edge_thread_died'
  | 'partition_start_starved'
  | 'accept_paused'
  | 'http_answer_cut'
  | 'session_broken'
  | 'session_resumed'
  | 'session_conflated'
  | 'lease_expired'
  | 'log_dropped'
  | 'push_dropped'
  | 'push_resynced'
  | 'held_version_ignored';

/** Why a WebSocket handshake was refused. */
export type UpgradeRefusalReason =
  | 'path'
  | 'handshake'
  | 'origin'
  | 'sessions'
  | 'address'
  | 'descriptors'
  | 'rate'
  | 'load'
  | 'draining';

/** The bounds that handshakes meet, and those that are met without a refusal. */
const boundOfUpgrade: Readonly<Partial<Record<UpgradeRefusalReason, SettingName>>> = {
  sessions: 'sessionsMax',
  address: 'sessionsPerAddressMax',
  descriptors: 'descriptorsReserved',
  rate: 'sessionsPerSecondMax',
  load: 'arrivalRequestsMax',
};
const boundOfHappening: Readonly<Partial<Record<Happening, SettingName>>> = {
  http_answer_cut: 'httpAnswerTimeoutMs',
  session_conflated: 'sessionUnconsumedBytesMax',
};

/** What the log says of a session. */
export interface NamedSession {
  readonly name: string;
  readonly address: string;
  /** What it said when it opened, if it has. */
  readonly opened: SessionOpenParams | undefined;
}

/** Who met a bound, if it was one: a session, or a caller at an address. */
export type BoundCause = NamedSession | string | undefined;

/** Whoever tells the log. */
export interface Watcher {
  /** A bound was met. */
  readonly onBound: (bound: string, cause: BoundCause) => void;
  /** A request was refused for another reason than a bound, or that the registry stops. */
  readonly onRefusal: (code: ErrorCode, cause: BoundCause) => void;
}

/** Counts by reason, so that reaching a bound is never silent (LI1). */
export class Counters {
  readonly #counts: Map<string, number> = new Map();

  #watcher: Watcher | undefined;

  watch(watcher: Watcher): void {
    this.#watcher = watcher;
  }

  count(happening: Happening, cause?: BoundCause): void {
    this.#add(happening);
    this.#tell(boundOfHappening[happening], cause);
  }

  countRefusal(code: ErrorCode, limit?: string, cause?: BoundCause): void {
    this.#add(`refused_${code}`);
    if (limit !== undefined) this.countLimit(limit, cause);
    else if (code !== 'draining') this.#watcher?.onRefusal(code, cause);
  }

  /** A bound was met. */
  countLimit(limit: string, cause?: BoundCause): void {
    this.#add(`limit_${limit}`);
    this.#tell(limit, cause);
  }

  countUpgradeRefusal(reason: UpgradeRefusalReason, address?: string): void {
    this.#add(`upgrade_refused_${reason}`);
    this.#tell(boundOfUpgrade[reason], address);
  }

  countClose(reason: CloseReason): void {
    this.#add(`closed_${reason}`);
  }

  #tell(bound: string | undefined, cause: BoundCause): void {
    if (bound !== undefined) this.#watcher?.onBound(bound, cause);
  }

  #add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
