import type { Failure } from '../protocol/errors.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import { Coalescer } from '../push/coalescer.ts';
import { variants } from '../push/interest.ts';
import { encodeDifference, encodeInstances } from '../push/push-encoding.ts';
import { WatchedService } from '../push/watched-service.ts';
import type { ServiceRecord } from '../slots/service-record.ts';
import { ServiceStore } from '../slots/service-store.ts';
import type { Takeover } from '../slots/service-store.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import type { Histogram } from './histogram.ts';
import { fromPartition, toPartition } from './messages.ts';
import type { FromPartition, PartitionLimits, ServiceParcel, ToPartition } from './messages.ts';
import { packService, unpackService } from './service-parcel.ts';
import { textCodec } from './text-codec.ts';

/** Both clocks, read once a turn: wall clock in µs for versions, monotonic milliseconds for windows. */
export interface PartitionClock {
  readonly wallMicros: number;
  readonly monotonicMs: number;
}

/** How far a host's batches have been pushed. */
interface HostProgress {
  /** The last batch that asked for a change. */
  changedBatch: number;
  settledBatch: number;
  /** Batches that changed something watched which may not have been pushed, oldest first. */
  readonly unsettled: { readonly batch: number; readonly atMs: number }[];
}

/** Where a partition's records go. */
export type Emit = (host: number, ...record: FromPartition) => void;

/** Numbers of a session: the host that holds it, and which it is there. */
export const sessionsPerHostMax: number = 2 ** 40;
function hostOf(session: number): number {
  return Math.floor(session / sessionsPerHostMax);
}

/**
 * The data role: owns the slots that the table gives it, applies what session hosts send, in order, and says what is answered and
 * pushed. Synchronous and pure: (state, record, clock) → records. It touches no port, socket or timer.
 */
export class PartitionCore {
  readonly #partition: number;
  readonly #limits: PartitionLimits;
  readonly #emit: Emit;
  readonly #store: ServiceStore;
  readonly #coalescer: Coalescer;
  readonly #watched: Map<string, WatchedService> = new Map();
  readonly #charactersInFlight: Map<number, number> = new Map();
  /** Snapshots encoded in this turn: a storm of subscribers to one service encodes it once. */
  readonly #snapshots: Map<ServiceRecord, string> = new Map();
  readonly #progress: Map<number, HostProgress> = new Map();
  /** Hosts are sending what they hold, and nothing may be pushed before all have: instances to be told again then, by service. */
  #retold: Map<string, Set<string>> | undefined;
  readonly #pushChanges: Histogram | undefined;
  #table: SlotTable;
  /** The batch that is being applied. */
  #current:
    | { readonly progress: HostProgress; readonly batch: number; readonly atMs: number; readonly askedAtMs: number }
    | undefined;

  /** `versionFloor`: no service that these slots ever held had a version above it. `pushChanges` observes how many changes pushes told. */
  constructor(
    partition: number,
    table: SlotTable,
    limits: PartitionLimits,
    versionFloor: number,
    emit: Emit,
    pushChanges?: Histogram,
  ) {
    this.#pushChanges = pushChanges;
    this.#partition = partition;
    this.#table = table;
    this.#limits = limits;
    this.#emit = emit;
    this.#store = new ServiceStore(limits, textCodec, versionFloor);
    this.#coalescer = new Coalescer(limits.coalesceWindowMs);
  }

  get instanceCount(): number {
    return this.#store.instanceCount;
  }

  get serviceCount(): number {
    return this.#store.serviceCount;
  }

  /** Every instance held, for checkers: key, id, stamp and owner. */
  describeInstances(): string[] {
    return [...this.#store.services()].flatMap(({ key, instances }) =>
      [...instances].map(([id, { stamp, owner }]) => `${key} ${id} ${stamp} ${owner}`),
    );
  }

  /** Every service that is watched, for checkers: key, variant and host. */
  describeInterest(): string[] {
    return [...this.#watched].flatMap(([key, { interest }]) =>
      variants.flatMap((variant) => [...interest.hosts(variant)].map((host) => `${key} ${variant} ${host}`)),
    );
  }

