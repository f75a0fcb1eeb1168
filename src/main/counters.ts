import type { CloseReason, ErrorCode } from '../protocol/errors.ts';

/** What is counted beside errors and closes. */
export type Happening =
  | 'loss_guard_tripped'
  | 'loss_guard_cleared'
  | 'loss_held'
  | 'loss_host_unheard'
  | 'loss_names_full'
  | 'session_opened'
  | 'partition_died'
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

/** Counts by reason, so that reaching a bound is never silent (LI1). */
export class Counters {
  readonly #counts: Map<string, number> = new Map();

  count(happening: Happening): void {
    this.#add(happening);
  }

  countRefusal(code: ErrorCode, limit?: string): void {
    this.#add(`refused_${code}`);
    if (limit !== undefined) this.#add(`limit_${limit}`);
  }

  /** A bound was met, and something else than the request that met it was given up. */
  countLimit(limit: string): void {
    this.#add(`limit_${limit}`);
  }

  countUpgradeRefusal(reason: UpgradeRefusalReason): void {
    this.#add(`upgrade_refused_${reason}`);
  }

  countClose(reason: CloseReason): void {
    this.#add(`closed_${reason}`);
  }

  #add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  snapshot(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
