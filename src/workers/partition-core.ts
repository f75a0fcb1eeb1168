import type { Failure } from '../protocol/errors.ts';
import { Coalescer } from '../push/coalescer.ts';
import { FilterView } from '../push/filter-view.ts';
import { readTraits } from '../push/instance-filter.ts';
import type { Traits } from '../push/instance-filter.ts';
import { encodeDifference, encodeInstances } from '../push/push-encoding.ts';
import { readVariant } from '../push/variant.ts';
import { WatchedService } from '../push/watched-service.ts';
import type { ServiceRecord } from '../slots/service-record.ts';
import { ServiceStore } from '../slots/service-store.ts';
import type { Takeover } from '../slots/service-store.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import type { Histogram } from './histogram.ts';
import { fromPartition, toPartition } from './messages.ts';
import type { FromPartition, PartitionLimits, ServiceParcel, ToPartition } from './messages.ts';
import { packService, unpackService, unpackWatch } from './service-parcel.ts';
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

/** Characters of push text that went to a host, and that it has handed to its sockets. */
interface PushFlow {
  emitted: number;
  credited: number;
}

/** The instances of a service, or those that a filter lets through, as a JSON array. */
interface EncodedList {
  readonly count: number;
  readonly text: string;
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
  readonly #coalescer: Coalescer<WatchedService>;
  readonly #watched: Map<string, WatchedService> = new Map();
  readonly #flows: Map<number, PushFlow> = new Map();
  readonly #isBehind = (watched: WatchedService): boolean => {
    for (const [host, mark] of watched.marks ?? []) if (this.#flowTo(host).credited < mark) return true;
    return false;
  };
  /** Lists encoded in this turn, by the text of their filter: a storm of subscribers to one service encodes it once. */
  readonly #lists: Map<ServiceRecord, Map<string, EncodedList>> = new Map();
  /** Instances taken apart in this turn, for those who come with filters; each costs a µs, whatever the number of filters. */
  readonly #traits: Map<ServiceRecord, readonly Traits[]> = new Map();
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
    this.#coalescer = new Coalescer({ minMs: limits.coalesceWindowMinMs, maxMs: limits.coalesceWindowMaxMs });
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
    return [...this.#watched].flatMap(([key, watched]) =>
      [...watched.variants()].flatMap(({ variant, hosts }) => hosts.map((host) => `${key} ${variant.text} ${host}`)),
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
        const [, request, key, filter] = record;
        if (this.#owns(host, epoch, request, key)) this.#answerState(host, request, this.#store.get(key), filter);
        return;
      }
      case toPartition.list: {
        const [, request, namespace, prefix, after, limit] = record;
        const page = this.#store.list({ namespace, prefix, after, limit });
        this.#emit(
          host,
          fromPartition.listed,
          request,
          page.services.flatMap(({ key, instances }) => [key, instances]),
        );
        return;
      }
      case toPartition.credit: {
        const flow = this.#flowTo(host);
        // What an earlier life of this partition pushed is credited to this one.
        flow.credited = Math.min(flow.emitted, flow.credited + record[1]);
        return;
      }
      case toPartition.restore: {
        const [, owner, key, id, fragment, stamp] = record;
        const loser = this.#store.restore(key, id, { fragment, owner, stamp });
        if (loser !== undefined) this.#release(key, id, loser);
        return;
      }
      case toPartition.rewatch: {
        const [, key, variant, from] = record;
        this.#obtainWatched(key).resume(host, variant, from);
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
    this.#lists.clear();
    this.#traits.clear();
    this.#current = undefined;
    if (this.#isHeldBack()) return;
    for (const watched of this.#coalescer.takeDue(clock.monotonicMs, this.#isBehind)) this.#push(watched);
    this.#settle(this.#coalescer.unpushedSince());
  }

  /**
   * When {@link endTurn} must be called although nothing came in, in monotonic milliseconds. What is unsettled waits for a window to end,
   * and is told as settled then.
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
        const flow = this.#flowTo(host);
        flow.emitted += body.length;
        watched.marks ??= new Map();
        watched.marks.set(host, flow.emitted);
      }
    }
  }

  /** Tells hosts how far what they changed has been pushed: what is not is what a rebuild must tell again. */
  #settle(unpushedSinceMs: number): void {
    for (const [host, progress] of this.#progress) {
      const { unsettled } = progress;
      while (unsettled.length > 0 && unsettled[0]!.atMs < unpushedSinceMs) unsettled.shift();
      const settled = unsettled.length > 0 ? unsettled[0]!.batch - 1 : progress.changedBatch;
      if (settled <= progress.settledBatch) continue;
      progress.settledBatch = settled;
      this.#emit(host, fromPartition.settled, settled);
    }
  }

  #isHeldBack(): boolean {
    if (this.#retold !== undefined) return true;
    for (const { emitted, credited } of this.#flows.values()) {
      if (emitted - credited >= this.#limits.pushCharactersInFlightMax) return true;
    }
    return false;
  }

  #flowTo(host: number): PushFlow {
    let flow = this.#flows.get(host);
    if (flow === undefined) {
      flow = { emitted: 0, credited: 0 };
      this.#flows.set(host, flow);
    }
    return flow;
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
    this.#lists.delete(service);
    this.#traits.delete(service);
    const watched = this.#watched.get(service.key);
    if (watched !== undefined) {
      watched.noteChange(id, before, this.#current?.askedAtMs);
      this.#coalescer.noteChange(watched, this.#noteUnsettled());
    } else if (service.instances.size === 0) {
      this.#store.forget(service);
    }
  }

  #noteMutation(): void {
    if (this.#current !== undefined) this.#current.progress.changedBatch = this.#current.batch;
  }

  /** Returns the time of the change. */
  #noteUnsettled(): number {
    const { progress, batch, atMs } = this.#current ?? {};
    if (progress === undefined || batch === undefined || atMs === undefined)
      throw new Error('a change outside a batch');
    if (progress.unsettled.at(-1)?.batch !== batch) progress.unsettled.push({ batch, atMs });
    return atMs;
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
      this.#coalescer.noteChange(watched, this.#noteUnsettled());
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
    const watched = unpackWatch(parcel, () => this.#createWatched(service));
    if (watched !== undefined) this.#watched.set(service.key, watched);
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
      watched = this.#createWatched(service);
      this.#watched.set(key, watched);
    }
    return watched;
  }

  #createWatched(service: ServiceRecord): WatchedService {
    return new WatchedService(service, () => this.#traitsOf(service));
  }

  #unwatch(watched: WatchedService): void {
    this.#watched.delete(watched.service.key);
    this.#coalescer.forget(watched);
  }