  adoptTable(table: SlotTable): void {
    if (table.epoch <= this.#table.epoch) throw new Error(`epoch ${table.epoch} is not after ${this.#table.epoch}`);
    this.#table = table;
  }

  /** A host's next batch is about to be applied. `askedAtMs`: when its first change was asked for; 0: not known. */
  beginBatch(host: number, batch: number, clock: PartitionClock, askedAtMs = 0): void {
    let progress = this.#progress.get(host);
    if (progress === undefined) {
      progress = { changedBatch: 0, settledBatch: 0, unsettled: [] };
      this.#progress.set(host, progress);
    }
    this.#current = { progress, batch, atMs: clock.monotonicMs, askedAtMs };
  }

  /** Applies one record of a batch that was routed by the table of `epoch`. */
  apply(host: number, epoch: number, record: ToPartition, clock: PartitionClock): void {
    switch (record[0]) {
      case toPartition.register: {
        const [, request, session, key, id, fragment] = record;
        if (this.#owns(host, epoch, request, key)) this.#register(host, request, session, key, id, fragment, clock);
        return;
      }
      case toPartition.deregister: {
        const [, request, session, key, id] = record;
        if (this.#owns(host, epoch, request, key)) this.#deregister(host, request, session, key, id, clock);
        return;
      }
      case toPartition.withdraw: {
        const [, session, key, id] = record;
        this.#noteMutation();
        const outcome = this.#store.deregister(key, id, session, clock.wallMicros);
        // Refused: another session registered it since, or it never got this far. Then there is nothing to take away (SE1).
        if (outcome.kind === 'removed') this.#noteChange(outcome.service, id, outcome.before);
        return;
      }
      case toPartition.subscribe: {
        const [, request, key, variant, since] = record;
        if (this.#owns(host, epoch, request, key)) this.#subscribe(host, request, key, variant, since);
        return;
      }
      case toPartition.loseInterest:
        this.#loseInterest(host, record[1], record[2]);
        return;
      case toPartition.query: {
        const [, request, key] = record;
        if (this.#owns(host, epoch, request, key)) this.#answerState(host, request, this.#store.get(key));
        return;
      }
      case toPartition.list: {
        const [, request, namespace, prefix, after, limit] = record;
        const page = this.#store.list({ namespace, prefix, after, limit });
        this.#emit(
          host,
          fromPartition.listed,
          request,
          page.flatMap(({ key, instances }) => [key, instances]),
        );
        return;
      }
      case toPartition.credit:
        this.#charactersInFlight.set(host, Math.max(0, (this.#charactersInFlight.get(host) ?? 0) - record[1]));
        return;
      case toPartition.restore: {
        const [, owner, key, id, fragment, stamp] = record;
        const loser = this.#store.restore(key, id, { fragment, owner, stamp });
        if (loser !== undefined) this.#release(key, id, loser);
        return;
      }
      case toPartition.rewatch: {
        const [, key, variant, from] = record;
        const watched = this.#obtainWatched(key);
        watched.interest.add(host, variant);
        watched.resume(from);
        return;
      }
      case toPartition.retell:
        this.#noteRetold(record[1], record[2]);
        return;
      case toPartition.restored:
        this.#retold ??= new Map();
        this.#emit(host, fromPartition.applied, record[1], 0);
        return;
      case toPartition.goOn:
        this.#retell();
        this.#emit(host, fromPartition.applied, record[1], 0);
        return;
      case toPartition.fence:
        this.#emit(host, fromPartition.applied, record[1], 0);
        return;
      case toPartition.handOver:
        this.#handOver(host, record[1], record[2]);
        return;
      case toPartition.takeOver:
        this.#store.raiseVersionFloor(record[2]);
        for (const parcel of record[3]) this.#takeOver(parcel);
        this.#emit(host, fromPartition.applied, record[1], 0);
        return;
      case toPartition.measure:
        this.#emit(host, fromPartition.measured, record[1], this.#measure());
        return;
      default:
        record satisfies never;
    }
  }

  /** The end of a turn: pushes what is due, unless a host is behind, in which case changes go on merging. */
  endTurn(clock: PartitionClock): void {
    this.#snapshots.clear();
    this.#current = undefined;
    if (this.#isHeldBack()) return;
    for (const watched of this.#coalescer.takeDue(clock.monotonicMs)) this.#push(watched);
    this.#settle(this.#coalescer.settledAt(clock.monotonicMs));
  }

  /**
   * When {@link endTurn} must be called although nothing came in, in monotonic milliseconds. Whatever is unsettled settles by then, too: it
   * was pushed and so began a window, or waits for one to end.
   */
  nextDueAt(): number | undefined {
    return this.#isHeldBack() ? undefined : this.#coalescer.nextDueAt();
  }

  #push(watched: WatchedService): void {
    const { changeCount } = watched;
    const pushes = watched.takePushes();
    if (pushes.length > 0 && changeCount > 0) this.#pushChanges?.observe(changeCount);
    for (const { key, variant, from, to, count, body, changedAtMs, hosts } of pushes) {
      for (const host of hosts) {
        this.#emit(host, fromPartition.push, key, variant, from, to, count, changedAtMs, body);
        this.#charactersInFlight.set(host, (this.#charactersInFlight.get(host) ?? 0) + body.length);
      }
    }
  }

  /** Tells hosts how far what they changed has been pushed: what is not is what a rebuild must tell again. */
  #settle(settledAtMs: number): void {
    for (const [host, progress] of this.#progress) {
      const { unsettled } = progress;
      while (unsettled.length > 0 && unsettled[0]!.atMs <= settledAtMs) unsettled.shift();
      const settled = unsettled.length > 0 ? unsettled[0]!.batch - 1 : progress.changedBatch;
      if (settled <= progress.settledBatch) continue;
      progress.settledBatch = settled;
      this.#emit(host, fromPartition.settled, settled);
    }
  }

  #isHeldBack(): boolean {
    if (this.#retold !== undefined) return true;
    for (const characters of this.#charactersInFlight.values()) {
      if (characters >= this.#limits.pushCharactersInFlightMax) return true;
    }
    return false;
  }

  /** SL2: what was routed by an older table is carried out only if the slot is still owned here, else sent back. */
  #owns(host: number, epoch: number, request: number, key: string): boolean {
    if (epoch === this.#table.epoch || this.#table.ownerOf(slotOf(key)) === this.#partition) return true;
    this.#emit(host, fromPartition.moved, request, this.#table.epoch);
    return false;
  }

  #register(
    host: number,
    request: number,
    session: number,
    key: string,
    id: string,
    fragment: string,
    clock: PartitionClock,
  ): void {
    this.#noteMutation();
    const outcome = this.#store.register(key, id, { fragment, owner: session, stamp: request }, clock.wallMicros);
    if (outcome.kind === 'refused') return this.#refuse(host, request, outcome.failure);
    if (outcome.takeover !== undefined) this.#release(key, id, outcome.takeover);
    if (outcome.kind === 'changed') this.#noteChange(outcome.service, id, outcome.before);
    this.#emit(host, fromPartition.applied, request, outcome.service.version);
  }

  #deregister(host: number, request: number, session: number, key: string, id: string, clock: PartitionClock): void {
    this.#noteMutation();
    const outcome = this.#store.deregister(key, id, session, clock.wallMicros);
    if (outcome.kind === 'refused') return this.#refuse(host, request, outcome.failure);
    this.#emit(host, fromPartition.applied, request, outcome.service.version);
    this.#noteChange(outcome.service, id, outcome.before);
  }

  #release(key: string, id: string, { owner, stamp }: Takeover): void {
    this.#emit(hostOf(owner), fromPartition.released, owner, key, id, stamp);
  }

  #refuse(host: number, request: number, { code, message, limit, max }: Failure): void {
    this.#emit(host, fromPartition.refused, request, code, message, limit ?? '', max ?? 0);
  }

  #noteChange(service: ServiceRecord, id: string, before: string | undefined): void {
    this.#snapshots.delete(service);
    const watched = this.#watched.get(service.key);
    if (watched !== undefined) {
      watched.noteChange(id, before, this.#current?.askedAtMs);
      this.#coalescer.noteChange(watched);
      this.#noteUnsettled();
    } else if (service.instances.size === 0) {
      this.#store.forget(service);
    }
  }

  #noteMutation(): void {
    if (this.#current !== undefined) this.#current.progress.changedBatch = this.#current.batch;
  }

  #noteUnsettled(): void {
    const { progress, batch, atMs } = this.#current ?? {};
    if (progress === undefined || batch === undefined || atMs === undefined)
      throw new Error('a change outside a batch');
    if (progress.unsettled.at(-1)?.batch !== batch) progress.unsettled.push({ batch, atMs });
  }

