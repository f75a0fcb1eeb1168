import { ClaimRecordWriter } from '../journal/claim-records.ts';
import { JournalWriter } from '../journal/journal-writer.ts';
import type { JournalWriterOptions } from '../journal/journal-writer.ts';
import { slotOf } from '../slots/slot.ts';
import type { ClaimName, StoredInstance } from '../store/service-instances.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ClaimNotice, Refused, ServiceStore, StoreOutcome } from '../store/service-store.ts';

/** Claims of one service that are put into one slice; of a larger one the names are read at once, and the rest in later slices. */
const sliceClaims = 2000;
/** Of a record in addition to its texts, in bytes. */
const recordBytes = 100;
/** How long slots that another partition has taken over are still kept, in milliseconds: what that one noted of them is written by then. */
export const giveAwayAfterMs = 1000;

interface Leaving {
  readonly slots: readonly number[];
  readonly atMs: number;
}

/**
 * Notes what becomes of the claims that a partition holds, so that the next life of the process may begin with them. Each record is true by itself at its time, and
 * comes after those of what happened before.
 */
export class ClaimJournal {
  readonly #store: ServiceStore;
  readonly #writer: JournalWriter;
  readonly #records: ClaimRecordWriter;
  /** Slots that another partition has. */
  #leaving: Leaving[] = [];
  /** Services that come from another partition, which has them until all has come: up to then nothing is said of their versions, so what that one noted counts. */
  readonly #arriving: Set<ServiceRecord> = new Set();
  /** Of what there was when the segment began: the service that was begun last, and its claims that are still to be put. */
  #key = '';
  #names: ClaimName[] = [];

