import type { ServerConfig } from './config.ts';
import { Loss, LossTally } from './loss-tally.ts';
import type { LossBook, LossThresholds } from './loss-tally.ts';

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

/** Why an instance is in its session's log no more. */
export type DropCause =
  /** The session, or another one that took it over, said so. */
  | 'asked'
  /** The session is lost, and no guard held it back. */
  | 'lost';

/** An instance that came into a session's log, or left it. */
export interface LogChange {
  readonly key: string;
  readonly id: string;
  /** The session is a connection, and this was its first registration, or its last. */
  readonly isEdge: boolean;
}

export interface GuardDescription {
  readonly isHolding: boolean;
  /** How long it has held back; left out when it does not. */
  readonly holdingForMs?: number;
  readonly missingSessions: number;
  readonly sessions: number;
  /** Services whose own guard holds back. */
  readonly services: readonly {
    readonly key: string;
    readonly holdingForMs: number;
    readonly missing: number;
    readonly total: number;
  }[];
  readonly thresholds: LossGuardSettings;
}

/** Names an instance in the whole registry. */
function instanceName(key: string, id: string): string {
  return `${key}\n${id}`;
}

/** So many sessions must have lost instances of a service before its guard trips: one that crashes alone is no network cut. */
const serviceSessionsMin = 3;

/**
 * Tells a network cut from a deploy: when a large part of all sessions breaks within a short time, what they registered is held back rather
 * than removed. One guard watches sessions of the whole registry, one each service. What was removed already counts as lost for the window,
 * unless it is registered again, since a cut that heartbeats find comes to light over seconds. Pure: it is told what breaks, comes back and goes, and asked whether a
 * removal may go on. Only broken connections count; who leaves in order is never held back.
 */
export class LossGuard {
  readonly #settings: LossGuardSettings;
  readonly #onEvent: (event: GuardEvent) => void;
  readonly #serviceThresholds: LossThresholds;
  readonly #registry: LossTally;
  readonly #services: Map<string, LossTally> = new Map();
  /** Missing sessions, by number. */
  readonly #losses: Map<number, Loss> = new Map();
  /** Losses of the window, oldest first, from `#recentStart` on. */
  #recent: Loss[] = [];
  #recentStart = 0;
  /** Services whose guard holds back. */
  readonly #holding: Map<string, LossTally> = new Map();
  readonly #book: LossBook;
  #nowMs = Number.NEGATIVE_INFINITY;
  #releases = 0;

