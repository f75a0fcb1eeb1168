/** How many of one kind must be lost at a time, and of how many, to be a mass loss. */
export interface LossThresholds {
  readonly min: number;
  readonly percent: number;
  /** From so many sessions. */
  readonly sessionsMin: number;
}

/** A guard that holds back. */
export interface Hold {
  readonly sinceMs: number;
  /** The most that was missing meanwhile. */
  peak: number;
}

const noLosses: ReadonlySet<Loss> = new Set();

/** What one guard counts: sessions for the whole registry, instances for a service. */
export class LossTally {
  readonly thresholds: LossThresholds;
  /** All that there are, missing ones included. */
  total = 0;
  /** Those whose connection broke, and which have neither come back nor been removed. */
  missing = 0;
  /** Lost within the window and not come back; some may be removed already. */
  recent = 0;
  /** Sessions that lost something within the window. */
  recentSessions = 0;
  /** Of the recent ones, those that are removed: the first to break must not be forgotten when the last do. */
  removed = 0;
  /** Sessions that lost something of this; most services never lose anything, and there are many of them. */
  #losses: Set<Loss> | undefined;
  hold: Hold | undefined;

  constructor(thresholds: LossThresholds) {
    this.thresholds = thresholds;
  }

  get losses(): ReadonlySet<Loss> {
    return this.#losses ?? noLosses;
  }

  addLoss(loss: Loss): void {
    this.#losses = (this.#losses ?? new Set()).add(loss);
  }

  removeLoss(loss: Loss): void {
    this.#losses?.delete(loss);
    if (this.#losses?.size === 0) this.#losses = undefined;
  }

  get isEmpty(): boolean {
    return this.total <= 0 && this.losses.size === 0 && this.hold === undefined;
  }

  /** Whether what broke lately is a mass loss. */
  get isTripped(): boolean {
    return this.recentSessions >= this.thresholds.sessionsMin && this.#isLarge(this.recent, this.total + this.removed);
  }

  /** Whether what is missing is, by itself, a mass loss; how long ago it broke does not matter. */
  get isMissingMuch(): boolean {
    return this.losses.size >= this.thresholds.sessionsMin && this.#isLarge(this.missing, this.total);
  }

  /** Whether enough have come back since the guard tripped: what is left is small again, and the smaller part of what was missing. */
  get isOver(): boolean {
    if (this.hold === undefined) return false;
    this.hold.peak = Math.max(this.hold.peak, this.missing);
    return !this.#isLarge(this.missing, this.total) && this.missing * 2 <= this.hold.peak;
  }

  #isLarge(lost: number, total: number): boolean {
    return lost >= this.thresholds.min && lost * 100 >= this.thresholds.percent * total;
  }
}

/** What all losses share. */
export interface LossBook {
  readonly registry: LossTally;
  /** By name, instances that were removed within the window and have not been registered again, with the loss that they belong to. */
  readonly removed: Map<string, Loss>;
  /** Hears of services that a loss has nothing to do with any more. */
  readonly onIdle: (key: string, tally: LossTally) => void;
}

/** What a broken session lost of one service. */
interface Share {
  readonly tally: LossTally;
  /** Instances. */
  missing: number;
  /** Names. */
  readonly removed: Set<string>;
  isRecent: boolean;
}

/** One session whose connection broke. Keeps the tallies of its services, and the registry's, right. */
export class Loss {
  readonly session: number;
  readonly brokeAtMs: number;
  readonly #book: LossBook;
  readonly #shares: Map<string, Share> = new Map();
  /** It still holds registrations. */
  #isMissing = true;
  /** All that it held is removed, within the window. */
  #isRemoved = false;
  #isRecent = true;

  constructor(session: number, brokeAtMs: number, book: LossBook) {
    this.session = session;
    this.brokeAtMs = brokeAtMs;
    this.#book = book;
    book.registry.missing += 1;
    book.registry.recent += 1;
  }

