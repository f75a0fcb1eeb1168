import type { ListCache } from '../push/list-cache.ts';
import { decodeOverlay, listOverridden } from '../store/service-overlay.ts';
import type { ServiceOverlay } from '../store/service-overlay.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { BatchProgress } from './batch-progress.ts';
import type { ClaimJournal } from './claim-journal.ts';
import { fromPartition, toFields } from './messages.ts';
import type { Emit, ToRecord } from './messages.ts';
import type { PartitionClock } from './partition-clock.ts';
import type { Protections } from './protections.ts';
import type { Pushes } from './pushes.ts';
import type { ShownVersions } from './shown-versions.ts';
import { lookWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';
import type { Watches } from './watches.ts';

export interface OverlaysParts {
  readonly emit: Emit;
  readonly turn: TurnWork;
  readonly store: ServiceStore;
  readonly lists: ListCache;
  readonly shown: ShownVersions;
  readonly progress: BatchProgress;
  readonly watches: Watches;
  readonly pushes: Pushes;
  readonly journal: ClaimJournal | undefined;
  readonly protections: Pick<Protections, 'judge'>;
}

/** What operators lay over services: every partition knows all of it, so a service that comes here has it at once. */
export class Overlays {
  readonly #parts: OverlaysParts;

  constructor(parts: OverlaysParts) {
    this.#parts = parts;
  }

  /** A change: whoever subscribes is told, in one push. */
  layOver(host: number, record: ToRecord<'layOver'>, clock: PartitionClock): void {
    const at = toFields.layOver;
    const key = record[at.key];
    const { emit, store, progress, shown, journal } = this.#parts;
    progress.noteMutation();
    const overlay = decodeOverlay(record[at.overlay]);
    const service = store.get(key);
    if (service === undefined) store.setOverlay(key, overlay);
    else {
      this.#change(service, overlay, clock);
      shown.keepAbove(service);
      journal?.noteRaised(service);
    }
    emit(host, fromPartition.applied, record[at.request], service?.version ?? 0);
  }

  /** The partition is new, and nobody has been told anything by it yet. */
  restore(record: ToRecord<'restoreOverlay'>): void {
    const at = toFields.restoreOverlay;
    const { store, lists } = this.#parts;
    const service = store.get(record[at.key]);
    store.setOverlay(record[at.key], decodeOverlay(record[at.overlay]));
    if (service === undefined) return;
    lists.forget(service);
    // What clients of before a crash were told under may have been another overlay.
    service.forgetVersionBefore();
  }

  #change(service: ServiceRecord, overlay: ServiceOverlay | undefined, { wallMicros }: PartitionClock): void {
    const { store, lists, watches, pushes, turn, protections } = this.#parts;
    const wasClosed = service.isClosed;
    const isTurned = wasClosed !== (overlay?.isClosed === true);
    const ids = isTurned
      ? [...new Set(service.instances.namesOf(() => true).map(({ id }) => id))]
      : [...listOverridden(service.overlay, overlay)];
    turn.spend(ids.length * lookWork);
    const before = new Map(ids.map((id) => [id, service.fragmentOf(id)]));
    store.setOverlay(service.key, overlay);
    lists.forget(service);
    const changed = ids.filter((id) => service.fragmentOf(id) !== before.get(id));
    for (const id of changed) service.advance(id, wallMicros);
    // Nobody's list changes, but what is to be said of it.
    if (isTurned && changed.length === 0) service.raise(Math.max(service.version + 1, wallMicros));
    const watched = watches.find(service.key);
    if (watched !== undefined) {
      for (const id of changed) pushes.noteChange(watched, id, before.get(id));
      if (isTurned) pushes.noteTurned(watched);
    }
    protections.judge(service);
  }
}
