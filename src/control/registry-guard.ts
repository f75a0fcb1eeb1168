import type { Counters } from '../runtime/counters.ts';
import { tickGapMaxMs } from '../sessions/host-clock.ts';
import { LossGuard } from '../sessions/loss-guard.ts';
import type { GuardDescription, GuardEvent, LossGuardSettings, StandingVerdicts } from '../sessions/loss-guard.ts';
import type { DueSession, GuardOrders, LossReport, Verdict } from '../sessions/loss-messages.ts';

export interface RegistryGuardOptions {
  readonly settings: LossGuardSettings;
  readonly counters: Counters;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
  readonly onEvent: (event: GuardEvent) => void;
  readonly nowMs: number;
}

/** A session host, as the guard sees it. */
export interface GuardedHost {
  readonly number: number;
  obeyGuard(orders: GuardOrders): void;
}

/** A host, and the verdicts on its sessions that have not been sent to it yet. */
interface ToldHost {
  readonly host: GuardedHost;
  verdicts: Verdict[];
}

/** What is looked at in one turn, at most: services of lost sessions, some µs each. */
const workPerTurn = 1000;

/** How long the guard waits for hosts to say what they know before it judges without, in milliseconds. Their threads may hang. */
const answerTimeoutMs = 1000;

/** A question to all hosts, and what is to be done once they have answered: each of them has then said all that it knew when it was asked. */
interface Round {
  readonly question: number;
  readonly waiting: Set<number>;
  readonly startedAtMs: number;
  readonly tasks: readonly (() => void)[];
  /** From hosts, to be judged. */
  readonly due: readonly (DueSession & { readonly host: number })[];
  judged: number;
}

/**
 * The one guard of the whole registry, on the main thread: collects the losses of all session hosts, judges what they ask about, and sends them the verdicts. It judges
 * only once all hosts have said what they know, so a loss that several threads see is one loss however late one of them speaks; and it
 * works in slices, so a loss of any size does not hold up its thread.
 */
export class RegistryGuard {
  readonly #options: RegistryGuardOptions;
  readonly #guard: LossGuard;
  readonly #inbox: LossReport[] = [];
  #round: Round | undefined;
  #questions = 0;
  #overflowSeen = 0;
  #nextTasks: (() => void)[] = [];
  #nextDue: Round['due'][number][] = [];
  readonly #hosts: Map<number, ToldHost> = new Map();
  /** A question that hosts are to be asked with the next orders. */
  #ask = 0;
  #workLeft = workPerTurn;
  #isRefillScheduled = false;
  #isWorking = false;
  #clockMs: number;
  #lastTickMs: number;