  constructor(store: ServiceStore, options: Omit<JournalWriterOptions, 'subject'>) {
    this.#store = store;
    this.#writer = new JournalWriter({
      ...options,
      subject: {
        liveBytes: () => store.usedBytes + store.claimCount * recordBytes,
        onBegin: (journal) => {
          this.#key = '';
          this.#names = [];
          this.#leaving = [];
          new ClaimRecordWriter(journal).floor(store.versionFloor);
        },
        putSlice: (limit) => this.#putSlice(limit),
        mayComplete: () => this.#leaving.length === 0,
      },
    });
    this.#records = new ClaimRecordWriter(this.#writer);
  }

  /** Of the segments that are needed, in bytes. */
  get bytes(): number {
    return this.#writer.bytes;
  }

  /** Bytes that wait to be written. */
  get waitingBytes(): number {
    return this.#writer.waitingBytes;
  }

  /** See {@link JournalWriter.begin}. */
  begin(isEmpty: boolean, nowMs: number): void {
    this.#writer.begin(isEmpty, nowMs);
  }

  /** See {@link JournalWriter.noteWhole}. */
  noteWhole(): void {
    this.#writer.noteWhole();
  }

  /** A turn has ended, or time has passed. */
  proceed(nowMs: number): void {
    if (this.#leaving.length > 0) this.#giveAway(({ atMs }) => nowMs - atMs >= giveAwayAfterMs);
    this.#writer.proceed(nowMs);
  }

  /** See {@link JournalWriter.end}. */
  end(): Promise<boolean> {
    return this.#writer.end();
  }

  get #isOn(): boolean {
    return this.#writer.state === 'warm';
  }

  noteRegistration(id: string, claim: StoredInstance, outcome: StoreOutcome, key: string): void {
    if (!this.#isOn) return;
    if (outcome.kind === 'refused') {
      this.#noteStanding(key, claim, outcome);
      return;
    }
    const { service, told } = outcome;
    if (outcome.kind === 'unchanged' && told.length === 0) {
      this.#records.restamp(service.slot, key, id, claim);
      return;
    }
    this.#records.put(service.slot, key, claim, service.version);
    if (told.length > 0) this.#noteDropped(service, id, told);
  }

  #noteStanding(key: string, { owner }: StoredInstance, { stands }: Refused): void {
    if (stands === undefined) return;
    const { fragment, stamp } = stands;
    const version = this.#store.get(key)?.version ?? 0;
    this.#records.put(slotOf(key), key, { fragment, owner, stamp }, version);
  }

  #noteDropped(service: ServiceRecord, id: string, told: readonly ClaimNotice[]): void {
    for (const { owner, stamp, state } of told) {
      if (state === 'dropped') this.#records.end(service.slot, service.key, id, { owner, stamp }, service.version);
    }
  }

  /** A session's claim has ended, unless it has made it again after `stamp`. */
  noteEnd(service: ServiceRecord, id: string, owner: number, stamp: number): void {
    if (!this.#isOn) return;
    this.#records.end(service.slot, service.key, id, { owner, stamp }, service.version);
  }

  /** A claim was put back, or came from another partition. */
  notePut(service: ServiceRecord, claim: StoredInstance): void {
    if (this.#isOn) this.#records.put(service.slot, service.key, claim, this.#versionOf(service));
  }

  /** A service comes from another partition; its claims follow. */
  noteTaken(service: ServiceRecord): void {
    this.#arriving.add(service);
    if (!this.#isOn) return;
    this.#giveAway(({ slots }) => slots.includes(service.slot));
    this.#records.begin(service.slot, service.key, this.#versionOf(service));
  }

  /** There is another table: what has come by now is this partition's if that says so. */
  noteTable(isOwned: (slot: number) => boolean, epoch: number): void {
    for (const service of this.#arriving) {
      if (!isOwned(service.slot)) continue;
      this.#arriving.delete(service);
      if (this.#isOn) this.#records.begin(service.slot, service.key, service.version, epoch);
    }
  }

  /** The service continues from a higher version although nothing has changed. */
  noteRaised({ slot, key, version }: ServiceRecord): void {
    if (this.#isOn) this.#records.raise(slot, key, version);
  }

  /** All versions from now on are above this. */
  noteFloor(version: number): void {
    if (this.#isOn) this.#records.floor(version);
  }

  /** What these slots held is another partition's. */
  noteGiven(slots: readonly number[]): void {
    const given = new Set(slots);
    for (const service of this.#arriving) if (given.has(service.slot)) this.#arriving.delete(service);
    if (this.#isOn) this.#leaving.push({ slots, atMs: this.#writer.nowMs });
  }

  #giveAway(isDue: (leaving: Leaving) => boolean): void {
    const due = this.#leaving.filter(isDue);
    if (due.length === 0) return;
    this.#leaving = this.#leaving.filter((leaving) => !due.includes(leaving));
    for (const { slots } of due) this.#records.giveAway(slots);
  }

  /** What changes meanwhile is noted in between, and is put as it is by then. */
  #putSlice(limit: number): boolean {
    const isFull = (): boolean => this.#writer.frames.size >= limit;
    this.#putNames(isFull);
    if (isFull()) return false;
    for (const service of this.#store.listedAfter(this.#key)) {
      this.#key = service.key;
      this.#putService(service);
      this.#putNames(isFull);
      if (isFull()) return false;
    }
    return true;
  }

  #putService(service: ServiceRecord): void {
    const { instances, slot, key } = service;
    const version = this.#versionOf(service);
    this.#records.begin(slot, key, version);
    if (instances.size + instances.hiddenCount > sliceClaims) {
      this.#names = instances.namesOf(() => true).toReversed();
      return;
    }
    for (const [, claim] of instances) this.#records.put(slot, key, claim, version);
    for (const [, claim] of instances.hidden ?? []) this.#records.put(slot, key, claim, version);
  }

  #putNames(isFull: () => boolean): void {
    const service = this.#names.length === 0 ? undefined : this.#store.get(this.#key);
    while (this.#names.length > 0 && !isFull()) {
      const { id, owner } = this.#names.pop()!;
      const claim = service?.instances.claimOf(id, owner);
      // It may have ended meanwhile, which has been noted.
      if (service !== undefined && claim !== undefined) {
        this.#records.put(service.slot, service.key, claim, this.#versionOf(service));
      }
    }
  }

  #versionOf(service: ServiceRecord): number {
    return this.#arriving.has(service) ? 0 : service.version;
  }
}
