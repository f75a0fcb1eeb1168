/** What a run did; printed at its end, and compared with what a run must at least have done. */
export class Tally {
  readonly operations: Record<string, number> = {};
  readonly faults: Record<string, number> = {};
  /** Pushes taken by subscribers. */
  pushes = 0;
  /** Of those, how many told nothing that the subscriber did not hold. */
  pushesEmpty = 0;
  viewsJudged = 0;
  ghostSweeps = 0;
  barriers = 0;
  viewsCompared = 0;
  servicesCompared = 0;
  /** From quiet to agreement, the longest, in milliseconds. */
  convergenceMaxMs = 0;
  slotShutMaxMs = 0;

  countOperation(name: string): void {
    this.operations[name] = (this.operations[name] ?? 0) + 1;
  }

  countFault(name: string): void {
    this.faults[name] = (this.faults[name] ?? 0) + 1;
  }
}

/** A run that did or checked less than this in ten seconds has shown nothing. */
const leastPerTenSeconds = { operations: 400, pushes: 500, viewsJudged: 500, checks: 5000 } as const;
/** Each of these must have happened; in runs that are long enough, each kind of death, too. */
const faultsWanted = ['broken close', 'clean close', 'garbage', 'resize', 'slow reader'] as const;
const faultsWantedLater = [
  'partition throw',
  'partition exit',
  'partition hang',
  'partition memory',
  'frozen client',
  'suspended process',
] as const;
const longRunSeconds = 30;

/** Why a run without failures proves nothing, or undefined. */
export function findLack(tally: Tally, checks: number, seconds: number): string | undefined {
  const scale = seconds / 10;
  const operations = Object.values(tally.operations).reduce((sum, count) => sum + count, 0);
  const found = { operations, pushes: tally.pushes, viewsJudged: tally.viewsJudged, checks };
  for (const [name, least] of Object.entries(leastPerTenSeconds)) {
    const count = found[name as keyof typeof found];
    if (count < least * scale) return `only ${count} ${name}, where ${Math.ceil(least * scale)} are the least`;
  }
  if (tally.barriers === 0 || tally.viewsCompared === 0) return 'nothing was compared in quiet';
  const deaths = Object.keys(tally.faults).filter((name) => name.startsWith('partition '));
  if (deaths.length === 0) return 'no partition died';
  const wanted = seconds >= longRunSeconds ? [...faultsWanted, ...faultsWantedLater] : faultsWanted;
  const missing = wanted.filter((name) => tally.faults[name] === undefined);
  return missing.length === 0 ? undefined : `these did not happen: ${missing.join(', ')}`;
}
