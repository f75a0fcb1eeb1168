import type { ServerConfig } from '../config/config.ts';
import type { GuardResult } from '../protocol/http-results.ts';
import type { Held } from './loss-messages.ts';
import { LossTally } from './loss-tally.ts';
import type { LossThresholds } from './loss-tally.ts';
import { Loss } from './loss.ts';
import type { LossBook, LossShare } from './loss.ts';
import { RemovedNames } from './removed-names.ts';

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

export type GuardDescription = Omit<GuardResult, 'heldSessions' | 'heldInstances'>;

/** What operators have ordered: keys of services, or an empty text, which stands for all. */
export interface StandingVerdicts {
  /** Nothing of these that is lost is removed. */
  readonly held: readonly string[];
  /** Nothing of these is held back. */
  readonly released: readonly string[];
}

/** Changes for hosts since the last report to them. */
export interface GuardChanges {
  /** No name is to be watched any more, but those that follow. */
  readonly isUnwatchingAll: boolean;
  readonly track: readonly string[];
  readonly untrack: readonly string[];
  readonly watch: readonly number[];
  readonly unwatch: readonly number[];
  /** Removals that were held back may proceed. */
  readonly isRecheck: boolean;
}

/** So many sessions must have lost instances of a service before its guard trips: one that crashes alone is no network cut. */
const serviceSessionsMin = 3;

/** Shares of losses that are looked at in one step of time, at most; the rest has its turn in the next. */
const sharesPerAdvance = 20_000;

/**
 * Tells a network cut from a deploy: when a large part of all sessions breaks within a short time, what they registered is held back rather
 * than removed. One guard watches sessions of the whole registry, one each service, whichever hosts hold them. What was removed already counts as
 * lost for the window, unless it is registered again, since a cut that heartbeats find comes to light over seconds. Pure: it is told what breaks,
 * comes back and goes, and asked whether a removal may go ahead. Only broken connections count; clean closes are never held back.
 */
