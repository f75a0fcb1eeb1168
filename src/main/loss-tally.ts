/** How many of one kind must be lost at a time, and of how many, to be a mass loss. */
export interface LossThresholds {
  readonly min: number;
  readonly percent: number;
  /** From so many sessions. */
  readonly sessionsMin: number;
}

/** A guard that holds back. */
interface Hold {
  readonly sinceMs: number;
  /** The most that was missing meanwhile, and the most that was lost, what was removed before included. */
  missingPeak: number;
  lostPeak: number;
  /** The fewest that were lost meanwhile. */
  fewest: number;
  /** When it came to that; never, if some have been let go since. */
  fewestAtMs: number;
}

/** What one session lost of what a tally counts. It belongs to its tally, which alone adds up. */
export class LossPart {
  readonly session: number;
  readonly tally: LossTally;
  #missing = 0;
  #removed = 0;
  /** Of the tally's waves, the one that it is recent in. */
  #wave: number;

  /** `isRecent`: it was lost within the window. */
  constructor(session: number, tally: LossTally, isRecent: boolean) {
    this.session = session;
    this.tally = tally;
    this.#wave = isRecent ? tally.wave : -1;
  }

  /** Neither come back nor removed. */
  get missing(): number {
    return this.#missing;
  }

  /** Removed, and not come back. */
  get removed(): number {
    return this.#removed;
  }

  /** Whether it counts as lost lately. */
  get isRecent(): boolean {
    return this.#wave === this.tally.wave;
  }

  set(missing: number, removed: number): void {
    if (missing === this.#missing && removed === this.#removed) return;
    this.tally.count(this, -1);
    this.#missing = missing;
    this.#removed = removed;
    this.tally.count(this, 1);
  }

  /** It was lost too long ago to count as lost lately. */
  age(): void {
    this.tally.count(this, -1);
    this.#wave = -1;
    this.tally.count(this, 1);
  }
}

/** What one guard counts: sessions for the whole registry, instances for a service. */
export class LossTally {
  readonly #thresholds: LossThresholds;
  /** All that there are, missing ones included, by host. */
  readonly #totals: number[];
  readonly #parts: Set<LossPart> = new Set();
  #wave = 0;
  #missing = 0;
  #missingParts = 0;
  #recent = 0;
  #recentParts = 0;
  #removed = 0;
  #hold: Hold | undefined;

  /** `before`: one that counted of the same total. */
  constructor(thresholds: LossThresholds, before?: LossTally) {
    this.#thresholds = thresholds;
    this.#totals = before === undefined ? [] : [...before.#totals];
  }

  /** Those whose connection broke, and which have neither come back nor been removed. */
  get missing(): number {
    return this.#missing;
  }

  get total(): number {
    return this.#totals.reduce((sum, total) => sum + total, 0);
  }

  /** Rises when everything that was lost so far ceases to count as lost lately. */
  get wave(): number {
    return this.#wave;
  }

  /** What sessions lost of this. */
  get parts(): ReadonlySet<LossPart> {
    return this.#parts;
  }

  get isHolding(): boolean {
    return this.#hold !== undefined;
  }

  get heldSinceMs(): number | undefined {
    return this.#hold?.sinceMs;
  }

  /** Whether there is nothing to remember. */
  get isIdle(): boolean {
    return this.#parts.size === 0 && this.#hold === undefined;
  }

  setTotal(host: number, total: number): void {
    // What a host has not told of is none.
    while (this.#totals.length < host) this.#totals.push(0);
    this.#totals[host] = total;
  }

  attach(part: LossPart): void {
    this.#parts.add(part);
    this.count(part, 1);
  }

  detach(part: LossPart): void {
    if (this.#parts.delete(part)) this.count(part, -1);
  }

  /** For parts: adds what a part holds, or takes it away. */
  count(part: LossPart, sign: 1 | -1): void {
    const { missing, removed } = part;
    this.#missing += sign * missing;
    if (missing > 0) this.#missingParts += sign;
    if (!part.isRecent) return;
    this.#recent += sign * (missing + removed);
    this.#removed += sign * removed;
    if (missing + removed > 0) this.#recentParts += sign;
  }

  /** Nothing that was lost so far counts as lost lately any more. */
  ageAll(): void {
    this.#wave += 1;
    this.#recent = 0;
    this.#recentParts = 0;
    this.#removed = 0;
  }

  /** Whether what was lost lately is a mass loss. What is removed is part of it: the first to break must not be forgotten when the last do. */
  get isTripped(): boolean {
    return this.#recentParts >= this.#thresholds.sessionsMin && this.#isLarge(this.#recent, this.total + this.#removed);
  }

  /** Whether what is missing is, by itself, a mass loss; how long ago it broke does not matter. */
  get isMissingMuch(): boolean {
    return this.#missingParts >= this.#thresholds.sessionsMin && this.#isLarge(this.#missing, this.total);
  }

  hold(sinceMs: number, nowMs: number): void {
    const lost = this.#lost;
    this.#hold = { sinceMs, missingPeak: this.#missing, lostPeak: lost, fewest: lost, fewestAtMs: nowMs };
  }

  letGo(): void {
    this.#hold = undefined;
  }

  /** Some were let go, not back: that few are left is no reason to let go of the rest. */
  noteLetGo(): void {
    if (this.#hold !== undefined) this.hold(this.#hold.sinceMs, Number.POSITIVE_INFINITY);
  }

  /**
   * Whether enough have come back since it began to hold back. What is left is small, and the smaller part of what was held back, or of all that
   * was lost; or it is small, and has not become less for `quietMs`: those who were going to come back are back. So what goes is always less
   * than what would have tripped it.
   */
  judgeOver(nowMs: number, quietMs: number): boolean {
    const hold = this.#hold;
    if (hold === undefined) return false;
    const missing = this.#missing;
    const lost = this.#lost;
    hold.missingPeak = Math.max(hold.missingPeak, missing);
    hold.lostPeak = Math.max(hold.lostPeak, lost);
    if (lost < hold.fewest) {
      hold.fewest = lost;
      hold.fewestAtMs = nowMs;
    }
    if (!this.#isLarge(missing, this.total) && missing * 2 <= hold.missingPeak) return true;
    if (this.#isLarge(lost, this.total + this.#removed)) return false;
    return lost * 2 <= hold.lostPeak || nowMs - hold.fewestAtMs >= quietMs;
  }

  /** Missing, or removed lately: while it holds back, nothing ceases to be recent. */
  get #lost(): number {
    return this.#missing + this.#removed;
  }

  #isLarge(lost: number, total: number): boolean {
    const { min, percent } = this.#thresholds;
    return lost >= min && lost * 100 >= percent * total;
  }
}