  constructor(settings: LossGuardSettings, onEvent: (event: GuardEvent) => void) {
    const { lossWindowMs, lossSessionsMin, lossSessionsPercent } = settings;
    const { lossServiceInstancesMin, lossServicePercent, lossHoldMaxMs } = settings;
    this.#settings = {
      lossWindowMs,
      lossSessionsMin,
      lossSessionsPercent,
      lossServiceInstancesMin,
      lossServicePercent,
      lossHoldMaxMs,
    };
    this.#onEvent = onEvent;
    this.#registry = new LossTally({ min: lossSessionsMin, percent: lossSessionsPercent, sessionsMin: 0 });
    this.#book = {
      registry: this.#registry,
      removed: new Map(),
      onIdle: (key, service) => {
        this.#prune(key, service);
      },
    };
    this.#serviceThresholds = {
      min: lossServiceInstancesMin,
      percent: lossServicePercent,
      sessionsMin: serviceSessionsMin,
    };
  }

  /** Rises whenever something that was held may go. */
  get releases(): number {
    return this.#releases;
  }

  /** Whether it has nothing to remember. */
  get isEmpty(): boolean {
    return this.#registry.isEmpty && this.#services.size + this.#losses.size + this.#book.removed.size === 0;
  }

  /** A session registered an instance that it did not hold. */
  noteRegistered(session: number, { key, id, isEdge }: LogChange): void {
    if (isEdge) this.#registry.total += 1;
    const service = this.#service(key);
    service.total += 1;
    const { removed } = this.#book;
    if (removed.size > 0) {
      const name = instanceName(key, id);
      removed.get(name)?.restore(key, name);
    }
    // It was asked for before the connection broke, and had to wait.
    if (this.#losses.size > 0) this.#losses.get(session)?.add(key, service);
  }

  /** A session holds an instance no more. */
  noteDropped(session: number, { key, id, isEdge }: LogChange, cause: DropCause): void {
    if (isEdge) this.#registry.total -= 1;
    const service = this.#service(key);
    service.total -= 1;
    const loss = this.#losses.size === 0 ? undefined : this.#losses.get(session);
    if (loss !== undefined) {
      if (cause === 'lost') loss.remove(key, instanceName(key, id));
      else loss.settle(key);
      if (isEdge) {
        this.#losses.delete(session);
        loss.end(cause === 'lost');
      }
    }
    this.#prune(key, service);
  }

  /** A connection broke. `keys`: the service of each of its registrations. */
  noteMissing(session: number, keys: Iterable<string>, nowMs: number): void {
    this.advance(nowMs);
    const loss = new Loss(session, nowMs, this.#book);
    for (const key of keys) loss.add(key, this.#service(key));
    this.#losses.set(session, loss);
    this.#recent.push(loss);
  }

  /** SE8: a missing session has a connection again, with all that it still holds. */
  noteReturned(session: number): void {
    const loss = this.#losses.get(session);
    if (loss === undefined) return;
    this.#losses.delete(session);
    loss.forgetAll();
  }

  /** Whether what a missing session registered of a service is to stay for now. */
  isHeld(session: number, key: string, nowMs: number): boolean {
    this.advance(nowMs);
    if (this.#losses.get(session)?.isMissing(key) !== true) return false;
    const registry = this.#registry;
    if (registry.hold === undefined && registry.isTripped) this.#trip(undefined, registry, nowMs);
    if (registry.hold !== undefined) return true;
    const service = this.#service(key);
    if (service.hold === undefined && service.isTripped) this.#trip(key, service, nowMs);
    return service.hold !== undefined;
  }

  /** An operator lets go what is held: of one service, or everything. What breaks later is judged anew. */
  release(key?: string): void {
    if (key === undefined) {
      for (const loss of this.#losses.values()) loss.forgetAll();
      this.#losses.clear();
      this.#forgetRecent();
      for (const held of this.#holding.keys()) this.#clear(held);
      this.#clear(undefined);
    } else {
      for (const loss of this.#services.get(key)?.losses ?? []) this.#forget(loss, key);
      this.#clear(key);
      // They have not come back: that few are left is no reason to let go of the rest.
      if (this.#registry.hold !== undefined) this.#registry.hold.peak = this.#registry.missing;
    }
    this.#releases += 1;
  }

  /** Moves time on: what broke too long ago is no recent loss, and guards end whose time is over or whose sessions are back. */
  advance(nowMs: number): void {
    if (nowMs <= this.#nowMs) return;
    this.#nowMs = nowMs;
    this.#ageRecent(nowMs);
    if (this.#registry.hold !== undefined) this.#judgeRegistry(this.#registry.hold.sinceMs);
    for (const [key, service] of this.#holding) {
      if (service.hold !== undefined && this.#isTimeOver(service.hold.sinceMs)) this.release(key);
      else if (service.isOver) this.#end(key, service);
    }
  }

  describe(): GuardDescription {
    const { hold, missing, total } = this.#registry;
    return {
      isHolding: hold !== undefined,
      ...(hold === undefined ? {} : { holdingForMs: Math.round(this.#nowMs - hold.sinceMs) }),
      missingSessions: missing,
      sessions: total,
      services: [...this.#holding].map(([key, service]) => ({
        key,
        holdingForMs: Math.round(this.#nowMs - (service.hold?.sinceMs ?? this.#nowMs)),
        missing: service.missing,
        total: service.total,
      })),
      thresholds: this.#settings,
    };
  }

  #isTimeOver(sinceMs: number): boolean {
    return this.#nowMs - sinceMs >= this.#settings.lossHoldMaxMs;
  }

  #judgeRegistry(sinceMs: number): void {
    if (this.#isTimeOver(sinceMs)) {
      this.release();
      return;
    }
    if (!this.#registry.isOver) return;
    // Most are back, but a service of which most is still missing goes on being guarded by itself.
    const keys = new Set<string>();
    for (const loss of this.#losses.values()) for (const key of loss.keys()) keys.add(key);
    for (const key of keys) {
      const service = this.#service(key);
      if (service.hold === undefined && service.isMissingMuch) this.#trip(key, service, sinceMs);
    }
    this.#clear(undefined);
    // Else what was lost lately would trip it again at once.
    this.#forgetRecent();
    this.#releases += 1;
  }

  /** A service's guard ends because enough have come back. */
  #end(key: string, service: LossTally): void {
    for (const loss of service.losses) loss.ageShare(key);
    this.#clear(key);
    this.#releases += 1;
  }

  #forget(loss: Loss, key: string): void {
    loss.forget(key);
    // One that was removed already is missing no more.
    if (this.#losses.get(loss.session) !== loss || loss.keys().length > 0) return;
    this.#losses.delete(loss.session);
    loss.forgetAll();
  }

  #ageRecent(nowMs: number): void {
    const { lossWindowMs } = this.#settings;
    for (;;) {
      const loss = this.#recent[this.#recentStart];
      if (loss === undefined || nowMs - loss.brokeAtMs <= lossWindowMs) break;
      this.#recentStart += 1;
      loss.age();
    }
    if (this.#recentStart * 2 <= this.#recent.length) return;
    this.#recent = this.#recent.slice(this.#recentStart);
    this.#recentStart = 0;
  }

  #forgetRecent(): void {
    const recent = this.#recent;
    this.#recent = [];
    this.#recentStart = 0;
    for (const loss of recent) loss.age();
  }

  #trip(key: string | undefined, tally: LossTally, sinceMs: number): void {
    tally.hold = { sinceMs, peak: tally.missing };
    if (key !== undefined) this.#holding.set(key, tally);
    this.#report('tripped', key, tally);
  }

  #clear(key: string | undefined): void {
    const tally = key === undefined ? this.#registry : this.#services.get(key);
    if (tally?.hold === undefined) return;
    tally.hold = undefined;
    this.#report('cleared', key, tally);
    if (key === undefined) return;
    this.#holding.delete(key);
    this.#prune(key, tally);
  }

  #report(kind: GuardEvent['kind'], key: string | undefined, { missing, total }: LossTally): void {
    this.#onEvent({ kind, key, missing, total });
  }

  #service(key: string): LossTally {
    let service = this.#services.get(key);
    if (service === undefined) {
      service = new LossTally(this.#serviceThresholds);
      this.#services.set(key, service);
    }
    return service;
  }

  #prune(key: string, service: LossTally): void {
    if (service.isEmpty) this.#services.delete(key);
  }
}