export class LossGuard {
  readonly #settings: LossGuardSettings;
  readonly #onEvent: (event: GuardEvent) => void;
  readonly #serviceThresholds: LossThresholds;
  /** Of services that are declared with their own. */
  readonly #declaredThresholds: Map<string, LossThresholds> = new Map();
  readonly #names: RemovedNames<LossShare> = new RemovedNames();
  readonly #registry: LossTally;
  readonly #book: LossBook;
  /** Services of which something is lost; others need no counting. */
  readonly #services: Map<string, LossTally> = new Map();
  /** Sessions that lost something, by number. */
  readonly #losses: Map<number, Loss> = new Map();
  /** Losses of the window, oldest first, from `#recentStart` on. */
  #recent: Loss[] = [];
  #recentStart = 0;
  /** Services whose guard holds back. */
  readonly #holding: Map<string, LossTally> = new Map();
  /** Services to start or stop tracking, since hosts were last informed. */
  readonly #tracked: Map<string, boolean> = new Map();
  /** Once everything was released: losses that may have nothing left. */
  #unswept: Iterator<Loss, undefined> | undefined;
  #heldByOrder: ReadonlySet<string> = new Set();
  #releasedByOrder: ReadonlySet<string> = new Set();
  #isUnwatchingAll = false;
  #isRecheck = false;
  #nowMs = Number.NEGATIVE_INFINITY;

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
    this.#book = this.#createBook();
    this.#serviceThresholds = {
      min: lossServiceInstancesMin,
      percent: lossServicePercent,
      sessionsMin: serviceSessionsMin,
    };
  }

  /** Whether it has nothing to remember. */
  get isEmpty(): boolean {
    return this.#services.size + this.#losses.size + this.#names.size + this.#recent.length - this.#recentStart === 0;
  }

  /** Guards that hold back now. */
  get holding(): { readonly registry: number; readonly service: number } {
    return { registry: this.#registry.isHolding ? 1 : 0, service: this.#holding.size };
  }

  /** Names that it could not watch for, so far. */
  get namesOverflow(): number {
    return this.#names.overflow;
  }

  /** So many connections of a host hold registrations. */
  setSessions(host: number, sessions: number): void {
    this.#registry.setTotal(host, sessions);
  }

  /**
   * A service is declared with the share of its instances that is to stay, 0 to 1, however many are lost at once; undefined: with none, as others are. Where it is 0
   * nothing of that service alone is held back.
   */
  setProtection(key: string, share: number | undefined): void {
    if (share === undefined) this.#declaredThresholds.delete(key);
    else this.#declaredThresholds.set(key, describeProtection(share));
    this.#services.get(key)?.setThresholds(this.#thresholdsOf(key));
  }

  #thresholdsOf(key: string): LossThresholds {
    return this.#declaredThresholds.get(key) ?? this.#serviceThresholds;
  }

  /** A host holds this many instances of a service. */
  setTotal(host: number, key: string, total: number): void {
    this.#services.get(key)?.setTotal(host, total);
  }

  /** A connection broke. `services`: how many instances it held of each. */
  noteMissing(host: number, session: number, services: Iterable<readonly [key: string, count: number]>): void {
    this.#losses.get(session)?.forgetAll();
    for (const [key, count] of services) this.#add(session, key, count);
    const loss = this.#losses.get(session);
    if (loss !== undefined) loss.host = host;
  }

  /** A missing session holds more of a service, or less since it is somebody else's. */
  noteChanged(host: number, session: number, key: string, change: number): void {
    const loss = this.#losses.get(session);
    if (loss !== undefined && loss.host !== host) return;
    if (change > 0) {
      this.#add(session, key, change);
      this.#losses.get(session)!.host = host;
    } else {
      loss?.settle(key, -change);
    }
  }

  /** An instance of a missing session was removed. */
  noteRemoved(host: number, session: number, key: string, name: number): void {
    const loss = this.#losses.get(session);
    if (loss?.host === host) loss.remove(key, name);
  }

  /** An instance that was removed has been registered again. */
  noteReturned(name: number): void {
    const share = this.#names.find(name);
    share?.loss.restore(share, name);
  }

  /** A missing session continues, with all that it held. */
  noteBack(host: number, session: number): void {
    const loss = this.#losses.get(session);
    // What one host says of a session that has broken at another since comes late.
    if (loss?.host === host) loss.forgetAll();
  }

  /** How many services a session lost something of: what it costs to judge it. */
  sizeOf(session: number): number {
    return this.#losses.get(session)?.size ?? 0;
  }

  /** What a missing session registered whose time is over: what of it is to stay for now. */
  judge(session: number): Held {
    const loss = this.#losses.get(session);
    if (loss?.isMissing !== true) return 'none';
    const held = this.#decide(loss);
    loss.noteJudged();
    return held;
  }

  /** An operator releases what is held: of one service, or everything. Later losses are judged separately. */
  release(key?: string): void {
    if (key === undefined) {
      this.#letEverythingGo();
    } else {
      for (const { session } of this.#services.get(key)?.parts ?? []) this.#losses.get(session)?.letGo(key);
      this.#clear(key);
      this.#registry.noteLetGo();
    }
    this.#isRecheck = true;
  }

  /** From now on operators' orders come before what the guard would decide. What is held already is judged again. */
  setStanding({ held, released }: StandingVerdicts): void {
    const before = this.#releasedByOrder;
    this.#heldByOrder = new Set(held);
    this.#releasedByOrder = new Set(released);
    for (const key of this.#releasedByOrder) {
      // What is to be held comes first, as long as both stand.
      const isHeld =
        this.#heldByOrder.size > 0 && (key === '' || this.#heldByOrder.has('') || this.#heldByOrder.has(key));
      if (!before.has(key) && !isHeld) this.release(key === '' ? undefined : key);
    }
    this.#isRecheck = true;
  }

  /** Moves time on: what broke too long ago is no recent loss, and guards end whose time is over or whose sessions are back. */
  advance(nowMs: number): void {
    if (nowMs <= this.#nowMs) return;
    this.#nowMs = nowMs;
    this.#ageRecent();
    this.#sweep();
    this.#judgeRegistry();
    let sharesLeft = sharesPerAdvance;
    for (const [key, service] of this.#holding) {
      if (sharesLeft <= 0) break;
      const shares = service.parts.size;
      if (this.#isTimeOver(service)) this.release(key);
      else if (service.judgeOver(this.#nowMs, this.#settings.lossWindowMs)) this.#end(key, service);
      else continue;
      sharesLeft -= shares;
    }
  }

  /** All services and names that hosts are to report. */
  watched(): Pick<GuardChanges, 'track' | 'watch'> {
    return { track: [...this.#services.keys()], watch: this.#names.all() };
  }

  /** What hosts have to be informed of, since the last time. */
  drainChanges(): GuardChanges {
    const track: string[] = [];
    const untrack: string[] = [];
    for (const [key, isTracked] of this.#tracked) (isTracked ? track : untrack).push(key);
    const changes = {
      isUnwatchingAll: this.#isUnwatchingAll,
      track,
      untrack,
      ...this.#names.drainChanges(),
      isRecheck: this.#isRecheck,
    };
    this.#tracked.clear();
    this.#isUnwatchingAll = false;
    this.#isRecheck = false;
    return changes;
  }

  describe(): GuardDescription {
    const { heldSinceMs, missing, present } = this.#registry;
    return {
      isHolding: heldSinceMs !== undefined,
      ...(heldSinceMs === undefined ? {} : { holdingForMs: Math.round(this.#nowMs - heldSinceMs) }),
      missingSessions: missing,
      sessions: present,
      services: [...this.#holding].map(([key, service]) => ({
        key,
        holdingForMs: Math.round(this.#nowMs - (service.heldSinceMs ?? this.#nowMs)),
        missing: service.missing,
        total: service.total,
      })),
      thresholds: this.#settings,
    };
  }

  #decide(loss: Loss): Held {
    if (this.#heldByOrder.has('') || this.#isRegistryHeld())
      return loss.isPartlyLetGo ? [...loss.missingKeys()] : 'all';
    const held = [...loss.missingKeys()].filter((key) => this.#heldByOrder.has(key) || this.#isServiceHeld(key));
    return held.length === 0 ? 'none' : held;
  }

  #isRegistryHeld(): boolean {
    if (this.#releasedByOrder.has('')) return false;
    const registry = this.#registry;
    if (!registry.isHolding && registry.isTripped) this.#trip(undefined, registry, this.#nowMs);
    return registry.isHolding;
  }

  #isServiceHeld(key: string): boolean {
    if (this.#releasedByOrder.has('') || this.#releasedByOrder.has(key)) return false;
    const service = this.#service(key);
    if (!service.isHolding && service.isTripped) this.#trip(key, service, this.#nowMs);
    return service.isHolding;
  }

  #add(session: number, key: string, count: number): void {
    let loss = this.#losses.get(session);
    if (loss === undefined) {
      loss = new Loss(session, this.#nowMs, this.#book);
      this.#losses.set(session, loss);
      this.#recent.push(loss);
    }
    loss.add(key, this.#service(key), count);
  }

  #isTimeOver({ heldSinceMs }: LossTally): boolean {
    return heldSinceMs !== undefined && this.#nowMs - heldSinceMs >= this.#settings.lossHoldMaxMs;
  }

  #judgeRegistry(): void {
    const registry = this.#registry;
    if (this.#isTimeOver(registry)) {
      this.release();
      return;
    }
    if (!registry.judgeOver(this.#nowMs, this.#settings.lossWindowMs)) return;
    const sinceMs = registry.heldSinceMs ?? this.#nowMs;
    for (const [key, service] of this.#services) {
      // Most are back, but a service of which most is still missing is still guarded by itself.
      if (!service.isHolding && service.isMissingMuch) this.#trip(key, service, sinceMs);
      // Else what was lost lately would trip it again at once.
      if (!service.isHolding) service.ageAll();
    }
    registry.ageAll();
    this.#clear(undefined);
    this.#isRecheck = true;
  }

  /** A service's guard ends because enough have come back. */
  #end(key: string, service: LossTally): void {
    // Those that it has nothing to remember of leave it on the way.
    for (const { session } of service.parts) this.#losses.get(session)?.ageService(key);
    this.#clear(key);
    this.#isRecheck = true;
  }

  #ageRecent(): void {
    // While it holds back, the losses that tripped it count until they are back, removed or not.
    if (this.#registry.isHolding) {
      this.#recent = this.#recent.slice(this.#recentStart).filter(({ isOver }) => !isOver);
      this.#recentStart = 0;
      return;
    }
    let sharesLeft = sharesPerAdvance;
    while (sharesLeft > 0) {
      const loss = this.#recent[this.#recentStart];
      if (loss === undefined || this.#nowMs - loss.brokeAtMs <= this.#settings.lossWindowMs) break;
      this.#recentStart += 1;
      sharesLeft -= 1 + loss.size;
      loss.endWindow();
    }
    if (this.#recentStart * 2 <= this.#recent.length) return;
    this.#recent = this.#recent.slice(this.#recentStart);
    this.#recentStart = 0;
  }

  /** At once, however many sessions there are: losses from now on are counted separately. The sessions stay known until they are gone, so that they are not counted as alive. */
  #letEverythingGo(): void {
    for (const held of this.#holding.keys()) this.#clear(held);
    this.#clear(undefined);
    this.#registry.letAllGo();
    for (const service of this.#services.values()) service.letAllGo();
    this.#recent = [];
    this.#recentStart = 0;
    this.#names.clear();
    this.#isUnwatchingAll = true;
    this.#unswept = this.#losses.values();
  }

  /** Forgets those of which everything had been removed when the rest was released. */
  #sweep(): void {
    let sharesLeft = sharesPerAdvance;
    while (this.#unswept !== undefined && sharesLeft > 0) {
      const { value: loss } = this.#unswept.next();
      if (loss === undefined) this.#unswept = undefined;
      else {
        sharesLeft -= 1 + loss.size;
        loss.dropRemoved();
      }
    }
  }

  #trip(key: string | undefined, tally: LossTally, sinceMs: number): void {
    tally.hold(sinceMs, this.#nowMs);
    if (key !== undefined) this.#holding.set(key, tally);
    this.#report('tripped', key, tally);
  }

  #clear(key: string | undefined): void {
    const tally = key === undefined ? this.#registry : this.#services.get(key);
    if (tally?.isHolding !== true) return;
    tally.letGo();
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
      service = new LossTally(this.#thresholdsOf(key));
      this.#services.set(key, service);
      this.#tracked.set(key, true);
    }
    return service;
  }

  #prune(key: string, service: LossTally): void {
    if (!service.isIdle || this.#services.get(key) !== service) return;
    this.#services.delete(key);
    this.#tracked.set(key, false);
  }

  #createBook(): LossBook {
    return {
      registry: this.#registry,
      names: this.#names,
      onShareOver: (key, tally) => {
        this.#prune(key, tally);
      },
      onOver: (loss) => {
        if (this.#losses.get(loss.session) === loss) this.#losses.delete(loss.session);
      },
    };
  }
}

/** More than all: nothing is ever lost to that extent. */
const neverPercent = 101;

/** The share was declared on purpose, so it holds for small services, too; a single session that crashes is no network cut all the same. */
function describeProtection(share: number): LossThresholds {
  return { min: 1, percent: share === 0 ? neverPercent : (1 - share) * 100, sessionsMin: serviceSessionsMin };
}
