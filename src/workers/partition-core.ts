import type { Failure } from '../protocol/errors.ts';
import { Coalescer } from '../push/coalescer.ts';
import { ListCache } from '../push/list-cache.ts';
import { encodeDifference } from '../push/push-encoding.ts';
import { readVariant } from '../push/variant.ts';
import { WatchedService } from '../push/watched-service.ts';
import type { Histogram } from '../runtime/histogram.ts';
import { textCodec } from '../runtime/text-codec.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import type { StoredInstance } from '../store/service-instances.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import { ServiceStore } from '../store/service-store.ts';
import type { ClaimNotice, ListPage, StandingClaim, StoreOutcome } from '../store/service-store.ts';
import { ClaimRecalls } from './claim-recall.ts';
import { fromPartition, toFields, toPartition } from './messages.ts';
import type { Credit, FromPartition, PartitionLimits, ToPartition } from './messages.ts';
import { hostOfSession } from './session-numbers.ts';
import { SlotHandover } from './slot-handover.ts';
import type { HandoverOwner } from './slot-handover.ts';
import { SlotTakeover } from './slot-takeover.ts';
import type { TakeoverReceiver } from './slot-takeover.ts';
import { keyWork, lookWork, recordWork, TurnWork } from './turn-work.ts';

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
  /** The batch of which not all has been applied; 0: none. */
  openBatch: number;
  /** Batches that changed something watched which may not have been pushed, oldest first. */
  readonly unsettled: { readonly batch: number; readonly atMs: number }[];
}

/** Characters that went to a host, and that it has done with. */
interface Flow {
  emitted: number;
  credited: number;
}

/** What a host is owed an account of for the answers that it got. */
interface AnswerFlow extends Flow {
  /** Of `emitted`, what it has been told of. */
  told: number;
  /** It has no room, and something waits for that. */
  isFull: boolean;
  /** Texts of this turn: each crosses once. */
  readonly texts: Set<string>;
}

/** Work of a push beside its text. */
const pushWork = 1024;
/** A host is told of answers once they come to a part of what may be under way. */
const tellAnswersShare = 8;

type ListAnswer = Extract<FromPartition, [typeof fromPartition.state | typeof fromPartition.resumed, ...unknown[]]>;

interface SubscribeRequest {
  readonly request: number;
  readonly key: string;
  readonly variant: string;
  readonly since: number;
  readonly room: number;
}

/** In µs. */
const leapMicros = 1_000_000;

/**
 * A version above one that a client holds from another life of the registry, and by a distance that differs from life to life: others may hold those that
 * were told next after it, and must not find them known here.
 */
function leapOver(version: number, { wallMicros }: PartitionClock): number {
  return version + leapMicros + (wallMicros % leapMicros);
}

