import type { ServerConfig } from './config.ts';

export type LossGuardSettings = Pick<
  ServerConfig,
  | 'lossWindowMs'
  | 'lossSessionsMin'
  | 'lossSessionsPercent'
  | 'lossServiceInstancesMin'
  | 'lossServicePercent'
  | 'lossHoldMaxMs'
>;

/** A guard that began or ceased to hold back; `key` undefined: the one of the whole registry. */
export interface GuardEvent {
  readonly kind: 'tripped' | 'cleared';
  readonly key: string | undefined;
  readonly missing: number;
  readonly total: number;
}

/** A session whose connection broke and which has not come back. */
interface MissingSession {
  readonly brokeAtMs: number;
  /** Registrations that are still its own, by service key. */
  readonly keys: Map<string, number>;
}

/** A guard that holds back. */
interface Hold {
  readonly sinceMs: number;
}

export interface GuardDescription {
  readonly isHolding: boolean;
  readonly missingSessions: number;
  readonly sessions: number;
  /** Services whose own guard holds back. */
  readonly services: readonly { readonly key: string; readonly missing: number; readonly total: number }[];
}

/** So many sessions must be missing before a single service is guarded: one that crashes alone is no network cut. */
const serviceSessionsMin = 3;

/**
 * Tells a network cut from a deploy: when a large part of all sessions breaks within a short time, what they registered is held back rather
 * than removed. One guard watches sessions of the whole registry, one each service. Pure: it is told what breaks, comes back and goes, and
 * asked whether a removal may go on. Only broken connections count; who leaves in order is never held back.
 */
export class LossGuard {
  readonly #settings: LossGuardSettings;
  readonly #onEvent: (event: GuardEvent) => void;
  /** Registrations of each service, those of missing sessions included. */
  readonly #totals: Map<string, number> = new Map();
  readonly #missing: Map<number, MissingSession> = new Map();
  readonly #missingByKey: Map<string, number> = new Map();
  readonly #serviceHolds: Map<string, Hold> = new Map();
  #hold: Hold | undefined;
  /** Sessions that hold registrations, missing ones included. */
  #sessions = 0;
  #checkedAtMs = Number.NEGATIVE_INFINITY;
  #recentlyMissing = 0;

  constructor(settings: LossGuardSettings, onEvent: (event: GuardEvent) => void) {
    this.#settings = settings;
    this.#onEvent = onEvent;
  }

  /** A session registered an instance that it did not hold; `isFirst`: it held none before. */
  noteRegistered(key: string, isFirst: boolean): void {
    if (isFirst) this.#sessions += 1;
    this.#totals.set(key, (this.#totals.get(key) ?? 0) + 1);
  }

  /** A session holds an instance no more, for whatever reason; `isLast`: it holds none now. */
  noteDropped(session: number, key: string, isLast: boolean): void {
    if (isLast) this.#sessions -= 1;
    decrement(this.#totals, key);
    const missing = this.#missing.get(session);
    if (missing?.keys.has(key) === true) {
      decrement(missing.keys, key);
      decrement(this.#missingByKey, key);
    }
    if (isLast) this.#missing.delete(session);
  }

  /** A connection broke. `keys`: the service of each of its registrations. */
  noteMissing(session: number, keys: Iterable<string>, nowMs: number): void {
    const counts = new Map<string, number>();
    for (const key of keys) {
      counts.set(key, (counts.get(key) ?? 0) + 1);
      this.#missingByKey.set(key, (this.#missingByKey.get(key) ?? 0) + 1);
    }
    this.#missing.set(session, { brokeAtMs: nowMs, keys: counts });
    this.#checkedAtMs = Number.NEGATIVE_INFINITY;
  }

  /** Whether what a missing session registered of a service is to stay for now. */
  isHeld(session: number, key: string, nowMs: number): boolean {
    if (!this.#missing.has(session)) return false;
    this.#check(nowMs);
    return this.#hold !== undefined || this.#isServiceHeld(key, nowMs);
  }

  /** An operator lets go what is held: of one service, or everything. What breaks later is judged anew. */
  release(key?: string): void {
    for (const [session, { keys }] of this.#missing) {
      for (const [held, count] of keys) {
        if (key !== undefined && held !== key) continue;
        keys.delete(held);
        this.#missingByKey.set(held, (this.#missingByKey.get(held) ?? 0) - count);
      }
      if (keys.size === 0) this.#missing.delete(session);
    }
    for (const held of key === undefined ? [...this.#serviceHolds.keys()] : [key]) this.#clearService(held);
    if (key === undefined) this.#clear();
  }

  describe(): GuardDescription {
    return {
      isHolding: this.#hold !== undefined,
      missingSessions: this.#missing.size,
      sessions: this.#sessions,
      services: [...this.#serviceHolds.keys()].map((key) => ({
        key,
        missing: this.#missingByKey.get(key) ?? 0,
        total: this.#totals.get(key) ?? 0,
      })),
    };
  }

  #check(nowMs: number): void {
    if (this.#checkedAtMs === nowMs) return;
    this.#checkedAtMs = nowMs;
    const { lossWindowMs, lossSessionsMin, lossSessionsPercent, lossHoldMaxMs } = this.#settings;
    const isMany = (missing: number): boolean =>
      missing >= lossSessionsMin && missing * 100 >= lossSessionsPercent * this.#sessions;
    if (this.#hold !== undefined) {
      if (nowMs - this.#hold.sinceMs >= lossHoldMaxMs) this.release();
      else if (!isMany(this.#missing.size)) this.#clear();
    }
    this.#recentlyMissing = 0;
    for (const { brokeAtMs } of this.#missing.values())
      if (nowMs - brokeAtMs <= lossWindowMs) this.#recentlyMissing += 1;
    if (this.#hold === undefined && isMany(this.#recentlyMissing)) {
      this.#hold = { sinceMs: nowMs };
      this.#report('tripped', undefined);
    }
  }

  #isServiceHeld(key: string, nowMs: number): boolean {
    const { lossServiceInstancesMin, lossServicePercent, lossHoldMaxMs } = this.#settings;
    const missing = this.#missingByKey.get(key) ?? 0;
    const isMany =
      missing >= lossServiceInstancesMin && missing * 100 >= lossServicePercent * (this.#totals.get(key) ?? 0);
    const hold = this.#serviceHolds.get(key);
    if (hold !== undefined) {
      if (nowMs - hold.sinceMs >= lossHoldMaxMs) this.release(key);
      else if (!isMany) this.#clearService(key);
      return this.#serviceHolds.has(key);
    }
    if (!isMany || this.#recentlyMissing < serviceSessionsMin) return false;
    this.#serviceHolds.set(key, { sinceMs: nowMs });
    this.#report('tripped', key);
    return true;
  }

  #clear(): void {
    if (this.#hold === undefined) return;
    this.#hold = undefined;
    this.#report('cleared', undefined);
  }

  #clearService(key: string): void {
    if (this.#serviceHolds.delete(key)) this.#report('cleared', key);
  }

  #report(kind: GuardEvent['kind'], key: string | undefined): void {
    const missing = key === undefined ? this.#missing.size : (this.#missingByKey.get(key) ?? 0);
    const total = key === undefined ? this.#sessions : (this.#totals.get(key) ?? 0);
    this.#onEvent({ kind, key, missing, total });
  }
}

function decrement(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 0) - 1;
  if (left > 0) counts.set(key, left);
  else counts.delete(key);
}
