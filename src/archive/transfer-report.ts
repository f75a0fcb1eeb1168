import { archiveLimits } from '../protocol/limits.ts';
import type { RecordKind } from './record-kinds.ts';

/** How often something was so, with the first few it was so of. */
export interface ReportLine {
  readonly reason: string;
  readonly count: number;
  readonly examples: readonly string[];
}

interface Tally {
  count: number;
  readonly examples: string[];
}

const otherReasons = 'other reasons';
const exampleCharsMax = 200;

/** What was taken of a dump or a registry, what was left out, and what is not here as it was there. */
export class TransferReport {
  readonly taken: Record<RecordKind, number> = { service: 0, instance: 0, key: 0 };
  readonly #leftOut = new Map<string, Tally>();
  readonly #altered = new Map<string, Tally>();
  #refused = 0;

  countTaken(kind: RecordKind): void {
    this.taken[kind] += 1;
  }

  /** `what`: names it, for who looks for it there. */
  leaveOut(reason: string, what: string): void {
    count(this.#leftOut, reason, what);
  }

  /** Taken from the dump, and then refused by the registry. */
  noteRefused(kind: RecordKind, reason: string, what: string): void {
    this.taken[kind] -= 1;
    this.#refused += 1;
    this.leaveOut(reason, what);
  }

  /** Taken, but not quite as it was. */
  noteAltered(reason: string, what: string): void {
    count(this.#altered, reason, what);
  }

  get refusedCount(): number {
    return this.#refused;
  }

  get takenCount(): number {
    return this.taken.service + this.taken.instance + this.taken.key;
  }

  get leftOut(): readonly ReportLine[] {
    return listTallies(this.#leftOut);
  }

  get altered(): readonly ReportLine[] {
    return listTallies(this.#altered);
  }
}

function count(tallies: Map<string, Tally>, reason: string, what: string): void {
  const isOther = !tallies.has(reason) && tallies.size >= archiveLimits.reportReasonsMax;
  const key = isOther ? otherReasons : reason;
  const tally = tallies.get(key) ?? { count: 0, examples: [] };
  tallies.set(key, tally);
  tally.count += 1;
  if (tally.examples.length < archiveLimits.reportExamplesMax) {
    tally.examples.push(what.length > exampleCharsMax ? `${what.slice(0, exampleCharsMax)}…` : what);
  }
}

function listTallies(tallies: ReadonlyMap<string, Tally>): ReportLine[] {
  return [...tallies]
    .map(([reason, { count, examples }]) => ({ reason, count, examples: [...examples] }))
    .sort((a, b) => b.count - a.count);
}
