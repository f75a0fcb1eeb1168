import { nowMs } from './clock.ts';
import type { LoadPlan, Tallies, VerifyOutcome } from './load-orders.ts';
import type { LoadSession } from './load-session.ts';
import { perReader } from './population.ts';
import type { Propagation } from './propagation.ts';
import { isDifference, PushReader, readMarks, readRemoved, readVersion } from './push-reader.ts';
import { ReaderViews } from './reader-views.ts';
import { buildSubscribe } from './requests.ts';

/** One subscription of a reader. */
export interface ReaderSubscription {
  readonly session: LoadSession;
  readonly view: number;
  readonly service: number;
}

/** What readers saw that is counted. */
type Sightings = Pick<Tallies, 'falseRemovals' | 'resyncs' | 'countMin'>;

/** The readers of one process: what each of their lists holds, and when changes reach them. */
export class LoadReaders {
  readonly sessions: readonly LoadSession[];
  readonly #plan: LoadPlan;
  readonly #views: ReaderViews;
  readonly #pushReader: PushReader;
  readonly #perReader: number;
  #propagation: Propagation | undefined;
  /** The events of a deploy are instances, those of a churn are changes. */
  #isDeploy = false;
  #sightings: { -readonly [K in keyof Sightings]: Sightings[K] } = createSightings();
  pushes = 0;
  pushBytes = 0;

  constructor(plan: LoadPlan, sessions: readonly LoadSession[]) {
    const { population } = plan;
    this.sessions = sessions;
    this.#plan = plan;
    this.#views = new ReaderViews(population, sessions.length);
    this.#pushReader = new PushReader(population.namespace);
    this.#perReader = perReader(population);
  }

  get sightings(): Sightings {
    return this.#sightings;
  }

  forgetSightings(): void {
    this.#sightings = createSightings();
  }

  /** What arrives from now on is recorded in `propagation`, if there is one. */
  observe(propagation: Propagation | undefined, isDeploy: boolean): void {
    this.#propagation = propagation;
    this.#isDeploy = isDeploy;
  }

