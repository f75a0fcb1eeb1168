import type { ListCache } from '../push/list-cache.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { ClaimJournal } from './claim-journal.ts';
import type { HostFlows } from './host-flows.ts';
import type { Keys } from './keys.ts';
import { fromPartition, toFields } from './messages.ts';
import type { Emit, PartitionLimits, ToRecord } from './messages.ts';
import type { Pushes } from './pushes.ts';
import type { ShownVersions } from './shown-versions.ts';
import { SlotHandover } from './slot-handover.ts';
import type { HandoverOwner } from './slot-handover.ts';
import { SlotTakeover } from './slot-takeover.ts';
import type { TakeoverReceiver } from './slot-takeover.ts';
import { lookWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';
import type { Watches } from './watches.ts';

export interface SlotMovesParts {
  readonly limits: PartitionLimits;
  readonly emit: Emit;
  readonly turn: TurnWork;
  readonly store: ServiceStore;
  readonly lists: ListCache;
  readonly shown: ShownVersions;
  readonly flows: HostFlows;
  readonly watches: Watches;
  readonly pushes: Pushes;
  readonly keys: Keys;
  readonly journal: ClaimJournal | undefined;
}

/**
 * Gives slots away, takes them in, forgets those that are another's, and says how much each holds. All of it may take turns: each `prepare…` continues with it, and
 * says whether the record can be answered.
 */
export class SlotMoves {
  readonly #parts: SlotMovesParts;
  readonly #owner: HandoverOwner;
  readonly #receiver: TakeoverReceiver;
  /** A look at all services for one record: its host's later ones wait behind it, and no other host sends any that needs one. */
  #sweep: { readonly request: number; readonly rest: Iterator<ServiceRecord, unknown> } | undefined;
  /** Instances in each slot and their bytes, as far as they have been counted. */
  readonly #loads: Map<number, { instances: number; bytes: number }> = new Map();
  #handover: SlotHandover | undefined;
  /** The slots that are being given away. */
  #leaving: ReadonlySet<number> = new Set();
  #takeover: SlotTakeover | undefined;

  constructor(parts: SlotMovesParts) {
    const { limits, turn, store, lists, shown, flows, watches, pushes, journal } = parts;
    this.#parts = parts;
    this.#owner = {
      nextService: () => this.#nextService(),
      isTurnOver: turn.isOver,
      spend: turn.spend,
      settle: (service) => {
        const watched = watches.find(service.key);
        if (watched !== undefined && !pushes.pushAll(watched)) return false;
        shown.keepAbove(service);
        return true;
      },
      watchOf: (service) => watches.find(service.key),
    };
    this.#receiver = {
      store,
      changeLogEntriesMax: limits.changeLogEntriesMax,
      isTurnOver: turn.isOver,
      spend: turn.spend,
      isThere: flows.isThere,
      watch: watches.watch,
      journal,
      takeApart: (service, filter) => filter === '' || lists.takeApart(service, turn.isOver),
    };
  }

  /** No slots: the next part of those that were named before. */
  prepareHandover(record: ToRecord<'handOver'>): boolean {
    const request = record[toFields.handOver.request];
    const slots = record[toFields.handOver.slots];
    if (slots.length > 0 && this.#sweep?.request !== request) {
      this.#sweep = { request, rest: this.#parts.store.services() };
      this.#handover = new SlotHandover(slots, this.#owner);
      this.#leaving = new Set(slots);
    }
    // Nothing of these keys may be on its way to the store when their next owner loads them.
    return this.#parts.keys.isDrained(this.#leaving) && this.#requireHandover().fill();
  }

  handOver(host: number, record: ToRecord<'handOver'>): void {
    const { parcels, isLast } = this.#requireHandover().take();
    const { emit, store, keys } = this.#parts;
    const request = record[toFields.handOver.request];
    const holders = keys.pack(this.#leaving);
    emit(host, fromPartition.handedOver, request, store.versionFloor, parcels, isLast ? 1 : 0, holders);
    if (isLast) this.#handover = undefined;
  }

  prepareTakeover(record: ToRecord<'takeOver'>): boolean {
    this.#takeover ??= new SlotTakeover(record[toFields.takeOver.parcels], this.#receiver);
    return this.#takeover.proceed();
  }

  takeOver(record: ToRecord<'takeOver'>): void {
    this.#takeover = undefined;
    this.#parts.store.raiseVersionFloor(record[toFields.takeOver.versionFloor]);
  }

  /** Forgets, in fact: nobody reads these slots here any more. */
  prepareForgetting(record: ToRecord<'forget'>): boolean {
    const slots = new Set(record[toFields.forget.slots]);
    const { turn, store, lists, watches, journal } = this.#parts;
    const request = record[toFields.forget.request];
    if (this.#sweep?.request !== request) journal?.noteGiven([...slots]);
    return this.#sweepServices(request, (service) => {
      if (!slots.has(service.slot)) return;
      turn.spend(service.instances.size * lookWork);
      const watched = watches.find(service.key);
      if (watched !== undefined) watches.unwatch(watched);
      lists.forget(service);
      store.detach(service);
    });
  }

  prepareMeasurement(record: ToRecord<'measure'>): boolean {
    return this.#sweepServices(record[toFields.measure.request], ({ slot, instances }) => {
      const load = this.#loads.get(slot) ?? { instances: 0, bytes: 0 };
      load.instances += instances.size;
      load.bytes += instances.bytes;
      this.#loads.set(slot, load);
    });
  }

  measure(host: number, record: ToRecord<'measure'>): void {
    const loads = [...this.#loads].flatMap(([slot, { instances, bytes }]) => [slot, instances, bytes]);
    this.#loads.clear();
    this.#parts.emit(host, fromPartition.measured, record[toFields.measure.request], loads);
  }

  #requireHandover(): SlotHandover {
    if (this.#handover === undefined) throw new Error('the next part of no slots');
    return this.#handover;
  }

  /** The next service of a look at all of them, which may take turns; undefined: not in this turn. */
  #nextService(): IteratorResult<ServiceRecord, unknown> | undefined {
    const { turn } = this.#parts;
    if (turn.isOver()) return undefined;
    turn.spend(lookWork);
    return this.#sweep?.rest.next();
  }

  /** Goes on with a look at all services; whether it is through. */
  #sweepServices(request: number, visit: (service: ServiceRecord) => void): boolean {
    if (this.#sweep?.request !== request) this.#sweep = { request, rest: this.#parts.store.services() };
    for (let next = this.#nextService(); next !== undefined; next = this.#nextService()) {
      if (next.done === true) return true;
      visit(next.value);
    }
    return false;
  }
}
