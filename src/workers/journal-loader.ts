import type { ClaimRecordTaker, ReadFragment } from '../journal/claim-records.ts';
import { slotOf } from '../slots/slot.ts';
import { persistentOwner } from '../store/persistent-owner.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import { digestFragment } from './fragment-digest.ts';
import { hostsMax, sessionsPerHostMax } from './session-numbers.ts';

export interface JournalLoaderOptions {
  readonly store: ServiceStore;
  /** Whether a slot is this partition's. */
  readonly isOwned: (slot: number) => boolean;
  /** Whether a session's claims are to be taken from the journal; those of others come from elsewhere. */
  readonly isWanted: (owner: number) => boolean;
  /** Services continue from the versions that they had; else from the floor of the store. */
  readonly keepsVersions: boolean;
}

/** An instance, by its service and id. */
export interface InstanceName {
  readonly key: string;
  readonly id: string;
}

/** A persistent instance, and what its content is. */
export interface PersistentFinding extends InstanceName {
  /** See {@link digestFragment}. */
  readonly digest: string;
}

/** What has been read. */
export interface JournalSummary {
  /** The highest version, and the highest number of a request. */
  readonly versionMax: number;
  readonly stampMax: number;
  /** By host: the highest number of a session that began there, without the host. */
  readonly sessionsMax: readonly number[];
  /** The persistent instances. Only the store knows whether they still are. */
  readonly persistent: readonly PersistentFinding[];
}

/** A service, which journal spoke of it last, in which life, the version with which it did, and the epoch of the table that gave it the service; 0: it had it from the beginning. */
interface Known {
  readonly service: ServiceRecord;
  journal: number;
  life: number;
  version: number;
  epoch: number;
}

/**
 * Fills a store from journals, one after the other. Where several speak of a service, since its slot has moved, the one that knows the higher version of it does, or that got it
 * later: the others stopped hearing of it before.
 */
export class JournalLoader implements ClaimRecordTaker {
  readonly #options: JournalLoaderOptions;
  readonly #known: Map<string, Known> = new Map();
  /** What the present journal's partition was being given. */
  readonly #arriving: Map<string, ServiceRecord> = new Map();
  #journal = 0;
  #life = 0;
  /** What the record before was about: those of a service often follow each other. */
  #current: Known | undefined;
  #versionMax = 0;
  #stampMax = 0;
  readonly #sessionsMax: number[] = Array.from({ length: hostsMax }, () => 0);
  /** By service: ids that were persistent at some time. */
  readonly #persistent: Map<string, Set<string>> = new Map();

  constructor(options: JournalLoaderOptions) {
    this.#options = options;
  }

  /** What follows is of another writer, or of the same one in a later life. */
  beginJournal(life: number): void {
    this.#forgetAllArriving();
    this.#journal += 1;
    this.#life = life;
    this.#current = undefined;
  }

