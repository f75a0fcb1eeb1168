import { Coalescer } from '../push/coalescer.ts';
import type { WatchedService } from '../push/watched-service.ts';
import type { Histogram } from '../runtime/histogram.ts';
import type { BatchProgress } from './batch-progress.ts';
import type { ClaimJournal } from './claim-journal.ts';
import type { HostFlows } from './host-flows.ts';
import { fromPartition, wholeService } from './messages.ts';
import type { Emit, PartitionLimits } from './messages.ts';
import type { PartitionClock } from './partition-clock.ts';
import type { TurnWork } from './turn-work.ts';

export interface PushesParts {
  readonly limits: PartitionLimits;
  readonly emit: Emit;
  readonly turn: TurnWork;
  readonly flows: HostFlows;
  readonly progress: BatchProgress;
  /** Observes the number of changes per push. */
  readonly pushChanges: Histogram | undefined;
  readonly journal: ClaimJournal | undefined;
}

/** Work of a push in addition to its text. */
const pushWork = 1024;

/** When what changed of watched services is pushed, and to whom: in windows, in rounds that may take turns, and not while a host is behind. */
export class Pushes {
  readonly #parts: PushesParts;
  readonly #coalescer: Coalescer<WatchedService>;
  /** Services to be pushed, the next one first. */
  readonly #due: Set<WatchedService> = new Set();
  /** During a rebuild, nothing may be pushed before all hosts have sent what they hold: instances to be pushed again then, by service. */
  #retold: Map<string, Set<string>> | undefined;
  readonly #isBehind = ({ marks }: WatchedService): boolean => marks !== undefined && this.#parts.flows.isBehind(marks);

  constructor(parts: PushesParts) {
    this.#parts = parts;
    const { coalesceWindowMinMs: minMs, coalesceWindowMaxMs: maxMs } = parts.limits;
    this.#coalescer = new Coalescer({ minMs, maxMs });
  }

  /** Whether nothing may be pushed now: hosts are still sending what they hold, or one is behind. */
  get isHeldBack(): boolean {
    return this.#retold !== undefined || this.#parts.flows.isFull;
  }

  /** Whether pushes are due that the last turn had no time for. */
  get hasDue(): boolean {
    return this.#due.size > 0 && !this.isHeldBack;
  }

  /** When the next window ends, in monotonic milliseconds. */
  nextDueAt(): number | undefined {
    return this.isHeldBack ? undefined : this.#coalescer.nextDueAt();
  }

  /** Every change before then has been pushed. */
  unpushedSince(): number {
    return this.#coalescer.unpushedSince();
  }

  noteChange(watched: WatchedService, id: string, before: string | undefined): void {
    const { progress } = this.#parts;
    watched.noteChange(id, before, progress.askedAtMs);
    this.#coalescer.noteChange(watched, progress.noteUnsettled());
  }

  /** An operator has closed the service, or opened it again. */
  noteTurned(watched: WatchedService): void {
    watched.noteTurned();
    this.#coalescer.noteChange(watched, this.#parts.progress.noteUnsettled());
  }

  forget(watched: WatchedService): void {
    this.#due.delete(watched);
    this.#coalescer.forget(watched);
  }

  /** Pushes what is due, until the turn is over. */
  pushDue({ monotonicMs }: PartitionClock): void {
    for (const watched of this.#coalescer.takeDue(monotonicMs, this.#isBehind)) this.#due.add(watched);
    for (const watched of this.#due) {
      if (!this.#pushRound(watched)) break;
      this.#due.delete(watched);
      // What changed in the middle of its round waits for the next.
      if (!watched.isDirty) this.#coalescer.notePushed(watched);
    }
  }

  /** Pushes all that has changed of a service now; false if there was not time for all of it. A round that had begun leaves what came in the middle of it to a second. */
  pushAll(watched: WatchedService): boolean {
    while (watched.isDirty || watched.isInRound) if (!this.#pushRound(watched)) return false;
    this.#due.delete(watched);
    this.#coalescer.notePushed(watched);
    return true;
  }

  /** Rebuilding: from now on nothing is pushed until {@link resume}. */
  hold(): void {
    this.#retold ??= new Map();
  }

  /** Rebuilding: these are to be pushed again. The host whose sessions changed them may have no subscribers: so this waits until all hosts have sent their subscriptions. */
  noteResend(key: string, ids: readonly string[]): void {
    this.#retold ??= new Map();
    const known = this.#retold.get(key) ?? new Set();
    this.#retold.set(key, known);
    for (const id of ids) known.add(id);
    this.#parts.progress.noteMutation();
    this.#parts.progress.noteUnsettled();
  }

  /** Rebuilding is complete. `find`: a service, if it is watched. */
  resume(find: (key: string) => WatchedService | undefined): void {
    const retold = this.#retold ?? new Map<string, Set<string>>();
    this.#retold = undefined;
    this.#parts.progress.postpone();
    for (const [key, ids] of retold) {
      const watched = find(key);
      if (watched === undefined) continue;
      // What was laid over the service may not have been told: that concerns all of it.
      if (ids.delete(wholeService)) for (const { id } of watched.service.instances.namesOf(() => true)) ids.add(id);
      watched.resend(ids);
      for (const id of ids) watched.service.advance(id, 0);
      if (ids.size === 0) watched.service.raise(watched.service.version + 1);
      this.#parts.journal?.noteRaised(watched.service);
      this.#coalescer.noteChange(watched, this.#parts.progress.noteUnsettled());
    }
  }

  /** Pushes what has changed of a service, variant by variant; false if the turn is over before the last, or hosts have enough. */
  #pushRound(watched: WatchedService): boolean {
    while (!this.#parts.turn.isOver() && !this.isHeldBack) {
      if (!this.#pushNext(watched) || !watched.isInRound) return true;
    }
    return false;
  }

  /** False if there is nothing more to push. */
  #pushNext(watched: WatchedService): boolean {
    const { emit, flows, turn, pushChanges } = this.#parts;
    const { changeCount, isInRound } = watched;
    const push = watched.takePush();
    if (push === undefined) return false;
    if (!isInRound && changeCount > 0) pushChanges?.observe(changeCount);
    const { key, variant, from, to, count, body, changedAtMs, hosts } = push;
    turn.spend(pushWork + body.length * (hosts.length + 1));
    for (const host of hosts) {
      if (!flows.isThere(host)) continue;
      emit(host, fromPartition.push, key, variant, from, to, count, changedAtMs, body);
      watched.marks ??= new Map();
      watched.marks.set(host, flows.notePush(host, body.length));
    }
    return true;
  }
}
