/** How many of one kind must be lost at a time, and of how many, to be a mass loss. */
export interface LossThresholds {
  readonly min: number;
  readonly percent: number;
  /** From this many sessions. */
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
  /** When it came to that; never, if some have been released since. */
  fewestAtMs: number;
}

/** While somebody has come back within this time, in milliseconds, more are coming. */
const returnGapMs = 1000;

/** What one session lost of what a tally counts. It belongs to its tally, which alone adds up. */
export class LossPart {
  readonly session: number;
  readonly tally: LossTally;
  #missing = 0;
  #removed = 0;
  #letGo = 0;
  /** Of the tally's waves, the one that it is recent in. */
  #wave: number;
  #era: number;

  /** `isRecent`: it was lost within the window. */
  constructor(session: number, tally: LossTally, isRecent: boolean) {
    this.session = session;
    this.tally = tally;
    this.#wave = isRecent ? tally.wave : -1;
    this.#era = tally.era;
  }

  /** Neither come back nor removed, and not released. */
  get missing(): number {
    this.#catchUp();
    return this.#missing;
  }

  /** Removed, and not come back. */
  get removed(): number {
    this.#catchUp();
    return this.#removed;
  }

  /** Let go, and not removed yet. */
  get letGo(): number {
    this.#catchUp();
    return this.#letGo;
  }

  /** Whether there is nothing of it. */
  get isEmpty(): boolean {
    return this.missing + this.removed + this.letGo === 0;
  }

  /** Whether it counts as lost lately. */
  get isRecent(): boolean {
    return this.#wave === this.tally.wave;
  }

  set(missing: number, removed: number, letGo: number): void {
    if (missing === this.missing && removed === this.removed && letGo === this.letGo) return;
    this.tally.count(this, -1);
    this.#missing = missing;
    this.#removed = removed;
    this.#letGo = letGo;
    this.tally.count(this, 1);
  }

  /** It was lost too long ago to count as lost lately. */
  age(): void {
    this.tally.count(this, -1);
    this.#wave = -1;
    this.tally.count(this, 1);
  }

  /** The tally has let everything go since. */
  #catchUp(): void {
    if (this.#era === this.tally.era) return;
    this.#era = this.tally.era;
    this.#letGo += this.#missing;
    this.#missing = 0;
    this.#removed = 0;
  }
}

/**
 * What one guard counts: sessions for the whole registry, instances for a service. A loss is judged as part of those that live and those that count as
 * lost with it. Neither changes when something is removed, so it does not matter whose removals are carried out first.
 */
export class LossTally {
  #thresholds: LossThresholds;
  /** All that there are, missing ones and those released included, by host. */
  readonly #totals: number[] = [];
  readonly #parts: Set<LossPart> = new Set();
  #wave = 0;
  #era = 0;
  #missing = 0;
  #missingParts = 0;
  #recent = 0;
  #recentParts = 0;
  #removed = 0;
  #letGo = 0;
  #hold: Hold | undefined;

  constructor(thresholds: LossThresholds) {
    this.#thresholds = thresholds;
  }

  /** From now on these apply. */
  setThresholds(thresholds: LossThresholds): void {
    this.#thresholds = thresholds;
  }

  /** Those whose connection broke, and which have neither come back nor been removed or released. */
  get missing(): number {
    return this.#missing;
  }

  /** All that there are, however little is left to them. */
  get present(): number {
    return this.#totals.reduce((sum, total) => sum + total, 0);
  }

  /** Those that are there and those that are missing. */
  get total(): number {
    return this.#living + this.#missing;
  }

  get #living(): number {
    // Of a host that is not heard less may be known than is missing there.
    return Math.max(0, this.present - this.#letGo - this.#missing);
  }

  /** Rises when everything that was lost so far ceases to count as lost lately. */
  get wave(): number {
    return this.#wave;
  }

  /** Rises when everything that is missing is released. */
  get era(): number {
    return this.#era;
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
    // What a host has not reported counts as none.
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
    const { missing, removed, letGo } = part;
    this.#letGo += sign * letGo;
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

  /** Everything that is missing may go, and what was removed counts no more. */
  letAllGo(): void {
    this.ageAll();
    this.#era += 1;
    this.#letGo += this.#missing;
    this.#missing = 0;
    this.#missingParts = 0;
  }

  /** Whether what was lost lately is a mass loss. What is removed is part of it: the first to break must not be forgotten when the last do. */
  get isTripped(): boolean {
    return (
      this.#recentParts >= this.#thresholds.sessionsMin && this.#isLarge(this.#recent, this.#living + this.#recent)
    );
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

  /** Some were released, not back: that few are left is no reason to release the rest. */
  noteLetGo(): void {
    if (this.#hold !== undefined) this.hold(this.#hold.sinceMs, Number.POSITIVE_INFINITY);
  }

  /**
   * Whether enough have come back since it began to hold back, and no more are on their way. What is left is small, and the smaller part of what was held back,
   * or of all that was lost; or it is small, and has not become less for `quietMs`: those who were going to come back are back. So what goes is always less
   * than what would have tripped it, and nobody goes in the middle of a storm of those who come back.
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
    if (lost === 0) return true;
    if (nowMs - hold.fewestAtMs < Math.min(returnGapMs, quietMs)) return false;
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