  begin(key: string, version: number, epoch: number): void {
    if (version === 0) {
      this.#expect(key);
      return;
    }
    if (epoch > 0 && this.#takeIn(key, version, epoch)) return;
    const service = this.#find(key, version);
    // What is known of it stays: the rest of its claims may not have been written, and what has ended was noted as such.
    if (service !== undefined) this.#raise(service, version);
  }

  put(key: string, fragment: ReadFragment, owner: number, stamp: number, version: number): void {
    this.#noteVersion(version);
    this.#noteStamp(stamp);
    this.#noteOwner(owner);
    if (!this.#options.isWanted(owner)) return;
    const service = version === 0 ? this.#arriving.get(key) : this.#find(key, version);
    if (service === undefined) return;
    const id = this.#options.store.restoreEncoded(service, fragment, { owner, stamp });
    this.#raise(service, version);
    if (owner === persistentOwner) this.#notePersistent(key, id);
  }

  restamp(key: string, id: string, owner: number, stamp: number): void {
    this.#noteStamp(stamp);
    const known = this.#known.get(key);
    if (known?.journal !== this.#journal) return;
    const { service } = known;
    const claim = service.instances.claimOf(id, owner);
    if (claim === undefined || claim.stamp >= stamp) return;
    this.#options.store.restore(service, id, { fragment: claim.fragment, owner, stamp });
  }

  end(key: string, id: string, owner: number, stamp: number, version: number): void {
    this.#noteVersion(version);
    const service = this.#find(key, version);
    if (service === undefined) return;
    this.#options.store.unrestore(service, id, owner, stamp);
    this.#raise(service, version);
  }

  raise(key: string, version: number): void {
    this.#noteVersion(version);
    const service = this.#find(key, version);
    if (service !== undefined) this.#raise(service, version);
  }

  floor(version: number): void {
    this.#noteVersion(version);
  }

  giveAway(slots: readonly number[]): void {
    const given = new Set(slots);
    this.#current = undefined;
    for (const service of this.#arriving.values()) if (given.has(service.slot)) this.#forgetArriving(service);
    for (const [key, { service, journal }] of this.#known) {
      if (journal !== this.#journal || !given.has(service.slot)) continue;
      this.#options.store.detach(service);
      this.#known.delete(key);
    }
  }

  /** All has been read: services without instances are forgotten. */
  finish(): JournalSummary {
    const { store } = this.#options;
    this.#forgetAllArriving();
    for (const service of store.services()) if (service.instances.size === 0) store.forget(service);
    this.#known.clear();
    const persistent = this.#listPersistent();
    return { versionMax: this.#versionMax, stampMax: this.#stampMax, sessionsMax: this.#sessionsMax, persistent };
  }

  #notePersistent(key: string, id: string): void {
    const ids = this.#persistent.get(key);
    if (ids === undefined) this.#persistent.set(key, new Set([id]));
    else ids.add(id);
  }

  /** Those that still are. */
  #listPersistent(): PersistentFinding[] {
    const { store } = this.#options;
    return [...this.#persistent].flatMap(([key, ids]) => {
      const instances = store.get(key)?.instances;
      return [...ids].flatMap((id) => {
        const claim = instances?.claimOf(id, persistentOwner);
        return claim === undefined ? [] : [{ key, id, digest: digestFragment(claim.fragment) }];
      });
    });
  }

  #noteVersion(version: number): void {
    if (version > this.#versionMax) this.#versionMax = version;
  }

  #noteStamp(stamp: number): void {
    if (stamp > this.#stampMax) this.#stampMax = stamp;
  }

  #noteOwner(owner: number): void {
    const host = Math.floor(owner / sessionsPerHostMax);
    const number = owner - host * sessionsPerHostMax;
    if (number > (this.#sessionsMax[host] ?? Infinity)) this.#sessionsMax[host] = number;
  }

  /** The service that a record is about; undefined: it is another's, or another journal knows a later state of it. */
  #find(key: string, version: number): ServiceRecord | undefined {
    let known = this.#current?.service.key === key ? this.#current : this.#known.get(key);
    if (known === undefined) {
      if (!this.#options.isOwned(slotOf(key))) return undefined;
      const service = this.#options.store.get(key) ?? this.#create(key);
      known = { service, journal: this.#journal, life: this.#life, version, epoch: 0 };
      this.#known.set(key, known);
    } else if (known.journal !== this.#journal) {
      // Who gave it away says nothing after that; a later life continues from where the one before was.
      if (known.life === this.#life ? version <= known.version : version < known.version) return undefined;
      known.journal = this.#journal;
      known.life = this.#life;
      known.epoch = 0;
    }
    if (version > known.version) known.version = version;
    this.#current = known;
    return known.service;
  }

  /** What comes from another partition counts once it has all come. */
  #expect(key: string): void {
    const { store, isOwned, keepsVersions } = this.#options;
    if (this.#arriving.has(key) || !isOwned(slotOf(key))) return;
    this.#arriving.set(key, store.create(key, keepsVersions ? 0 : store.versionFloor));
  }

  /** All of a service has come to this journal's partition, by the table of this epoch. False: what came is not here, but in a segment that is not needed any more. */
  #takeIn(key: string, version: number, epoch: number): boolean {
    const arrived = this.#arriving.get(key);
    if (arrived === undefined) return false;
    const known = this.#known.get(key);
    const isOlder =
      known?.life === this.#life && (version < known.version || (version === known.version && epoch <= known.epoch));
    if (isOlder) {
      this.#forgetArriving(arrived);
      return true;
    }
    const { store } = this.#options;
    this.#arriving.delete(key);
    if (known !== undefined) store.detach(known.service);
    store.attach(arrived);
    this.#current = { service: arrived, journal: this.#journal, life: this.#life, version, epoch };
    this.#known.set(key, this.#current);
    this.#noteVersion(version);
    this.#raise(arrived, version);
    return true;
  }

  #forgetArriving(service: ServiceRecord): void {
    this.#arriving.delete(service.key);
    this.#options.store.discard(service);
  }

  #forgetAllArriving(): void {
    for (const service of this.#arriving.values()) this.#forgetArriving(service);
  }

  #create(key: string): ServiceRecord {
    const { store, keepsVersions } = this.#options;
    if (!keepsVersions) return store.obtain(key);
    const service = store.create(key, 0);
    store.attach(service);
    return service;
  }

  #raise(service: ServiceRecord, version: number): void {
    if (this.#options.keepsVersions) service.raise(version);
  }
}
