import { LossPart } from './loss-tally.ts';
import type { LossTally } from './loss-tally.ts';
import type { RemovedNames } from './removed-names.ts';

/** What a broken session lost of one service. */
export class LossShare {
  readonly loss: Loss;
  readonly key: string;
  readonly part: LossPart;
  /** Hashed names of instances that were removed; most sessions lose none. */
  #names: Set<number> | undefined;

  constructor(loss: Loss, key: string, part: LossPart) {
    this.loss = loss;
    this.key = key;
    this.part = part;
  }

  addName(name: number): void {
    this.#names = (this.#names ?? new Set()).add(name);
  }

  removeName(name: number): void {
    this.#names?.delete(name);
  }

  drainNames(): Iterable<number> {
    const names = this.#names ?? [];
    this.#names = undefined;
    return names;
  }
}

/** What losses need of the guard that keeps them. */
export interface LossBook {
  readonly registry: LossTally;
  readonly names: RemovedNames<LossShare>;
  /** Hears when a loss has nothing to do with a service any more. */
  readonly onShareOver: (key: string, tally: LossTally) => void;
  /** Hears when nothing of a loss counts any more. */
  readonly onOver: (loss: Loss) => void;
}

/** One session whose connection broke: what it lost of each service, and so whether the registry counts it as missing or removed. */
export class Loss {
  readonly session: number;
  readonly brokeAtMs: number;
  readonly #book: LossBook;
  readonly #whole: LossPart;
  readonly #shares: Map<string, LossShare> = new Map();
  #missing = 0;
  #removed = 0;
  #letGo = 0;
  #era: number;
  #isJudged = false;
  #isPastWindow = false;

  /** The host that reported it last. A session that continues on another host and breaks there belongs to that one. */
  host = 0;

