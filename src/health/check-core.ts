import { timingOf } from '../protocol/check-definition.ts';
import type { CheckTiming } from '../protocol/check-definition.ts';
import type { CheckDefinition, Health } from '../protocol/types.ts';
import { TimerWheel } from '../runtime/timer-wheel.ts';

/** An instance and its check. */
export interface CheckTarget {
  readonly key: string;
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly check: CheckDefinition;
}

/** What a probe has found. */
export interface Finding {
  readonly health: Health;
  /** Why, for people. */
  readonly output: string;
}

/** A probe that is to be made. */
export interface Probe {
  readonly name: string;
  /** Of the check: a finding of one that has been replaced counts no more. */
  readonly generation: number;
  readonly target: CheckTarget;
  readonly timeoutMs: number;
}

/** A check that something is told of: its name may be another's by the time that is heard. */
export interface ToldCheck {
  readonly name: string;
  /** What it came with. */
  readonly number: number;
}

/** How a check stands. */
export interface Standing extends ToldCheck {
  readonly health: Health;
  readonly output: string;
}

export interface CheckCoreOptions {
  /** Probes under way. */
  readonly probesMax: number;
  /** Checks that must fail for the guard, and the percentage of those that were fine; 101: never. */
  readonly lossChecksMin: number;
  readonly lossPercent: number;
  /** For how long the guard holds at most, in milliseconds. */
  readonly holdMaxMs: number;
  /** 0 to 1. */
  readonly random: () => number;
  readonly nowMs: number;
}

/** A step of the wheel, in milliseconds. */
const stepMs = 50;
/** Due at once of one advance; the rest is in the next. */
const dueMax = 2000;

interface Check {
  readonly name: string;
  readonly target: CheckTarget;
  readonly timing: CheckTiming;
  readonly generation: number;
  readonly number: number;
  /** As it was told last. */
  health: Health;
  output: string;
  /** What the last results said, and how many of them in a row. */
  candidate: Health;
  streak: number;
  place: number;
  /** The guard holds it back from becoming critical. */
  isHeld: boolean;
  criticalSinceMs: number | undefined;
}

/** When checks are made, and what follows from what they find: pure, with time as an argument. */
export class CheckCore {
  readonly #options: CheckCoreOptions;
  readonly #checks: Map<string, Check> = new Map();
  readonly #wheel: TimerWheel<Check>;
  /** Due, and not begun: for want of room. */
  #waiting: Check[] = [];
  #underWay = 0;
  #generation = 0;
  #told: Map<string, Standing> = new Map();
  #overdue: Set<string> = new Set();
  /** Checks over the network that are told as not critical, and those of them whose last result is. */
  #fine = 0;
  #failing = 0;
  #guard: 'watching' | 'holding' | 'released' = 'watching';
  #guardSinceMs = 0;
  #heldCount = 0;
  #nowMs: number;

  constructor(options: CheckCoreOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs;
    this.#wheel = new TimerWheel(stepMs, options.nowMs);
  }

