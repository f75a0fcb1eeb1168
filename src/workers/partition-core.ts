import type { Failure } from '../protocol/errors.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import { Coalescer } from '../push/coalescer.ts';
import { encodeDifference, encodeInstances } from '../push/push-encoding.ts';
import { WatchedService } from '../push/watched-service.ts';
import type { ServiceRecord } from '../slots/service-record.ts';
import { ServiceStore } from '../slots/service-store.ts';
import type { Takeover } from '../slots/service-store.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import { fromPartition, toPartition } from './messages.ts';
import type { FromPartition, PartitionLimits, ToPartition } from './messages.ts';

/** Both clocks, read once a turn: wall clock in µs for versions, monotonic milliseconds for windows. */
export interface PartitionClock {
  readonly wallMicros: number;
  readonly monotonicMs: number;
}

/** Where a partition's records go. */
export type Emit = (host: number, ...record: FromPartition) => void;

/** Numbers of a session: the host that holds it, and which it is there. */
export const sessionsPerHostMax: number = 2 ** 40;
export function hostOf(session: number): number {
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
  #table: SlotTable;

  constructor(partition: number, table: SlotTable, limits: PartitionLimits, clock: PartitionClock, emit: Emit) {
    this.#partition = partition;
    this.#table = table;
    this.#limits = limits;
    this.#emit = emit;
    this.#store = new ServiceStore(limits, clock.wallMicros);
    this.#coalescer = new Coalescer(limits.coalesceWindowMs);
  }

  get instanceCount(): number {
    return this.#store.instanceCount;
  }

  get serviceCount(): number {
    return this.#store.serviceCount;
  }

  adoptTable(table: SlotTable): void {
    if (table.epoch <= this.#table.epoch) throw new Error(`epoch ${table.epoch} is not after ${this.#table.epoch}`);
    this.#table = table;
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
      default:
        record satisfies never;
    }
  }

  /** The end of a turn: pushes what is due, unless a host is behind, in which case changes go on merging. */
  endTurn(clock: PartitionClock): void {
    this.#snapshots.clear();
    if (this.#isHeldBack()) return;
    for (const watched of this.#coalescer.takeDue(clock.monotonicMs)) {
      for (const { key, variant, from, to, count, body, hosts } of watched.takePushes()) {
        for (const host of hosts) {
          this.#emit(host, fromPartition.push, key, variant, from, to, count, body);
          this.#charactersInFlight.set(host, (this.#charactersInFlight.get(host) ?? 0) + body.length);
        }
      }
    }
  }

  /** When {@link endTurn} must be called although nothing came in, in monotonic milliseconds. */
  nextDueAt(): number | undefined {
    return this.#isHeldBack() ? undefined : this.#coalescer.nextDueAt();
  }

  #isHeldBack(): boolean {
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
    const outcome = this.#store.register(key, id, { fragment, owner: session, stamp: request }, clock.wallMicros);
    if (outcome.kind === 'refused') return this.#refuse(host, request, outcome.failure);
    if (outcome.takeover !== undefined) this.#release(key, id, outcome.takeover);
    if (outcome.kind === 'changed') this.#noteChange(outcome.service, id, outcome.before);
    this.#emit(host, fromPartition.applied, request, outcome.service.version);
  }

  #deregister(host: number, request: number, session: number, key: string, id: string, clock: PartitionClock): void {
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
      watched.noteChange(id, before);
      this.#coalescer.noteChange(watched);
    } else if (service.instances.size === 0) {
      this.#store.forget(service);
    }
  }

  #subscribe(host: number, request: number, key: string, variant: SubscribeMode, since: number): void {
    let watched = this.#watched.get(key);
    if (watched === undefined) {
      const service = this.#store.obtain(key);
      service.keepLog(this.#limits.changeLogEntriesMax);
      watched = new WatchedService(service);
      this.#watched.set(key, watched);
    }
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
    this.#watched.delete(key);
    this.#coalescer.forget(watched);
    if (watched.service.instances.size === 0) this.#store.forget(watched.service);
  }
}