  /** A host whose sessions changed them need not be one that has subscribers: so this waits until all hosts have said who subscribes. */
  #noteRetold(key: string, ids: readonly string[]): void {
    this.#retold ??= new Map();
    const known = this.#retold.get(key) ?? new Set();
    this.#retold.set(key, known);
    for (const id of ids) known.add(id);
    this.#noteMutation();
    this.#noteUnsettled();
  }

  #retell(): void {
    const retold = this.#retold ?? new Map<string, Set<string>>();
    this.#retold = undefined;
    for (const [key, ids] of retold) {
      const watched = this.#watched.get(key);
      if (watched === undefined) continue;
      watched.retell(ids);
      for (const id of ids) watched.service.advance(id, 0);
      this.#coalescer.noteChange(watched);
    }
  }

  #handOver(host: number, request: number, slots: readonly number[]): void {
    const leaving = new Set(slots);
    const parcels: ServiceParcel[] = [];
    for (const service of this.#store.services()) {
      if (!leaving.has(slotOf(service.key))) continue;
      const watched = this.#watched.get(service.key);
      // Subscribers are told by this owner all that happened here, so that the next begins in quiet.
      if (watched !== undefined) this.#push(watched);
      parcels.push(packService(service, watched));
      if (watched !== undefined) this.#unwatch(watched);
      this.#store.detach(service);
    }
    this.#emit(host, fromPartition.handedOver, request, this.#store.versionFloor, parcels);
  }

  #takeOver(parcel: ServiceParcel): void {
    const service = unpackService(parcel, this.#limits.changeLogEntriesMax, (key, version) =>
      this.#store.create(key, version),
    );
    this.#store.attach(service);
    if (parcel.watch === undefined) return;
    const watched = new WatchedService(service, parcel.watch.pushedVersion);
    for (const variant of variants) {
      for (const host of parcel.watch.hosts[variant]) watched.interest.add(host, variant);
    }
    this.#watched.set(service.key, watched);
  }

  #measure(): number[] {
    const counts = new Map<number, number>();
    for (const { key, instances } of this.#store.services()) {
      const slot = slotOf(key);
      counts.set(slot, (counts.get(slot) ?? 0) + instances.size);
    }
    return [...counts].flat();
  }

  #obtainWatched(key: string): WatchedService {
    let watched = this.#watched.get(key);
    if (watched === undefined) {
      const service = this.#store.obtain(key);
      service.keepLog(this.#limits.changeLogEntriesMax);
      watched = new WatchedService(service);
      this.#watched.set(key, watched);
    }
    return watched;
  }

  #unwatch(watched: WatchedService): void {
    this.#watched.delete(watched.service.key);
    this.#coalescer.forget(watched);
  }

  #subscribe(host: number, request: number, key: string, variant: SubscribeMode, since: number): void {
    const watched = this.#obtainWatched(key);
    watched.interest.add(host, variant);
    watched.noteSnapshotTaken();
    const { service } = watched;
    const changed = since > 0 ? service.changedSince(since) : undefined;
    if (changed === undefined) return this.#answerState(host, request, service);
    const difference = encodeDifference(service, changed);
    this.#emit(host, fromPartition.resumed, request, since, service.version, difference);
  }

  #answerState(host: number, request: number, service: ServiceRecord | undefined): void {
    if (service === undefined) {
      this.#emit(host, fromPartition.state, request, this.#store.versionFloor, 0, '[]');
      return;
    }
    let text = this.#snapshots.get(service);
    if (text === undefined) {
      text = encodeInstances(service);
      this.#snapshots.set(service, text);
    }
    this.#emit(host, fromPartition.state, request, service.version, service.instances.size, text);
  }

  #loseInterest(host: number, key: string, variant: SubscribeMode): void {
    const watched = this.#watched.get(key);
    if (watched === undefined) return;
    watched.interest.remove(host, variant);
    if (!watched.interest.isEmpty) return;
    this.#unwatch(watched);
    if (watched.service.instances.size === 0) this.#store.forget(watched.service);
  }
}
