import { readVariant } from '../push/variant.ts';
import type { WatchedService } from '../push/watched-service.ts';
import { ChangeLog } from '../store/change-log.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { ClaimJournal } from './claim-journal.ts';
import type { ServiceParcel } from './messages.ts';
import { claimWork } from './turn-work.ts';

/** The partition that takes over, as far as this needs it. */
export interface TakeoverReceiver {
  readonly store: ServiceStore;
  readonly changeLogEntriesMax: number;
  readonly isTurnOver: () => boolean;
  readonly spend: (work: number) => void;
  /** Whether a host still runs that had subscribers when this was given away. */
  readonly isThere: (host: number) => boolean;
  /** A service that somebody watches; from then on it is watched here, too, by nobody yet. */
  readonly watch: (service: ServiceRecord) => WatchedService;
  readonly journal: ClaimJournal | undefined;
  /** A service's instances have been parsed for a filter; false: not in this turn. */
  readonly takeApart: (service: ServiceRecord, filter: string) => boolean;
}

/** One part of what another partition gives away, on its way into this one: over turns, if it has many filters to be made ready. */
export class SlotTakeover {
  readonly #receiver: TakeoverReceiver;
  readonly #parcels: readonly ServiceParcel[];
  #at = 0;
  /** The service of the present parcel, once its instances are in. */
  #service: ServiceRecord | undefined;
  #watched: WatchedService | undefined;
  /** Of its variants, how many have been taken over. */
  #variants = 0;

  constructor(parcels: readonly ServiceParcel[], receiver: TakeoverReceiver) {
    this.#parcels = parcels;
    this.#receiver = receiver;
  }

  /** Goes on; whether all is in. */
  proceed(): boolean {
    for (; this.#at < this.#parcels.length; this.#at++) {
      const parcel = this.#parcels[this.#at]!;
      this.#service ??= this.#fill(parcel);
      if (!this.#applyWatch(this.#service, parcel)) return false;
      this.#service = undefined;
      this.#watched = undefined;
      this.#variants = 0;
    }
    return true;
  }

  #fill({ key, version, isFirst, isLast, instances, log }: ServiceParcel): ServiceRecord {
    const { store, changeLogEntriesMax, spend, journal } = this.#receiver;
    const service = isFirst ? store.create(key, version) : store.get(key);
    if (service === undefined) throw new Error(`the rest of a service without its beginning: ${key}`);
    if (isFirst) {
      store.attach(service);
      journal?.noteTaken(service);
    }
    for (let i = 0; i < instances.length; i += 4) {
      const [id, fragment] = [String(instances[i]), String(instances[i + 1])];
      const claim = { fragment, owner: Number(instances[i + 2]), stamp: Number(instances[i + 3]) };
      store.restore(service, id, claim);
      journal?.notePut(service, claim);
      spend(claimWork + fragment.length);
    }
    if (isLast) service.judgeAnew();
    if (isLast && log !== undefined) service.adoptLog(ChangeLog.restore(log.base, log.entries, changeLogEntriesMax));
    return service;
  }

  /** Making the view of a filter looks at every instance. */
  #applyWatch(service: ServiceRecord, { watch = [] }: ServiceParcel): boolean {
    const { isTurnOver, takeApart, isThere } = this.#receiver;
    for (; this.#variants < watch.length; this.#variants++) {
      const { variant, pushedVersion, hosts } = watch[this.#variants]!;
      const present = hosts.filter(isThere);
      if (present.length === 0) continue;
      if (isTurnOver() || !takeApart(service, readVariant(variant).filter)) return false;
      this.#watched ??= this.#receiver.watch(service);
      for (const host of present) this.#watched.addInterest(host, variant).pushedVersion = pushedVersion;
    }
    return true;
  }
}