  get underWay(): number {
    return this.#underWay;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Whether most checks fail at once, so that the fault is likely on this side: nothing becomes critical meanwhile. */
  get isHolding(): boolean {
    return this.#guard === 'holding';
  }

  /** Checks that are held back from becoming critical. */
  get heldCount(): number {
    return this.#heldCount;
  }

  /** How many checks stand how. */
  count(): Record<Health, number> {
    const counts = { passing: 0, warning: 0, critical: 0 };
    for (const { health } of this.#checks.values()) counts[health] += 1;
    return counts;
  }

  /** A check comes, or replaces the one of its name. `health`: how it was told last, by a life before of this; undefined: as it says itself. `number`: see {@link ToldCheck}. */
  put(name: string, target: CheckTarget, nowMs: number, health?: Health, number = 0): void {
    this.drop(name);
    this.#generation += 1;
    const { check } = target;
    const told = health ?? check.initial ?? 'passing';
    const timing = timingOf(check);
    const made: Check = {
      name,
      target,
      timing,
      generation: this.#generation,
      number,
      health: told,
      output: '',
      candidate: told,
      streak: 0,
      place: 0,
      isHeld: false,
      criticalSinceMs: told === 'critical' ? nowMs : undefined,
    };
    this.#checks.set(name, made);
    this.#count(made, 1);
    // Whoever reports has a whole interval; probes are spread over theirs.
    this.#schedule(made, nowMs + timing.intervalMs * (check.kind === 'ttl' ? 1 : this.#options.random()));
    if (told !== 'passing') this.#tell(made);
  }

  drop(name: string): void {
    const check = this.#checks.get(name);
    if (check === undefined) return;
    this.#count(check, -1);
    if (check.isHeld) this.#heldCount -= 1;
    this.#checks.delete(name);
    this.#wheel.cancel(check, check.place);
    this.#told.delete(name);
    this.#overdue.delete(name);
  }

  /** Whoever registered the instance has been heard, which is what a check `ttl` waits for. */
  hear(name: string, nowMs: number): void {
    const check = this.#checks.get(name);
    if (check?.target.check.kind !== 'ttl') return;
    this.#wheel.cancel(check, check.place);
    this.#schedule(check, nowMs + check.timing.intervalMs);
    this.#note(check, { health: 'passing', output: '' }, nowMs);
  }

  /** What is to be probed now, as far as there is room. */
  advance(nowMs: number): Probe[] {
    this.#nowMs = nowMs;
    for (const check of this.#wheel.advance(nowMs, dueMax)) {
      if (check.target.check.kind === 'ttl') {
        this.#note(check, { health: 'critical', output: `no report within ${check.timing.intervalMs} ms` }, nowMs);
        this.#schedule(check, nowMs + check.timing.intervalMs);
      } else this.#waiting.push(check);
    }
    this.#judgeLoss();
    return this.#begin();
  }

  #begin(): Probe[] {
    const room = this.#options.probesMax - this.#underWay;
    if (room <= 0 || this.#waiting.length === 0) return [];
    const begun = this.#waiting.slice(0, room);
    this.#waiting = this.#waiting.slice(room);
    const probes: Probe[] = [];
    for (const { name, generation, target, timing } of begun) {
      // It may have been replaced while it waited.
      if (this.#checks.get(name)?.generation !== generation) continue;
      probes.push({ name, generation, target, timeoutMs: timing.timeoutMs });
    }
    this.#underWay += probes.length;
    return probes;
  }

  /** A probe is over. Returns those for which there is room by that. */
  settle({ name, generation }: Probe, finding: Finding, nowMs: number): Probe[] {
    this.#nowMs = nowMs;
    this.#underWay -= 1;
    const check = this.#checks.get(name);
    if (check?.generation === generation) {
      const { intervalMs, jitterPercent } = check.timing;
      this.#schedule(check, nowMs + intervalMs * (1 + ((this.#options.random() * 2 - 1) * jitterPercent) / 100));
      this.#note(check, finding, nowMs);
    }
    return this.#begin();
  }

  /** What is to be told since the last call: how checks stand, each once. */
  takeStandings(): Standing[] {
    if (this.#told.size === 0) return [];
    const told = [...this.#told.values()];
    this.#told = new Map();
    return told;
  }

  /** Instances that have been critical for as long as they may, each once in a while. */
  takeOverdue(nowMs: number): ToldCheck[] {
    if (this.isHolding) return [];
    const overdue: ToldCheck[] = [];
    for (const name of this.#overdue) {
      const check = this.#checks.get(name);
      const { deregisterAfterMs = Infinity } = check?.target.check ?? {};
      if (check?.criticalSinceMs === undefined) this.#overdue.delete(name);
      else if (nowMs - check.criticalSinceMs >= deregisterAfterMs) {
        overdue.push({ name, number: check.number });
        // Asked again only if it is still there after as long.
        check.criticalSinceMs = nowMs;
      }
    }
    return overdue;
  }

  /** An operator says that what fails is to be told, until less fails than what trips the guard. */
  release(): void {
    if (this.#guard === 'holding') this.#endHold('released');
  }

  #schedule(check: Check, atMs: number): void {
    check.place = this.#wheel.schedule(check, atMs);
  }

  #note(check: Check, { health, output }: Finding, nowMs: number): void {
    this.#count(check, -1);
    if (health === check.candidate) check.streak += 1;
    else {
      check.candidate = health;
      check.streak = 1;
    }
    check.output = output;
    this.#count(check, 1);
    if (health !== 'critical' && check.isHeld) {
      check.isHeld = false;
      this.#heldCount -= 1;
    }
    this.#decide(check, nowMs);
  }

  #decide(check: Check, nowMs: number): void {
    const { candidate, timing, streak } = check;
    if (candidate === check.health) return;
    const isReport = check.target.check.kind === 'ttl';
    const needed = candidate === 'passing' ? timing.successes : isReport ? 1 : timing.failures;
    if (streak < needed) return;
    if (candidate === 'critical' && !isReport) {
      this.#judgeLoss();
      if (this.isHolding) {
        if (!check.isHeld) this.#heldCount += 1;
        check.isHeld = true;
        return;
      }
    }
    this.#count(check, -1);
    check.health = candidate;
    check.criticalSinceMs = candidate === 'critical' ? nowMs : undefined;
    this.#count(check, 1);
    this.#tell(check);
  }

  #tell({ name, number, health, output, target }: Check): void {
    this.#told.set(name, { name, number, health, output });
    if (health === 'critical' && target.check.deregisterAfterMs !== undefined) this.#overdue.add(name);
    else this.#overdue.delete(name);
  }

  #count({ health, candidate, streak, target }: Check, by: number): void {
    if (health === 'critical' || target.check.kind === 'ttl' || target.check.kind === 'script') return;
    this.#fine += by;
    if (candidate === 'critical' && streak > 0) this.#failing += by;
  }

  /** Whether so many fail at once that the fault is likely on this side. */
  #judgeLoss(): void {
    const { lossChecksMin, lossPercent, holdMaxMs } = this.#options;
    const percent = this.#fine === 0 ? 0 : (this.#failing / this.#fine) * 100;
    const isLoss = this.#failing >= lossChecksMin && percent >= lossPercent;
    switch (this.#guard) {
      case 'watching':
        if (!isLoss) return;
        this.#guard = 'holding';
        this.#guardSinceMs = this.#nowMs;
        return;
      case 'holding':
        if (this.#nowMs - this.#guardSinceMs >= holdMaxMs) this.#endHold('released');
        else if (percent < lossPercent / 2) this.#endHold('watching');
        return;
      case 'released':
        if (percent < lossPercent / 2) this.#guard = 'watching';
        return;
      default:
        this.#guard satisfies never;
    }
  }

  /** What still fails is told. */
  #endHold(next: 'watching' | 'released'): void {
    this.#guard = next;
    this.#heldCount = 0;
    for (const check of this.#checks.values()) {
      if (!check.isHeld) continue;
      check.isHeld = false;
      this.#decide(check, this.#nowMs);
    }
  }
}
