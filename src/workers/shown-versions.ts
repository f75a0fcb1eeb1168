import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { ClaimJournal } from './claim-journal.ts';
import type { PartitionClock } from './partition-clock.ts';

/** In µs. */
const leapMicros = 1_000_000;

/**
 * A version above one that a client holds from another life of the registry, and by a distance that differs from life to life: others may hold those that
 * were told next after it, and must not find them known here.
 */
export function leapOver(version: number, { wallMicros }: PartitionClock): number {
  return version + leapMicros + (wallMicros % leapMicros);
}

/** Versions that clients have shown to have received before the registry started, from a clock that was ahead: all versions from now on are above them. */
export class ShownVersions {
  readonly #store: ServiceStore;
  readonly #journal: Pick<ClaimJournal, 'noteRaised'> | undefined;
  /** 0: nobody has shown any. */
  #floor = 0;

  constructor(store: ServiceStore, journal: Pick<ClaimJournal, 'noteRaised'> | undefined) {
    this.#store = store;
    this.#journal = journal;
  }

  raise(version: number, clock: PartitionClock): void {
    // Those of this life begin above what the clock says.
    if (version < this.#floor || version < clock.wallMicros) return;
    this.#floor = leapOver(version, clock);
    this.#store.raiseVersionFloor(this.#floor);
  }

  /** Not at once for all services, of which there may be very many: for each with its next change. */
  keepAbove(service: ServiceRecord): void {
    if (service.version >= this.#floor) return;
    service.raise(this.#floor);
    // It is told from now on, be it that nothing changes any more.
    this.#journal?.noteRaised(service);
  }
}