  constructor(options: RegistryGuardOptions) {
    this.#options = options;
    this.#clockMs = options.nowMs;
    this.#lastTickMs = options.nowMs;
    this.#guard = new LossGuard(options.settings, (event) => {
      options.counters.count(event.kind === 'tripped' ? 'loss_guard_tripped' : 'loss_guard_cleared');
      options.onEvent(event);
    });
    this.#guard.advance(options.nowMs);
  }

  /** Guards that hold back now. */
  get holding(): LossGuard['holding'] {
    return this.#guard.holding;
  }

  /** Whether it has nothing to remember, and nothing to do. */
  get isIdle(): boolean {
    return this.#guard.isEmpty && !this.#hasWork;
  }

  /** From now on the guard judges what the host loses, too, and asks it before it judges. */
  join(host: GuardedHost): void {
    this.#hosts.set(host.number, { host, verdicts: [] });
  }

  /** See {@link LossGuard.setProtection}. */
  setProtection(key: string, share: number | undefined): void {
    this.#guard.setProtection(key, share);
  }

  /** See {@link LossGuard.setStanding}; resolves when it is in effect. */
  setStanding(standing: StandingVerdicts): Promise<void> {
    return this.#onceAllAreHeard(() => {
      this.#guard.setStanding(standing);
    });
  }

  /** A host's thread is new, and does not know what others have been asked to report. */
  greet(host: number): void {
    const { track, watch } = this.#guard.watched();
    if (track.length + watch.length === 0) return;
    const nothing = { isUnwatchingAll: false, untrack: [], unwatch: [], isRecheck: false, verdicts: [], ask: 0 };
    this.#hosts.get(host)?.host.obeyGuard({ ...nothing, track, watch });
  }

  /** A host reports losses. */
  take(report: LossReport): void {
    this.#inbox.push(report);
    this.#work();
  }

  /** Moves time on; time in which the process stood still hardly counts. */
  tick(nowMs: number): void {
    this.#clockMs += Math.min(nowMs - this.#lastTickMs, tickGapMaxMs);
    this.#lastTickMs = nowMs;
    this.#guard.advance(this.#clockMs);
    const round = this.#round;
    if (round !== undefined && round.waiting.size > 0 && this.#clockMs - round.startedAtMs >= answerTimeoutMs) {
      this.#options.counters.count('loss_host_unheard');
      round.waiting.clear();
    }
    this.#work();
  }

  /** An operator releases what is held: of one service, or everything that has broken by now. */
  release(key?: string): Promise<void> {
    return this.#onceAllAreHeard(() => {
      this.#guard.release(key);
    });
  }

  /** Resolves when every host has said what it knows now. */
  hearAll(): Promise<void> {
    return this.#onceAllAreHeard(() => undefined);
  }

  describe(): GuardDescription {
    return this.#guard.describe();
  }

  #onceAllAreHeard(task: () => void): Promise<void> {
    return new Promise((resolve) => {
      this.#nextTasks.push(() => {
        task();
        resolve();
      });
      this.#work();
    });
  }

  get #hasWork(): boolean {
    return this.#inbox.length > 0 || this.#nextDue.length + this.#nextTasks.length > 0 || this.#round !== undefined;
  }

  #work(): void {
    // Hosts on this thread answer during the call.
    if (this.#isWorking) return;
    this.#isWorking = true;
    do {
      while (this.#workLeft > 0 && this.#step());
      this.#tellHosts();
    } while (this.#workLeft > 0 && this.#canStep);
    this.#isWorking = false;
  }

  get #canStep(): boolean {
    if (this.#inbox.length > 0) return true;
    if (this.#round === undefined) return this.#nextDue.length + this.#nextTasks.length > 0;
    return this.#round.waiting.size === 0;
  }

  /** Returns whether there was something to do. */
  #step(): boolean {
    if (!this.#canStep) return false;
    const report = this.#inbox.shift();
    if (report !== undefined) this.#handleReport(report);
    else if (this.#round === undefined) this.#beginRound();
    else this.#endRound(this.#round);
    return true;
  }

  #beginRound(): void {
    this.#questions += 1;
    this.#ask = this.#questions;
    this.#round = {
      question: this.#questions,
      waiting: new Set(this.#hosts.keys()),
      startedAtMs: this.#clockMs,
      tasks: this.#nextTasks,
      due: this.#nextDue,
      judged: 0,
    };
    this.#nextTasks = [];
    this.#nextDue = [];
  }

  #endRound(round: Round): void {
    if (round.judged === 0) for (const task of round.tasks) task();
    while (this.#workLeft > 0 && round.judged < round.due.length) {
      const { host, session, serial } = round.due[round.judged]!;
      round.judged += 1;
      // It looks at each service, whatever comes of it.
      this.#spend(1 + this.#guard.sizeOf(session));
      const held = this.#guard.judge(session);
      this.#hosts.get(host)?.verdicts.push({ session, serial, held });
    }
    if (round.judged === round.due.length) this.#round = undefined;
  }

  #handleReport(report: LossReport): void {
    const { host, keys } = report;
    const guard = this.#guard;
    let work = 1 + report.back.length + report.returned.length + report.due.length + report.totals.length;
    for (const session of report.back) guard.noteBack(host, session);
    for (const { session, services } of report.missing) {
      guard.noteMissing(
        host,
        session,
        services.map(({ service, count }) => [keys[service]!, count]),
      );
      work += services.length;
    }
    for (const { session, services } of report.changes) {
      for (const { service, count } of services) guard.noteChanged(host, session, keys[service]!, count);
      work += services.length;
    }
    for (const { session, services } of report.removed) {
      for (const { service, names } of services) {
        for (const name of names) guard.noteRemoved(host, session, keys[service]!, name);
        work += names.length;
      }
    }
    for (const name of report.returned) guard.noteReturned(name);
    for (const { session, serial } of report.due) this.#nextDue.push({ host, session, serial });
    for (const { service, count } of report.totals) guard.setTotal(host, keys[service]!, count);
    guard.setSessions(host, report.sessions);
    if (guard.namesOverflow > this.#overflowSeen) this.#options.counters.count('loss_names_full');
    this.#overflowSeen = guard.namesOverflow;
    if (this.#round !== undefined && report.answers >= this.#round.question) this.#round.waiting.delete(host);
    this.#spend(work);
  }

  #tellHosts(): void {
    const { isUnwatchingAll, isRecheck, ...changes } = this.#guard.drainChanges();
    const ask = this.#ask;
    this.#ask = 0;
    const { track, untrack, watch, unwatch } = changes;
    const isForAll =
      isUnwatchingAll || isRecheck || ask > 0 || track.length + untrack.length + watch.length + unwatch.length > 0;
    for (const told of this.#hosts.values()) {
      const { host, verdicts } = told;
      if (!isForAll && verdicts.length === 0) continue;
      told.verdicts = [];
      host.obeyGuard({ isUnwatchingAll, isRecheck, ...changes, verdicts, ask });
    }
  }

  #spend(work: number): void {
    this.#workLeft -= work;
    if (this.#isRefillScheduled) return;
    this.#isRefillScheduled = true;
    this.#options.schedule(() => {
      this.#isRefillScheduled = false;
      this.#workLeft = workPerTurn;
      this.#work();
    });
  }
}