  /** The services of which instances are missing. */
  keys(): string[] {
    return [...this.#shares].filter(([, { missing }]) => missing > 0).map(([key]) => key);
  }

  isMissing(key: string): boolean {
    return (this.#shares.get(key)?.missing ?? 0) > 0;
  }

  add(key: string, tally: LossTally): void {
    let share = this.#shares.get(key);
    if (share === undefined) {
      share = { tally, missing: 0, removed: new Set(), isRecent: this.#isRecent };
      this.#shares.set(key, share);
      tally.addLoss(this);
      if (share.isRecent) tally.recentSessions += 1;
    }
    share.missing += 1;
    tally.missing += 1;
    if (share.isRecent) tally.recent += 1;
  }

  /** One instance is missing no more: it is somebody else's. */
  settle(key: string): void {
    const share = this.#shares.get(key);
    if (share === undefined || share.missing === 0) return;
    share.missing -= 1;
    share.tally.missing -= 1;
    this.#countBack(key, share);
  }

  /** One instance is missing no more: it is removed, and counts as lost for the rest of the window, unless it is registered again. */
  remove(key: string, name: string): void {
    const share = this.#shares.get(key);
    if (share?.isRecent !== true || share.missing === 0) {
      this.settle(key);
      return;
    }
    share.missing -= 1;
    share.tally.missing -= 1;
    share.removed.add(name);
    share.tally.removed += 1;
    this.#book.removed.set(name, this);
  }

  /** An instance that was removed has been registered again. */
  restore(key: string, name: string): void {
    const share = this.#shares.get(key);
    if (share?.removed.delete(name) !== true) return;
    this.#book.removed.delete(name);
    share.tally.removed -= 1;
    this.#countBack(key, share);
    // So the whole session is back.
    if (this.#isRemoved && this.#shares.size === 0) this.age();
  }

  #countBack(key: string, share: Share): void {
    if (share.isRecent) share.tally.recent -= 1;
    if (share.missing + share.removed.size === 0) this.forget(key);
  }

  /** The session holds nothing any more. */
  end(isRemoved: boolean): void {
    this.#stopMissing();
    if (isRemoved && this.#isRecent) {
      this.#isRemoved = true;
      this.#book.registry.removed += 1;
    } else {
      this.age();
    }
  }

  /** It broke too long ago to count as lost lately. */
  age(): void {
    for (const key of this.#shares.keys()) this.ageShare(key);
    if (!this.#isRecent) return;
    this.#isRecent = false;
    this.#book.registry.recent -= 1;
    if (this.#isRemoved) this.#book.registry.removed -= 1;
  }

  /** What it lost of a service was lost too long ago to count as lost lately. */
  ageShare(key: string): void {
    const share = this.#shares.get(key);
    if (share === undefined) return;
    if (share.isRecent) {
      share.isRecent = false;
      share.tally.recent -= share.missing + share.removed.size;
      share.tally.removed -= share.removed.size;
      share.tally.recentSessions -= 1;
      for (const name of share.removed) this.#book.removed.delete(name);
      share.removed.clear();
    }
    if (share.missing > 0) return;
    this.#shares.delete(key);
    share.tally.removeLoss(this);
    this.#book.onIdle(key, share.tally);
  }

  /** What it lost of a service counts no more, neither as lost lately nor as missing. */
  forget(key: string): void {
    const share = this.#shares.get(key);
    if (share === undefined) return;
    const { missing } = share;
    share.tally.missing -= missing;
    if (share.isRecent) share.tally.recent -= missing;
    share.missing = 0;
    this.ageShare(key);
  }

  /** Nothing of it counts any more. */
  forgetAll(): void {
    for (const key of this.#shares.keys()) this.forget(key);
    this.#stopMissing();
    this.age();
  }

  #stopMissing(): void {
    if (!this.#isMissing) return;
    this.#isMissing = false;
    this.#book.registry.missing -= 1;
  }
}
