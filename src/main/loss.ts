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

  takeNames(): Iterable<number> {
    const names = this.#names ?? [];
    this.#names = undefined;
    return names;
  }
}

/** What losses need of the guard that keeps them. */
export interface LossBook {
  readonly registry: LossTally;
  readonly names: RemovedNames;
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
  #isJudged = false;
  #isPastWindow = false;
  #hasForgotten = false;

  constructor(session: number, brokeAtMs: number, book: LossBook) {
    this.session = session;
    this.brokeAtMs = brokeAtMs;
    this.#book = book;
    this.#whole = new LossPart(session, book.registry, true);
    book.registry.attach(this.#whole);
  }

  /** How many services it lost something of. */
  get size(): number {
    return this.#shares.size;
  }

  get isMissing(): boolean {
    return this.#missing > 0;
  }

  /** Whether nothing of it counts any more. */
  get isOver(): boolean {
    return this.#shares.size === 0;
  }

  /** Whether some of it was let go while the rest is missing. */
  get hasForgotten(): boolean {
    return this.#hasForgotten;
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
    this.#change(share, count, 0);
  }

  /** Instances are missing no more: they are somebody else's. */
  settle(key: string, count: number): void {
    const share = this.#shares.get(key);
    if (share === undefined) return;
    this.#change(share, -Math.min(count, share.part.missing), 0);
    this.#dropIfOver(share);
  }

  /** An instance is removed, and counts as lost for the rest of the window, unless it is registered again. */
  remove(key: string, name: number): void {
    const share = this.#shares.get(key);
    if (share === undefined || share.part.missing === 0) return;
    const isCounted = share.part.isRecent;
    this.#change(share, -1, isCounted ? 1 : 0);
    if (isCounted && this.#book.names.add(name, share)) share.addName(name);
    this.#dropIfOver(share);
  }

  /** An instance that was removed has been registered again. */
  restore(share: LossShare, name: number): void {
    this.#book.names.delete(name);
    share.removeName(name);
    this.#change(share, 0, -Math.min(1, share.part.removed));
    this.#dropIfOver(share);
  }

  /** The guard has judged it once, so it need not count as recent for longer than others. */
  noteJudged(): void {
    this.#isJudged = true;
    if (this.#isPastWindow) this.age();
  }

  /** The window is over. What waits for its first verdict goes on counting: else a grace longer than the window would blind the guard. */
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

  /** What it lost of a service counts no more, neither as lost lately nor as missing. */
  forget(key: string): void {
    const share = this.#shares.get(key);
    if (share === undefined) return;
    this.#hasForgotten = true;
    this.#forgetShare(share);
  }

  /** Nothing of it counts any more. */
  forgetAll(): void {
    for (const share of this.#shares.values()) this.#forgetShare(share);
  }

  #forgetShare(share: LossShare): void {
    this.#dropNames(share);
    this.#change(share, -share.part.missing, -share.part.removed);
    this.#dropIfOver(share);
  }

  #ageShare(share: LossShare): void {
    this.#dropNames(share);
    this.#change(share, 0, -share.part.removed);
    if (share.part.isRecent) share.part.age();
    this.#dropIfOver(share);
  }

  #dropNames(share: LossShare): void {
    for (const name of share.takeNames()) this.#book.names.delete(name);
  }

  #change({ part }: LossShare, missing: number, removed: number): void {
    part.set(part.missing + missing, part.removed + removed);
    this.#missing += missing;
    this.#removed += removed;
    this.#whole.set(this.#missing > 0 ? 1 : 0, this.#missing === 0 && this.#removed > 0 ? 1 : 0);
  }

  #dropIfOver({ key, part }: LossShare): void {
    if (part.missing + part.removed > 0) return;
    this.#shares.delete(key);
    part.tally.detach(part);
    this.#book.onShareOver(key, part.tally);
    if (this.#shares.size > 0) return;
    this.#whole.tally.detach(this.#whole);
    this.#book.onOver(this);
  }
}
