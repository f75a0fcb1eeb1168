import type { ListCache } from '../push/list-cache.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { BatchProgress } from './batch-progress.ts';
import type { ClaimJournal } from './claim-journal.ts';
import { toFields } from './messages.ts';
import type { ToRecord } from './messages.ts';
import type { Pushes } from './pushes.ts';
import type { ShownVersions } from './shown-versions.ts';
import { lookWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';
import type { Watches } from './watches.ts';

export interface ProtectionsParts {
  readonly turn: TurnWork;
  readonly store: ServiceStore;
  readonly lists: ListCache;
  readonly shown: ShownVersions;
  readonly progress: BatchProgress;
  readonly watches: Watches;
  readonly pushes: Pushes;
  readonly journal: ClaimJournal | undefined;
}

/**
 * Services that are declared with a health threshold: while fewer of their instances are well than that, the critical ones count as well, and say so. All partitions know all thresholds, so a
 * service that comes here has its own at once.
 */
export class Protections {
  readonly #parts: ProtectionsParts;

  constructor(parts: ProtectionsParts) {
    this.#parts = parts;
  }

  /** A service is declared with another threshold. */
  set(record: ToRecord<'protect'>): void {
    const at = toFields.protect;
    const { store, progress } = this.#parts;
    progress.noteMutation();
    store.setHealthThreshold(record[at.key], record[at.share]);
    const service = store.get(record[at.key]);
    if (service !== undefined) this.judge(service);
  }

  /** The partition is new, and nobody has been told anything by it yet. */
  restore(record: ToRecord<'restoreProtection'>): void {
    const at = toFields.restoreProtection;
    this.#parts.store.setHealthThreshold(record[at.key], record[at.share]);
    this.judgeSilently();
  }

  /** What partitions hold has been put back, or some of it. */
  judgeSilently(): void {
    const { store, lists } = this.#parts;
    for (const service of store.withHealthThreshold()) {
      service.judgeAnew();
      lists.forget(service);
    }
  }

  /** Rebuilding is complete: whether subscribers had been told of a protection that had just begun, or ended, nobody knows. */
  tellAgain(): void {
    this.judgeSilently();
    for (const service of this.#parts.store.withHealthThreshold()) {
      const ids = [...service.criticalIds()];
      if (ids.length > 0) this.#parts.pushes.noteResend(service.key, ids);
    }
  }

  /** An instance has changed, or come, or gone. */
  noteChange(service: ServiceRecord, id: string): void {
    if (service.healthThreshold === undefined) return;
    service.noteHealth(id);
    this.judge(service);
  }

  /** Something has changed of it: if that makes another thing of its critical instances, whoever subscribes is told. */
  judge(service: ServiceRecord): void {
    if (service.isProtected === service.mustBeProtected()) return;
    const { turn, lists, shown, watches, pushes, journal } = this.#parts;
    const before = Array.from(service.criticalIds(), (id) => [id, service.fragmentOf(id)] as const);
    turn.spend(before.length * lookWork);
    service.turnProtection();
    lists.forget(service);
    const watched = watches.find(service.key);
    for (const [id, fragment] of before) {
      service.advance(id, 0);
      if (watched !== undefined) pushes.noteChange(watched, id, fragment);
    }
    shown.keepAbove(service);
    journal?.noteRaised(service);
  }
}