  /** The slowest push since the last call, in milliseconds. */
  drainSlowestMs(): number {
    if (this.#propagation === undefined) return 0;
    const { slowestMs } = this.#propagation;
    this.#propagation.slowestMs = 0;
    return slowestMs;
  }

  /** The answer to a subscription. */
  handleAnswer(session: LoadSession, view: number, bytes: Buffer, start: number, end: number): void {
    const version = readVersion(bytes, start);
    if (isDifference(bytes, start, end)) this.#applyDifference(session, view, version, bytes, start, end);
    else this.#applyList(session, view, version, bytes, start, end);
  }

  handlePush(session: LoadSession, bytes: Buffer, start: number, end: number): void {
    this.pushes += 1;
    this.pushBytes += end - start;
    const head = this.#pushReader.readHead(bytes, start, end);
    const view = this.#views.viewOf(session.local, this.#offsetOf(session, head.service));
    const version = this.#views.versionOf(view);
    if (head.from === undefined) {
      if (head.to >= version) this.#applyList(session, view, head.to, bytes, start, end);
    } else if (head.to > version) {
      if (head.from !== version) {
        this.#resubscribe(session, view);
        return;
      }
      this.#applyDifference(session, view, head.to, bytes, start, end);
      const count = this.#views.countOf(view);
      if (count < this.#sightings.countMin) this.#sightings.countMin = count;
      if (head.count !== count) this.#resubscribe(session, view);
    }
  }

  /** `isResuming`: with the version that the reader holds. */
  sendSubscribe(session: LoadSession, view: number, isResuming = false): void {
    const service = this.#serviceAt(session, view - this.#views.viewOf(session.local, 0));
    const version = isResuming ? this.#views.versionOf(view) : 0;
    const held = { version, count: this.#views.countOf(view) };
    session.send(buildSubscribe(this.#plan.population, view, service, held));
  }

  /** The lists of one reader. */
  viewsOf(session: LoadSession): number[] {
    return Array.from({ length: this.#subscriptionsOf(session) }, (_, offset) =>
      this.#views.viewOf(session.local, offset),
    );
  }

  countSubscriptions(): number {
    return this.sessions.reduce((sum, session) => sum + this.#subscriptionsOf(session), 0);
  }

  /** All readers by turns. */
  *subscriptions(): Generator<ReaderSubscription, void> {
    for (let offset = 0; offset < this.#perReader; offset += 1) {
      for (const session of this.sessions) {
        if (offset >= this.#subscriptionsOf(session)) continue;
        const view = this.#views.viewOf(session.local, offset);
        yield { session, view, service: this.#serviceAt(session, offset) };
      }
    }
  }

  /** How many of those who read have subscribed each service. */
  countWatchers(): Uint32Array {
    const watchers = new Uint32Array(this.#plan.population.services);
    for (const { session, service } of this.subscriptions()) if (!session.isStalled) watchers[service]! += 1;
    return watchers;
  }

  /** So many of a hundred stop reading, spread evenly, and the same ones for the same settings. Returns how many. */
  stall(percent: number): number {
    const chosen = this.sessions.filter(
      ({ index }) => Math.floor(((index + 1) * percent) / 100) > Math.floor((index * percent) / 100),
    );
    for (const session of chosen) session.stall();
    return chosen.length;
  }

  resume(): void {
    for (const session of this.sessions) session.resume();
  }

  /** `expected`: the mark that an instance should have. */
  compare(expected: (instance: number) => number): VerifyOutcome {
    let [views, wrongViews, example] = [0, 0, ''];
    for (const { session, view, service } of this.subscriptions()) {
      if (session.isLost) continue;
      views += 1;
      const difference = this.#views.findDifference(view, service, expected);
      if (difference === undefined) continue;
      wrongViews += 1;
      example = `reader ${session.index}, ${difference}`;
    }
    const closed = this.sessions.filter(({ isLost }) => isLost);
    const closeCodes = [...new Set(closed.map(({ closeCode }) => closeCode ?? 1006))];
    return { views, wrongViews, example, closedReaders: closed.length, closeCodes };
  }

  #applyList(session: LoadSession, view: number, version: number, bytes: Buffer, start: number, end: number): void {
    const { services } = this.#plan.population;
    const at = nowMs();
    const before = this.#views.empty(view);
    const service = this.#serviceAt(session, view - this.#views.viewOf(session.local, 0));
    readMarks(bytes, start, end, (instance, mark) => {
      const place = Math.floor(instance / services);
      this.#views.put(view, instance, mark);
      if (before[place]! - 1 < mark) this.#recordPut(session, instance, before[place]! - 1, mark, at);
      before[place] = 0;
    });
    for (const [place, mark] of before.entries()) {
      if (mark !== 0) this.#removed(session, place * services + service, at);
    }
    this.#views.setVersion(view, version);
  }

  #applyDifference(
    session: LoadSession,
    view: number,
    version: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    const at = nowMs();
    readMarks(bytes, start, end, (instance, mark) => this.#put(session, view, instance, mark, at));
    readRemoved(bytes, start, end, (instance) => {
      if (this.#views.remove(view, instance)) this.#removed(session, instance, at);
    });
    this.#views.setVersion(view, version);
  }

  #put(session: LoadSession, view: number, instance: number, mark: number, atMs: number): void {
    const before = this.#views.put(view, instance, mark);
    if (before < mark) this.#recordPut(session, instance, before, mark, atMs);
  }

  /** A change that reached a reader only merged into a later one is recorded with it, and counts from its own, earlier start. */
  #recordPut(session: LoadSession, instance: number, before: number, mark: number, atMs: number): void {
    const propagation = this.#propagation;
    if (propagation === undefined || session.isStalled) return;
    if (this.#isDeploy) {
      propagation.record(instance, atMs);
      return;
    }
    const { instances } = this.#plan.population;
    const last = mark - 1;
    const count = Math.floor((last - Math.max(propagation.firstEvent, before)) / instances) + 1;
    if (count > 0) propagation.recordRun(last, instances, count, atMs);
  }

  #removed(session: LoadSession, instance: number, atMs: number): void {
    const propagation = this.#propagation;
    const isMeant =
      this.#isDeploy && propagation !== undefined && instance % 2 === 0 && atMs >= propagation.intendedAtMs(instance);
    if (!isMeant) this.#sightings.falseRemovals += 1;
    else if (!session.isStalled) propagation.record(instance, atMs);
  }

  #resubscribe(session: LoadSession, view: number): void {
    this.#sightings.resyncs += 1;
    this.sendSubscribe(session, view);
  }

  /** A reader's subscriptions are neighbours among all, and those of neighbouring services. */
  #serviceAt(session: LoadSession, offset: number): number {
    return (session.index * this.#perReader + offset) % this.#plan.population.services;
  }

  #offsetOf(session: LoadSession, service: number): number {
    const { services } = this.#plan.population;
    return (service - ((session.index * this.#perReader) % services) + services) % services;
  }

  #subscriptionsOf(session: LoadSession): number {
    const { services, subscribers } = this.#plan.population;
    return Math.max(0, Math.min(this.#perReader, services * subscribers - session.index * this.#perReader));
  }
}

function createSightings(): Sightings {
  return { falseRemovals: 0, resyncs: 0, countMin: Number.POSITIVE_INFINITY };
}