/** Where a partition's records go. */
export type Emit = (host: number, ...record: FromPartition) => void;

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
  readonly #flows: Map<number, Flow> = new Map();
  readonly #answers: Map<number, AnswerFlow> = new Map();
  readonly #isBehind = (watched: WatchedService): boolean => {
    for (const [host, mark] of watched.marks ?? []) if (this.#flowTo(host).credited < mark) return true;
    return false;
  };
  readonly #turn: TurnWork;
  readonly #recalls: ClaimRecalls;
  readonly #lists: ListCache;
  /** A look at all services for one record: its host's later ones wait behind it, and no other host sends any that needs one. */
  #sweep: { readonly request: number; readonly rest: Iterator<ServiceRecord, unknown> } | undefined;
  /** Instances in each slot and their bytes, as far as they have been counted. */
  readonly #loads: Map<number, { instances: number; bytes: number }> = new Map();
  #handover: SlotHandover | undefined;
  readonly #handoverOwner: HandoverOwner;
  #takeover: SlotTakeover | undefined;
  readonly #takeoverReceiver: TakeoverReceiver;
  /** Pages of services that hosts have asked for, as far as they have come: one for each, since what it asked for next waits behind it. */
  readonly #pages: Map<number, ListPage> = new Map();
  readonly #attached: Set<number> = new Set();
  /** Hosts whose interest is being forgotten: the services that are still to be looked at. */
  readonly #leaving: Map<number, IterableIterator<WatchedService>> = new Map();
  /** Services to be pushed, the next one first. */
  readonly #due: Set<WatchedService> = new Set();
  readonly #progress: Map<number, HostProgress> = new Map();
  /** Hosts are sending what they hold, and nothing may be pushed before all have: instances to be told again then, by service. */
  #retold: Map<string, Set<string>> | undefined;
  /** While hosts are sending what they hold: instances that several sessions claim, or did as far as a host knows, by service. */
  readonly #contested: Map<string, Set<string>> = new Map();
  readonly #pushChanges: Histogram | undefined;
  /** Above what clients have shown that they were told before the registry started, by a clock that was ahead; 0: nobody has. */
  #shownFloor = 0;
  #lastHost = 0;
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
    this.#turn = new TurnWork(limits.partitionTurnWorkMax);
    this.#recalls = new ClaimRecalls(this.#store, this.#turn);
    this.#lists = new ListCache(limits.serviceListBytesMax, this.#turn.spend);
    this.#handoverOwner = {
      nextService: () => this.#nextSwept(),
      isTurnOver: this.#turn.isOver,
      spend: this.#turn.spend,
      settle: (service) => {
        const watched = this.#watched.get(service.key);
        if (watched !== undefined && !this.#isPushed(watched)) return false;
        this.#keepAboveShown(service);
        return true;
      },
      watchOf: (service) => this.#watched.get(service.key),
    };
    this.#takeoverReceiver = {
      store: this.#store,
      changeLogEntriesMax: limits.changeLogEntriesMax,
      isTurnOver: this.#turn.isOver,
      spend: this.#turn.spend,
      isThere: this.#isThere,
      watch: (service) => {
        const watched = this.#createWatched(service);
        this.#watched.set(service.key, watched);
        return watched;
      },
      takeApart: (service, filter) => filter === '' || this.#lists.takeApart(service, this.#turn.isOver),
    };
    this.#coalescer = new Coalescer({ minMs: limits.coalesceWindowMinMs, maxMs: limits.coalesceWindowMaxMs });
  }

  get instanceCount(): number {
    return this.#store.instanceCount;
  }

  get serviceCount(): number {
    return this.#store.serviceCount;
  }

  /** Every claim held, for checkers: key, id, stamp, owner, and whether it shows. */
  describeInstances(): string[] {
    return [...this.#store.services()].flatMap(({ key, instances }) =>
      [...instances].flatMap(([id]) =>
        instances
          .claims(id)
          .map(({ stamp, owner, isShown }) => `${key} ${id} ${stamp} ${owner} ${isShown ? 'shown' : 'hidden'}`),
      ),
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

  /** A turn begins: records are applied until {@link isTurnOver}. */
  beginTurn(): void {
    this.#turn.begin();
  }

  /** Whether so much has been done that others are to have their turn. */
  get isTurnOver(): boolean {
    return this.#turn.isOver();
  }

  /** A host's next batch is about to be applied, or to be gone on with. `askedAtMs`: when its first change was asked for; 0: not known. */
  beginBatch(host: number, batch: number, clock: PartitionClock, askedAtMs = 0): void {
    let progress = this.#progress.get(host);
    if (progress === undefined) {
      progress = { changedBatch: 0, settledBatch: 0, openBatch: 0, unsettled: [] };
      this.#progress.set(host, progress);
    }
    progress.openBatch = batch;
    this.#current = { progress, batch, atMs: clock.monotonicMs, askedAtMs };
    this.#lastHost = host;
  }

  /** All of the present batch has been applied. */
  endBatch(): void {
    if (this.#current !== undefined) this.#current.progress.openBatch = 0;
  }

  /** A host is done with pushes and answers. */
  credit(host: number, { pushes, answers }: Credit): void {
    // What an earlier life of this partition sent is credited to this one.
    for (const [flow, characters] of [
      [this.#flowTo(host), pushes],
      [this.#answersTo(host), answers],
    ] as const) {
      flow.credited = Math.min(flow.emitted, flow.credited + characters);
    }
  }

  /** A host has its mailbox. */
  attach(host: number): void {
    this.#attached.add(host);
  }

  /** Nothing is pushed to a host that is not: it would never give credit. A move may bring interest that a host had when it was. */
  readonly #isThere = (host: number): boolean => this.#attached.has(host) && !this.#leaving.has(host);

  /**
   * A host's thread has died: what it asked, and what was under way to it, is dropped. What its sessions registered stays. Who it said subscribes there is forgotten over turns:
   * {@link hasLeft} must come before anything else of its host.
   */
  detach(host: number): void {
    this.#attached.delete(host);
    this.#pages.delete(host);
    this.#recalls.forget(host);
    this.#flows.delete(host);
    this.#answers.delete(host);
    this.#progress.delete(host);
    this.#leaving.set(host, this.#watched.values());
  }

  /** Goes on with forgetting who subscribes at a host that was detached; false: not all yet. */
  hasLeft(host: number): boolean {
    const rest = this.#leaving.get(host);
    if (rest === undefined) return true;
    while (!this.#turn.isOver()) {
      const next = rest.next();
      if (next.done === true) {
        this.#leaving.delete(host);
        return true;
      }
      this.#turn.spend(lookWork);
      this.#dropHost(next.value, host);
    }
    return false;
  }

  /**
   * Applies one record of a batch that was routed by the table of `epoch`. False: nothing has been done yet; it must come again in a later turn, and before
   * anything else of its host.
   */
  apply(host: number, epoch: number, record: ToPartition, clock: PartitionClock): boolean {
    if (!this.#isReadyFor(host, record)) return false;
    this.#turn.spend(recordWork);
    this.#carryOut(host, epoch, record, clock);
    return true;
  }

  /** Whether there is room for the answer, and what it needs has been prepared, which may take turns. */
  #isReadyFor(host: number, record: ToPartition): boolean {
    switch (record[0]) {
      case toPartition.query:
        return (
          this.#hasAnswerRoom(host) && this.#isTakenApart(record[toFields.query.key], record[toFields.query.filter])
        );
      case toPartition.subscribe:
        return (
          this.#hasAnswerRoom(host) &&
          this.#isTakenApart(record[toFields.subscribe.key], readVariant(record[toFields.subscribe.variant]).filter)
        );
      case toPartition.list:
        return this.#hasAnswerRoom(host) && this.#isPageWhole(host, record);
      case toPartition.rewatch:
        return this.#isTakenApart(record[toFields.rewatch.key], readVariant(record[toFields.rewatch.variant]).filter);
      case toPartition.handOver:
        return this.#isPartPacked(record[toFields.handOver.request], record[toFields.handOver.slots]);
      case toPartition.takeOver:
        this.#takeover ??= new SlotTakeover(record[toFields.takeOver.parcels], this.#takeoverReceiver);
        return this.#takeover.goOn();
      case toPartition.forget:
        return this.#isForgotten(record[toFields.forget.request], new Set(record[toFields.forget.slots]));
      case toPartition.measure:
        return this.#isMeasured(record[toFields.measure.request]);
      case toPartition.recall: {
        const { recall } = toFields;
        const { [recall.request]: request, [recall.host]: owner, [recall.after]: after } = record;
        return this.#recalls.fill(host, { request, owner, after });
      }
      default:
        return true;
    }
  }

  /** A page of services may take turns, too: with a prefix that few have, all groups are looked at. */
  #isPageWhole(host: number, record: Extract<ToPartition, [typeof toPartition.list, ...unknown[]]>): boolean {
    const [, , namespace, prefix, after, limit] = record;
    const query = { namespace, prefix, after, limit };
    const page = this.#pages.get(host) ?? this.#store.beginPage(query);
    this.#pages.set(host, page);
    this.#store.fillPage(page, query, () => {
      if (this.#turn.isOver()) return false;
      this.#turn.spend(keyWork);
      return true;
    });
    return page.next === undefined;
  }

  /** A service's instances have been taken apart for a filter that is neither kept up nor known from before. */
  #isTakenApart(key: string, filter: string): boolean {
    if (filter === '') return true;
    const service = this.#store.get(key);
    if (service === undefined || this.#watched.get(key)?.findView(filter) !== undefined) return true;
    return this.#lists.takeApart(service, this.#turn.isOver);
  }

  #hasAnswerRoom(host: number): boolean {
    const flow = this.#answers.get(host);
    if (flow === undefined) return true;
    const isFull = flow.emitted - flow.credited >= this.#limits.answerCharactersInFlightMax;
    if (isFull && !flow.isFull) this.#emit(host, fromPartition.bound, 'answerCharactersInFlightMax');
    flow.isFull = isFull;
    return !isFull;
  }

  #carryOut(host: number, epoch: number, record: ToPartition, clock: PartitionClock): void {
    switch (record[0]) {
      case toPartition.recall: {
        const { claims, next } = this.#recalls.take(host);
        this.#emit(host, fromPartition.recalled, record[toFields.recall.request], claims, next);
        return;
      }
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
        // Refused: it never got this far.
        const outcome = this.#store.deregister(key, id, session, Infinity, clock.wallMicros);
        if (outcome.kind !== 'refused') this.#keepAboveShown(outcome.service);
        this.#noteOutcome(key, id, outcome);
        return;
      }
      case toPartition.giveUp: {
        const [, request, session, key, id] = record;
        if (!this.#owns(host, epoch, request, key)) return;
        const isGivenUp = this.#store.giveUp(key, id, session, request);
        this.#emit(host, fromPartition.applied, request, isGivenUp ? 1 : 0);
        return;
      }
      case toPartition.subscribe: {
        const [, request, key, variant, since, room] = record;
        if (this.#owns(host, epoch, request, key)) this.#subscribe(host, { request, key, variant, since, room }, clock);
        return;
      }
      case toPartition.loseInterest:
        this.#loseInterest(host, record[toFields.loseInterest.key], record[toFields.loseInterest.variant]);
        return;
      case toPartition.query: {
        const [, request, key, filter, room] = record;
        if (!this.#owns(host, epoch, request, key)) return;
        this.#answer(host, this.#stateOf(request, this.#store.get(key), filter), room);
        return;
      }
      case toPartition.list: {
        const { services } = this.#pages.get(host)!;
        this.#pages.delete(host);
        this.#answersTo(host).emitted += services.length * keyWork;
        this.#emit(
          host,
          fromPartition.listed,
          record[toFields.list.request],
          services.flatMap(({ key, instances }) => [key, instances]),
        );
        return;
      }
      case toPartition.restore: {
        const [, owner, key, id, fragment, stamp, isHidden] = record;
        this.#restore(key, id, { fragment, owner, stamp }, isHidden === 1);
        return;
      }
      case toPartition.rewatch: {
        const [, key, variant, from] = record;
        this.#obtainWatched(key).resume(host, variant, from);
        return;
      }
      case toPartition.retell:
        this.#noteRetold(record[toFields.retell.key], record[toFields.retell.ids]);
        return;
      case toPartition.restored:
        this.#retold ??= new Map();
        this.#emit(host, fromPartition.applied, record[toFields.restored.request], 0);
        return;
      case toPartition.goOn:
        this.#tellContested();
        this.#retell();
        this.#emit(host, fromPartition.applied, record[toFields.goOn.request], 0);
        return;
      case toPartition.fence:
        this.#emit(host, fromPartition.applied, record[toFields.fence.request], 0);
        return;
      case toPartition.handOver: {
        const { parcels, isLast } = this.#handover!.take();
        this.#emit(
          host,
          fromPartition.handedOver,
          record[toFields.handOver.request],
          this.#store.versionFloor,
          parcels,
          isLast ? 1 : 0,
        );
        if (isLast) this.#handover = undefined;
        return;
      }
      case toPartition.takeOver:
        this.#takeover = undefined;
        this.#store.raiseVersionFloor(record[toFields.takeOver.versionFloor]);
        this.#emit(host, fromPartition.applied, record[toFields.takeOver.request], 0);
        return;
      case toPartition.forget:
        this.#emit(host, fromPartition.applied, record[toFields.forget.request], 0);
        return;
      case toPartition.raiseFloor:
        if (record[toFields.raiseFloor.version] < this.#shownFloor) return;
        this.#shownFloor = leapOver(record[toFields.raiseFloor.version], clock);
        this.#store.raiseVersionFloor(this.#shownFloor);
        return;
      case toPartition.measure:
        this.#emit(
          host,
          fromPartition.measured,
          record[toFields.measure.request],
          [...this.#loads].flatMap(([slot, { instances, bytes }]) => [slot, instances, bytes]),
        );
        this.#loads.clear();
        return;
      default:
        record satisfies never;
    }
  }

  /** The end of a turn: pushes what is due, unless a host is behind, in which case changes go on merging. */
  endTurn(clock: PartitionClock): void {
    this.#current = undefined;
    this.#tellAnswers();
    this.#noteTurn();
    if (this.#isHeldBack()) return;
    for (const watched of this.#coalescer.takeDue(clock.monotonicMs, this.#isBehind)) this.#due.add(watched);
    // Apart from what records cost, so that neither keeps the other waiting.
    this.#turn.begin();
    for (const watched of this.#due) {
      if (!this.#pushSome(watched)) break;
      this.#due.delete(watched);
      // What changed in the middle of its round waits for the next.
      if (!watched.isDirty) this.#coalescer.notePushed(watched);
    }
    this.#noteTurn();
    this.#settle(this.#coalescer.unpushedSince());
  }

  /** Which host's doing it was is known of records alone; it is told to the one that was heard last. */
  #noteTurn(): void {
    if (this.#turn.isOver()) this.#emit(this.#lastHost, fromPartition.bound, 'partitionTurnWorkMax');
  }

  /** Whether pushes are due that the last turn had no time for. */
  get hasDue(): boolean {
    return this.#due.size > 0 && !this.#isHeldBack();
  }

  /**
   * When {@link endTurn} must be called although nothing came in, in monotonic milliseconds. What is unsettled waits for a window to end,
   * and is told as settled then.
   */
  nextDueAt(): number | undefined {
    return this.#isHeldBack() ? undefined : this.#coalescer.nextDueAt();
  }

  /** Pushes what has changed of a service, variant by variant; false if the turn is over before the last, or hosts have enough. */
  #pushSome(watched: WatchedService): boolean {
    while (!this.#turn.isOver() && !this.#isHeldBack()) {
      if (!this.#pushNext(watched) || !watched.isInRound) return true;
    }
    return false;
  }

  /** False if there is nothing more to push. */
  #pushNext(watched: WatchedService): boolean {
    const { changeCount, isInRound } = watched;
    const push = watched.takePush();
    if (push === undefined) return false;
    if (!isInRound && changeCount > 0) this.#pushChanges?.observe(changeCount);
    const { key, variant, from, to, count, body, changedAtMs, hosts } = push;
    this.#turn.spend(pushWork + body.length * (hosts.length + 1));
    for (const host of hosts) {
      if (!this.#isThere(host)) continue;
      this.#emit(host, fromPartition.push, key, variant, from, to, count, changedAtMs, body);
      const flow = this.#flowTo(host);
      flow.emitted += body.length;
      watched.marks ??= new Map();
      watched.marks.set(host, flow.emitted);
    }
    return true;
  }

  /** Hosts give credit for answers, in sums worth a message. */
  #tellAnswers(): void {
    for (const [host, flow] of this.#answers) {
      flow.texts.clear();
      const untold = flow.emitted - flow.told;
      if (untold * tellAnswersShare < this.#limits.answerCharactersInFlightMax) continue;
      flow.told = flow.emitted;
      this.#emit(host, fromPartition.answered, untold);
    }
  }

  /** Tells hosts how far what they changed has been pushed: what is not is what a rebuild must tell again. */
  #settle(unpushedSinceMs: number): void {
    for (const [host, progress] of this.#progress) {
      const { unsettled } = progress;
      while (unsettled.length > 0 && unsettled[0]!.atMs < unpushedSinceMs) unsettled.shift();
      const pushed = unsettled.length > 0 ? unsettled[0]!.batch - 1 : progress.changedBatch;
      // The rest of a batch may hold changes, too.
      const settled = progress.openBatch === 0 ? pushed : Math.min(pushed, progress.openBatch - 1);
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

  #answersTo(host: number): AnswerFlow {
    let flow = this.#answers.get(host);
    if (flow === undefined) {
      flow = { emitted: 0, credited: 0, told: 0, isFull: false, texts: new Set() };
      this.#answers.set(host, flow);
    }
    return flow;
  }

  #flowTo(host: number): Flow {
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
    this.#answerChange(host, request, key, id, outcome);
  }

  #deregister(host: number, request: number, session: number, key: string, id: string, clock: PartitionClock): void {
    this.#noteMutation();
    this.#answerChange(host, request, key, id, this.#store.deregister(key, id, session, request, clock.wallMicros));
  }

  #answerChange(host: number, request: number, key: string, id: string, outcome: StoreOutcome): void {
    if (outcome.kind === 'refused') {
      this.#refuse(host, request, outcome.failure, outcome.stands);
      return;
    }
    this.#keepAboveShown(outcome.service);
    this.#emit(host, fromPartition.applied, request, outcome.service.version);
    this.#noteOutcome(key, id, outcome);
  }

  #noteOutcome(key: string, id: string, outcome: StoreOutcome): void {
    if (outcome.kind === 'refused') return;
    // Nearly always nobody; a registration is too short to begin a loop for nothing.
    if (outcome.told.length > 0) for (const notice of outcome.told) this.#tellClaim(key, id, notice);
    if (outcome.kind === 'changed') this.#noteChange(outcome.service, id, outcome.before);
  }

  #tellClaim(key: string, id: string, { owner, stamp, state, limit }: ClaimNotice): void {
    this.#emit(hostOfSession(owner), fromPartition.claim, owner, key, id, stamp, state, limit ?? '');
  }

  #restore(key: string, id: string, instance: StoredInstance, isHidden: boolean): void {
    const service = this.#store.obtain(key);
    for (const notice of this.#store.restore(service, id, instance)) this.#tellClaim(key, id, notice);
    this.#lists.noteChange(service, id);
    if (!isHidden && service.instances.hidden === undefined) return;
    const known = this.#contested.get(key) ?? new Set();
    this.#contested.set(key, known.add(id));
  }

  /** What hosts were told of claims in the life before, or were to be told, may not be true any more. */
  #tellContested(): void {
    for (const [key, ids] of this.#contested) {
      for (const id of ids) {
        for (const { owner, stamp, isShown } of this.#store.get(key)?.instances.claims(id) ?? []) {
          this.#tellClaim(key, id, { owner, stamp, state: isShown ? 'shown' : 'hidden', limit: undefined });
        }
      }
    }
    this.#contested.clear();
  }

  #refuse(host: number, request: number, { code, message, limit, max }: Failure, stands?: StandingClaim): void {
    const { fragment = '', stamp = 0 } = stands ?? {};
    this.#emit(host, fromPartition.refused, request, code, message, limit ?? '', max ?? 0, fragment, stamp);
  }

  #noteChange(service: ServiceRecord, id: string, before: string | undefined): void {
    this.#lists.noteChange(service, id);
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

  #isPartPacked(request: number, slots: readonly number[]): boolean {
    if (slots.length > 0 && this.#sweep?.request !== request) {
      this.#sweep = { request, rest: this.#store.services() };
      this.#handover = new SlotHandover(slots, this.#handoverOwner);
    }
    if (this.#handover === undefined) throw new Error('the next part of no slots');
    return this.#handover.fill();
  }

  /** The next service of a look at all of them, which may take turns; undefined: not in this turn. */
  #nextSwept(): IteratorResult<ServiceRecord, unknown> | undefined {
    if (this.#turn.isOver()) return undefined;
    this.#turn.spend(lookWork);
    return this.#sweep?.rest.next();
  }

  /** Goes on with a look at all services; whether it is through. */
  #hasSwept(request: number, visit: (service: ServiceRecord) => void): boolean {
    if (this.#sweep?.request !== request) this.#sweep = { request, rest: this.#store.services() };
    for (let next = this.#nextSwept(); next !== undefined; next = this.#nextSwept()) {
      if (next.done === true) return true;
      visit(next.value);
    }
    return false;
  }

  /** Pushes what has changed of a service; false if that is not all of it. A round that had begun leaves what came in the middle of it to a second. */
  #isPushed(watched: WatchedService): boolean {
    while (watched.isDirty || watched.isInRound) if (!this.#pushSome(watched)) return false;
    this.#due.delete(watched);
    this.#coalescer.notePushed(watched);
    return true;
  }

  #isForgotten(request: number, slots: ReadonlySet<number>): boolean {
    return this.#hasSwept(request, (service) => {
      if (!slots.has(service.slot)) return;
      this.#turn.spend(service.instances.size * lookWork);
      const watched = this.#watched.get(service.key);
      if (watched !== undefined) this.#unwatch(watched);
      this.#lists.forget(service);
      this.#store.detach(service);
    });
  }

  #isMeasured(request: number): boolean {
    return this.#hasSwept(request, ({ slot, instances }) => {
      const load = this.#loads.get(slot) ?? { instances: 0, bytes: 0 };
      load.instances += instances.size;
      load.bytes += instances.bytes;
      this.#loads.set(slot, load);
    });
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
    return new WatchedService(service, () => this.#lists.traitsOf(service));
  }

  #unwatch(watched: WatchedService): void {
    this.#watched.delete(watched.service.key);
    this.#due.delete(watched);
    this.#coalescer.forget(watched);
  }

  #subscribe(host: number, { request, key, variant, since, room }: SubscribeRequest, clock: PartitionClock): void {
    const { filter } = readVariant(variant);
    const max = this.#limits.filtersPerServiceMax;
    const known = this.#watched.get(key);
    if (filter !== '' && known?.has(variant) !== true && (known?.filteredCount ?? 0) >= max) {
      const message = `${key} is subscribed with ${max} different filters`;
      this.#refuse(host, request, { code: 'limit_exceeded', message, limit: 'filtersPerServiceMax', max });
      return;
    }
    const wasInterested = known?.isWantedBy(host, variant) === true;
    const watched = this.#obtainWatched(key);
    const interest = watched.addInterest(host, variant);
    const { service } = watched;
    const changed = since > 0 ? service.changedSince(since) : undefined;
    // It was told in another life, and what this one tells must be above it. Where the clock has not gone back it is.
    if (changed === undefined && since >= service.version) service.raise(leapOver(since, clock));
    const answer: ListAnswer =
      changed === undefined
        ? this.#stateOf(request, service, filter)
        : [fromPartition.resumed, request, since, service.version, encodeDifference(service, changed, interest.view)];
    if (this.#answer(host, answer, room)) watched.noteSnapshotTaken(interest);
    else if (!wasInterested) this.#loseInterest(host, key, variant);
  }

  /** Not at once for all services, of which there may be very many: each when it is next told of. */
  #keepAboveShown(service: ServiceRecord): void {
    if (service.version < this.#shownFloor) service.raise(this.#shownFloor);
  }

  #stateOf(request: number, service: ServiceRecord | undefined, filter: string): ListAnswer {
    if (service === undefined) return [fromPartition.state, request, this.#store.versionFloor, 0, '[]'];
    this.#keepAboveShown(service);
    const view = filter === '' ? undefined : this.#watched.get(service.key)?.findView(filter);
    const { count, text } = this.#lists.encode(service, filter, view);
    return [fromPartition.state, request, service.version, count, text];
  }

  /** Answers with a list, if there is room for it; else says how much it needs. */
  #answer(host: number, answer: ListAnswer, room: number): boolean {
    const [, request, , , text] = answer;
    const { length } = text;
    if (length > room) {
      this.#emit(host, fromPartition.oversize, request, length);
      return false;
    }
    const flow = this.#answersTo(host);
    if (!flow.texts.has(text)) {
      flow.texts.add(text);
      flow.emitted += length;
      this.#turn.spend(length);
    }
    this.#emit(host, ...answer);
    return true;
  }

  #loseInterest(host: number, key: string, variant: string): void {
    const watched = this.#watched.get(key);
    if (watched === undefined) return;
    watched.removeInterest(host, variant);
    this.#unwatchIfUnwanted(watched);
  }

  #dropHost(watched: WatchedService, host: number): void {
    watched.marks?.delete(host);
    for (const { variant, hosts } of watched.variants()) {
      if (hosts.includes(host)) watched.removeInterest(host, variant.text);
    }
    this.#unwatchIfUnwanted(watched);
  }

  #unwatchIfUnwanted(watched: WatchedService): void {
    if (!watched.isUnwanted) return;
    this.#unwatch(watched);
    if (watched.service.instances.size === 0) this.#store.forget(watched.service);
  }
}
