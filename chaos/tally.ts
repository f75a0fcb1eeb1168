import type { Stats } from './registry-process.ts';

/** What a run did; printed at its end, and compared with what a run must at least have done. */
export class Tally {
  readonly operations: Record<string, number> = {};
  readonly faults: Record<string, number> = {};
  /** Of the registry, over all its lives. */
  readonly counters: Record<string, number> = {};
  lives = 0;
  /** The longest that it was down, in milliseconds. */
  downMaxMs = 0;
  /** Pushes taken by subscribers. */
  pushes = 0;
  /** Of those, how many told nothing that the subscriber did not hold. */
  pushesEmpty = 0;
  /** Subscriptions that went on with what they knew, since the registry had just started. */
  waits = 0;
  /** Of those, how many got the list when it was warm. */
  renewals = 0;
  viewsJudged = 0;
  ghostSweeps = 0;
  barriers = 0;
  viewsCompared = 0;
  servicesCompared = 0;
  /** Registrations compared in quiet with what their clients believe of them. */
  claimsCompared = 0;
  /** Instances, in quiet, that several sessions had registered. */
  sharedInstances = 0;
  /** Sessions that were compared with what their clients had, when they were taken over. */
  sessionsCompared = 0;
  /** Of those, how many were on another thread than before. */
  hostChanges = 0;
  /** From quiet to agreement, the longest, in milliseconds. */
  convergenceMaxMs = 0;
  slotShutMaxMs = 0;
  /** Steps of moves that were taken back. */
  stepsRolledBack = 0;

  countOperation(name: string): void {
    this.operations[name] = (this.operations[name] ?? 0) + 1;
  }

  countFault(name: string): void {
    this.faults[name] = (this.faults[name] ?? 0) + 1;
  }

  /** A life of the registry is over; these are the last figures of it. */
  addLife(stats: Stats | undefined): void {
    this.lives += 1;
    if (stats === undefined) return;
    this.stepsRolledBack += stats.move.stepsRolledBack;
    for (const [name, count] of Object.entries(stats.counters))
      this.counters[name] = (this.counters[name] ?? 0) + count;
  }
}

/** A run that did or checked less than this has shown nothing; a shorter one in proportion. */
const least = { operations: 300, pushes: 300, viewsJudged: 500, checks: 4000, sessionsCompared: 2 } as const;
/** Each of these must have happened; in runs that are long enough, each kind of death and of ending, too. */
const faultsWanted = ['broken close', 'clean close', 'garbage', 'resize', 'slow reader', 'asked to go'] as const;
const faultsWantedLater = [
  'partition throw',
  'partition exit',
  'partition hang',
  'partition memory',
  'frozen client',
  'suspended process',
  'restart by SIGKILL',
  'restart by SIGTERM',
] as const;
const longRunSeconds = 30;
const fullRunSeconds = 12;

export interface RunLength {
  readonly seconds: number;
  readonly ioThreads: number;
}

/** Why a run without failures proves nothing, or undefined. */
export function findLack(tally: Tally, checks: number, { seconds, ioThreads }: RunLength): string | undefined {
  const isLong = seconds >= longRunSeconds;
  const { pushes, viewsJudged, sessionsCompared, faults } = tally;
  const operations = Object.values(tally.operations).reduce((sum, count) => sum + count, 0);
  const found = { operations, pushes, viewsJudged, checks, sessionsCompared };
  for (const [name, count] of Object.entries(found)) {
    const wanted = Math.ceil(least[name as keyof typeof least] * Math.min(1, seconds / fullRunSeconds));
    if (count < wanted) return `only ${count} ${name}, where ${wanted} are the least`;
  }
  if (tally.barriers === 0 || tally.viewsCompared === 0) return 'nothing was compared in quiet';
  const kinds = Object.keys(faults);
  if (!kinds.some((kind) => kind.startsWith('partition '))) return 'no partition died';
  if (!kinds.some((kind) => kind.startsWith('restart '))) return 'the registry was never restarted';
  if (tally.waits === 0 || tally.renewals === 0) return 'nobody went on with a list of before a restart';
  if (isLong && tally.sharedInstances === 0) return 'no instance was registered by several sessions';
  if (isLong && ioThreads > 1 && tally.hostChanges === 0) return 'no session moved to another thread';
  const missing = [...faultsWanted, ...(isLong ? faultsWantedLater : [])].filter((kind) => faults[kind] === undefined);
  return missing.length === 0 ? undefined : `these did not happen: ${missing.join(', ')}`;
}