  #subscribe(host: number, request: number, key: string, variant: string, since: number): void {
    const { filter } = readVariant(variant);
    const max = this.#limits.filtersPerServiceMax;
    const known = this.#watched.get(key);
    if (filter !== '' && known?.has(variant) !== true && (known?.filteredCount ?? 0) >= max) {
      const message = `${key} is subscribed with ${max} different filters`;
      this.#refuse(host, request, { code: 'limit_exceeded', message, limit: 'filtersPerServiceMax', max });
      return;
    }
    const watched = this.#obtainWatched(key);
    const interest = watched.addInterest(host, variant);
    watched.noteSnapshotTaken(interest);
    const { service } = watched;
    const changed = since > 0 ? service.changedSince(since) : undefined;
    if (changed === undefined) return this.#answerState(host, request, service, filter);
    const difference = encodeDifference(service, changed, interest.view);
    this.#emit(host, fromPartition.resumed, request, since, service.version, difference);
  }

  #answerState(host: number, request: number, service: ServiceRecord | undefined, filter: string): void {
    if (service === undefined) {
      this.#emit(host, fromPartition.state, request, this.#store.versionFloor, 0, '[]');
      return;
    }
    const { count, text } = this.#listOf(service, filter);
    this.#emit(host, fromPartition.state, request, service.version, count, text);
  }

  #listOf(service: ServiceRecord, filter: string): EncodedList {
    const lists = this.#lists.get(service) ?? new Map<string, EncodedList>();
    this.#lists.set(service, lists);
    let list = lists.get(filter);
    if (list === undefined) {
      const view =
        filter === ''
          ? undefined
          : (this.#watched.get(service.key)?.findView(filter) ?? new FilterView(filter, this.#traitsOf(service)));
      list = { count: view?.count ?? service.instanceCount, text: encodeInstances(service, view) };
      lists.set(filter, list);
    }
    return list;
  }

  #traitsOf(service: ServiceRecord): readonly Traits[] {
    let traits = this.#traits.get(service);
    if (traits === undefined) {
      traits = Array.from(service.fragments(), readTraits);
      this.#traits.set(service, traits);
    }
    return traits;
  }

  #loseInterest(host: number, key: string, variant: string): void {
    const watched = this.#watched.get(key);
    if (watched === undefined) return;
    watched.removeInterest(host, variant);
    if (!watched.isUnwanted) return;
    this.#unwatch(watched);
    if (watched.service.instances.size === 0) this.#store.forget(watched.service);
  }
}