  constructor(session: number, brokeAtMs: number, book: LossBook) {
    this.session = session;
    this.brokeAtMs = brokeAtMs;
    this.#book = book;
    this.#era = book.registry.era;
    this.#whole = new LossPart(session, book.registry, true);
    book.registry.attach(this.#whole);
  }

  /** How many services it lost something of. */
  get size(): number {
    return this.#shares.size;
  }

  get isMissing(): boolean {
    this.#catchUp();
    return this.#missing > 0;
  }

  /** Whether nothing of it counts any more. */
  get isOver(): boolean {
    return this.#shares.size === 0;
  }

  /** Whether some of it may go while the rest is missing. */
  get isPartlyLetGo(): boolean {
    this.#catchUp();
    return this.#letGo > 0;
  }

  /** The services of which instances are missing. */
  *missingKeys(): Generator<string, void, undefined> {
    for (const [key, { part }] of this.#shares) if (part.missing > 0) yield key;
  }

  add(key: string, tally: LossTally, count: number): void {
    let share = this.#shares.get(key);
    if (share === undefined) {
      share = new LossShare(this, key, new LossPart(this.session, tally, this.#whole.isRecent));
      this.#shares.set(key, share);
      tally.attach(share.part);
    }
    this.#change(share, count, 0, 0);
  }

  /** Instances are missing no more: they are somebody else's. */
  settle(key: string, count: number): void {
    const share = this.#shares.get(key);
    if (share === undefined) return;
    const missing = Math.min(count, share.part.missing);
    this.#change(share, -missing, 0, -Math.min(count - missing, share.part.letGo));
    this.#dropIfOver(share);
  }

  /** An instance is removed, and counts as lost for the rest of the window, unless it is registered again. */
  remove(key: string, name: number): void {
    const share = this.#shares.get(key);
    if (share === undefined) return;
    const { missing, letGo } = share.part;
    const isCounted = missing > 0 && share.part.isRecent;
    if (missing > 0) this.#change(share, -1, isCounted ? 1 : 0, 0);
    else this.#change(share, 0, 0, -Math.min(1, letGo));
    if (isCounted && this.#book.names.add(name, share)) share.addName(name);
    this.#dropIfOver(share);
  }

  /** An instance that was removed has been registered again. */
  restore(share: LossShare, name: number): void {
    this.#book.names.delete(name, share);
    share.removeName(name);
    this.#change(share, 0, -Math.min(1, share.part.removed), 0);
    this.#dropIfOver(share);
  }

  /** The guard has judged it once, so it need not count as recent for longer than others. */
  noteJudged(): void {
    this.#isJudged = true;
    if (this.#isPastWindow) this.age();
  }

  /** The window is over. What waits for its first verdict still counts: otherwise a grace longer than the window would blind the guard. */
  endWindow(): void {
    this.#isPastWindow = true;
    if (this.#isJudged || !this.isMissing) this.age();
  }

  /** It broke too long ago to count as lost lately, but for services whose guard holds back. */
  age(): void {
    if (this.#whole.isRecent) this.#whole.age();
    for (const share of this.#shares.values()) if (!share.part.tally.isHolding) this.#ageShare(share);
  }

  /** What it lost of a service was lost too long ago to count as lost lately. */
  ageService(key: string): void {
    const share = this.#shares.get(key);
    if (share !== undefined) this.#ageShare(share);
  }

  /** What it lost of a service may go: it counts neither as lost lately nor as missing. */
  letGo(key: string): void {
    const share = this.#shares.get(key);
    if (share === undefined) return;
    this.#dropNames(share);
    const { missing, removed } = share.part;
    this.#change(share, -missing, -removed, missing);
    this.#dropIfOver(share);
  }

  /** Nothing of it counts any more. */
  forgetAll(): void {
    if (this.isOver) return;
    for (const share of this.#shares.values()) {
      this.#dropNames(share);
      const { tally } = share.part;
      tally.detach(share.part);
      this.#book.onShareOver(share.key, tally);
    }
    this.#shares.clear();
    this.#missing = 0;
    this.#removed = 0;
    this.#letGo = 0;
    // The end of its window is still to come, and must find nothing that counts.
    this.#whole.set(0, 0, 0);
    this.#end();
  }

  /** Everything was released, and so what was removed of it counts no more. */
  dropRemoved(): void {
    this.#catchUp();
    for (const share of this.#shares.values()) {
      if (share.part.removed === 0) this.#dropNames(share);
      this.#dropIfOver(share);
    }
  }

  #ageShare(share: LossShare): void {
    this.#dropNames(share);
    this.#change(share, 0, -share.part.removed, 0);
    if (share.part.isRecent) share.part.age();
    this.#dropIfOver(share);
  }

  #dropNames(share: LossShare): void {
    for (const name of share.drainNames()) this.#book.names.delete(name, share);
  }

  #change({ part }: LossShare, missing: number, removed: number, letGo: number): void {
    this.#catchUp();
    part.set(part.missing + missing, part.removed + removed, part.letGo + letGo);
    this.#missing += missing;
    this.#removed += removed;
    this.#letGo += letGo;
    // Of a session that is there only for what was released, what was removed before still counts.
    const isMissing = this.#missing > 0;
    this.#whole.set(isMissing ? 1 : 0, !isMissing && this.#removed > 0 ? 1 : 0, !isMissing && this.#letGo > 0 ? 1 : 0);
  }

  /** Everything has been released since, in all tallies at once. */
  #catchUp(): void {
    const { era } = this.#book.registry;
    if (this.#era === era) return;
    this.#era = era;
    this.#letGo += this.#missing;
    this.#missing = 0;
    this.#removed = 0;
  }

  #dropIfOver({ key, part }: LossShare): void {
    if (!part.isEmpty || this.#shares.get(key)?.part !== part) return;
    this.#shares.delete(key);
    part.tally.detach(part);
    this.#book.onShareOver(key, part.tally);
    if (this.isOver) this.#end();
  }

  #end(): void {
    this.#whole.tally.detach(this.#whole);
    this.#book.onOver(this);
  }
}
