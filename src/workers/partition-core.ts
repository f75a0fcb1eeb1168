import type { StoreReply, StoreRequest } from '../durable/commits.ts';
import type { KeyLoad } from '../keys/key-domain.ts';
import { ListCache } from '../push/list-cache.ts';
import type { Histogram } from '../runtime/histogram.ts';
import { textCodec } from '../runtime/text-codec.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import type { NamespaceQuota, NamespaceQuotas } from '../store/namespace-quotas.ts';
import { ServiceStore } from '../store/service-store.ts';
import { BatchProgress } from './batch-progress.ts';
import { Checks } from './checks.ts';
import type { ClaimJournal } from './claim-journal.ts';
import { ClaimRecalls } from './claim-recall.ts';
import { Claims } from './claims.ts';
import { HostFlows } from './host-flows.ts';
import { Keys } from './keys.ts';
import { fromPartition, toFields, toPartition } from './messages.ts';
import type { Credit, Emit, PartitionLimits, ToPartition } from './messages.ts';
import { Overlays } from './overlays.ts';
import type { PartitionClock } from './partition-clock.ts';
import { Protections } from './protections.ts';
import { Pushes } from './pushes.ts';
import { Reads } from './reads.ts';
import { SessionOrigins } from './session-numbers.ts';
import { ShownVersions } from './shown-versions.ts';
import { SlotMoves } from './slot-moves.ts';
import { recordWork, TurnWork } from './turn-work.ts';
import { Watches } from './watches.ts';

const { register, reportHealth, deregister, giveUp, subscribe, query, inspect } = toFields;

/** What a partition needs besides its records. */
export interface PartitionOptions {
  readonly partition: number;
  readonly table: SlotTable;
  readonly limits: PartitionLimits;
  /** No service that these slots ever held had a version above it. */
  readonly versionFloor: number;
  readonly emit: Emit;
  /** Asks the store, from when it is connected. */
  readonly askStore: (request: StoreRequest) => void;
  /** Observes the number of changes per push. */
  readonly pushChanges?: Histogram | undefined;
  /** Undefined: no session began before the process did. */
  readonly origins?: SessionOrigins | undefined;
  /** Of namespaces, together with other partitions; undefined: there are none. */
  readonly quotas?: NamespaceQuotas | undefined;
  /** Makes the journal of what it holds; undefined: nothing outlives the process. */
  readonly createJournal?: ((store: ServiceStore) => ClaimJournal) | undefined;
}

/**
 * The data role: owns the slots that the table gives it, applies what session hosts send, in order, and says what is answered and
 * pushed. Synchronous and pure: (state, record, clock) → records. It touches no port, socket or timer. This hands each record to the domain that it is of.
 */
export class PartitionCore {
  readonly #partition: number;
  readonly #emit: Emit;
  readonly #turn: TurnWork;
  readonly #store: ServiceStore;
  readonly #flows: HostFlows;
  readonly #progress: BatchProgress;
  readonly #shown: ShownVersions;
  readonly #pushes: Pushes;
  readonly #watches: Watches;
  readonly #claims: Claims;
  readonly #reads: Reads;
  readonly #moves: SlotMoves;
  readonly #recalls: ClaimRecalls;
  readonly #overlays: Overlays;
  readonly #protections: Protections;
  readonly #checks: Checks;
  readonly #keys: Keys;
  readonly #journal: ClaimJournal | undefined;
  #table: SlotTable;

  constructor(options: PartitionOptions) {
    const {
      partition,
      table,
      limits,
      versionFloor,
      emit,
      askStore,
      pushChanges,
      createJournal,
      quotas,
      origins = new SessionOrigins(),
    } = options;
    this.#partition = partition;
    this.#table = table;
    this.#emit = emit;
    const turn = new TurnWork(limits.partitionTurnWorkMax);
    const store = new ServiceStore(limits, textCodec, versionFloor, quotas);
    const journal = createJournal?.(store);
    const lists = new ListCache(limits.serviceListBytesMax, turn.spend);
    const flows = new HostFlows(limits, emit);
    const progress = new BatchProgress(emit);
    const shown = new ShownVersions(store, journal);
    const pushes = new Pushes({ limits, emit, turn, flows, progress, pushChanges, journal });
    const watches = new Watches({ limits, turn, store, lists, flows, pushes });
    const keys = new Keys({ partition, table, limits, emit, turn, flows, askStore });
    const claimParts = { shown, pushes, watches, journal, origins };
    const parts = { limits, emit, turn, store, lists, flows, progress, keys, ...claimParts };
    this.#turn = turn;
    this.#store = store;
    this.#flows = flows;
    this.#progress = progress;
    this.#shown = shown;
    this.#pushes = pushes;
    this.#watches = watches;
    const protections = new Protections(parts);
    this.#protections = protections;
    const checks = new Checks({ ...parts, protections });
    this.#checks = checks;
    this.#claims = new Claims({ ...parts, checks, protections });
    this.#reads = new Reads(parts);
    this.#moves = new SlotMoves(parts);
    this.#recalls = new ClaimRecalls(parts);
    this.#overlays = new Overlays({ ...parts, protections });
    this.#keys = keys;
    this.#journal = journal;
  }

  get instanceCount(): number {
    return this.#store.instanceCount;
  }

  get serviceCount(): number {
    return this.#store.serviceCount;
  }

  get keyLoad(): KeyLoad {
    return this.#keys.load;
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
    return this.#watches.describe();
  }

  adoptTable(table: SlotTable): void {
    if (table.epoch <= this.#table.epoch) throw new Error(`epoch ${table.epoch} is not after ${this.#table.epoch}`);
    this.#keys.adoptTable(this.#table, table);
    this.#table = table;
    this.#journal?.noteTable((slot) => table.ownerOf(slot) === this.#partition, table.epoch);
  }

  /** There is a store, or another one. */
  connectStore(clock: PartitionClock): void {
    this.#keys.connectStore(clock);
  }

  /** The store has ended. */
  disconnectStore(clock: PartitionClock): void {
    this.#keys.disconnectStore(clock);
  }

  /** The store has replied. */
  handleStoreReply(reply: StoreReply, clock: PartitionClock): void {
    this.#keys.handleReply(reply, clock);
  }

  /** A host has its mailbox. */
  attach(host: number): void {
    this.#flows.attach(host);
  }

  /**
   * A host's thread has died: what it asked, and what was in flight to it, is dropped. What its sessions registered stays. Who it said subscribes there is forgotten over turns:
   * {@link hasLeft} must come before anything else of its host.
   */
  detach(host: number): void {
    this.#flows.detach(host);
    this.#progress.detach(host);
    this.#reads.detach(host);
    this.#recalls.detach(host);
    this.#watches.detach(host);
    this.#keys.detach(host);
  }

  /** Goes on with forgetting who subscribes at a host that was detached; false: not all yet. */
  hasLeft(host: number): boolean {
    return this.#watches.hasLeft(host);
  }

  /** A turn begins: records are applied until {@link isTurnOver}. */
  beginTurn(): void {
    this.#turn.begin();
  }

  /** Whether so much has been done that others are to have their turn. */
  get isTurnOver(): boolean {
    return this.#turn.isOver();
  }

  /** A host's next batch is about to be applied, or continued. `askedAtMs`: when its first change was asked for; 0: not known. */
  beginBatch(host: number, batch: number, clock: PartitionClock, askedAtMs = 0): void {
    this.#progress.beginBatch(host, batch, clock, askedAtMs);
  }

  /** All of the present batch has been applied. */
  endBatch(): void {
    this.#progress.endBatch();
  }

  /** A host is done with pushes and answers. */
  credit(host: number, credit: Credit): void {
    this.#flows.credit(host, credit);
  }

  /**
   * Applies one record of a batch that was routed by the table of `epoch`. False: nothing has been done yet; it must come again in a later turn, and before
   * anything else of its host.
   */
  apply(host: number, epoch: number, record: ToPartition, clock: PartitionClock): boolean {
    if (!this.#prepare(host, record)) return false;
    this.#turn.spend(recordWork);
    this.#carryOut(host, epoch, record, clock);
    return true;
  }

  /** Whether there is room for the answer, and what it needs has been prepared, which may take turns. */
  #prepare(host: number, record: ToPartition): boolean {
    switch (record[0]) {
      case toPartition.query:
        return this.#reads.prepareQuery(host, record);
      case toPartition.subscribe:
        return this.#reads.prepareSubscription(host, record);
      case toPartition.list:
        return this.#reads.preparePage(host, record);
      case toPartition.restoreInterest:
        return this.#reads.prepareInterest(record);
      case toPartition.handOver:
        return this.#moves.prepareHandover(record);
      case toPartition.takeOver:
        return this.#moves.prepareTakeover(record);
      case toPartition.forget:
        return this.#moves.prepareForgetting(record);
      case toPartition.measure:
        return this.#moves.prepareMeasurement(record);
      case toPartition.recall:
        return this.#recalls.prepare(host, record);
      case toPartition.keys:
        return this.#keys.prepare(host);
      case toPartition.tellChecks:
        return this.#checks.prepareTelling(record);
      default:
        return true;
    }
  }

  #carryOut(host: number, epoch: number, record: ToPartition, clock: PartitionClock): void {
    switch (record[0]) {
      case toPartition.register:
        if (this.#owns(host, epoch, record[register.request], record[register.key])) {
          this.#claims.register(host, record, clock);
        }
        return;
      case toPartition.reportHealth:
        if (this.#owns(host, epoch, record[reportHealth.request], record[reportHealth.key])) {
          this.#claims.reportHealth(host, record, clock);
        }
        return;
      case toPartition.deregister:
        if (this.#owns(host, epoch, record[deregister.request], record[deregister.key])) {
          this.#claims.deregister(host, record, clock);
        }
        return;
      case toPartition.withdraw:
        this.#claims.withdraw(record, clock);
        return;
      case toPartition.remark:
        this.#claims.remark(record, clock);
        return;
      case toPartition.giveUp:
        if (this.#owns(host, epoch, record[giveUp.request], record[giveUp.key])) this.#claims.giveUp(host, record);
        return;
      case toPartition.subscribe:
        if (this.#owns(host, epoch, record[subscribe.request], record[subscribe.key])) {
          this.#reads.subscribe(host, record, clock);
        }
        return;
      case toPartition.dropInterest: {
        const { key, variant } = toFields.dropInterest;
        this.#watches.dropInterest(host, record[key], record[variant]);
        return;
      }
      case toPartition.query:
        if (this.#owns(host, epoch, record[query.request], record[query.key])) this.#reads.query(host, record);
        return;
      case toPartition.inspect:
        if (this.#owns(host, epoch, record[inspect.request], record[inspect.key])) this.#reads.inspect(host, record);
        return;
      case toPartition.list:
        this.#reads.list(host, record);
        return;
      case toPartition.recall:
        this.#recalls.recall(host, record);
        return;
      case toPartition.restore:
        this.#claims.restore(record);
        return;
      case toPartition.restoreInterest:
        this.#watches.restoreInterest(host, record);
        return;
      case toPartition.resend:
        this.#pushes.noteResend(record[toFields.resend.key], record[toFields.resend.ids]);
        return;
      case toPartition.restored:
        this.#pushes.hold();
        this.#protections.judgeSilently();
        this.#confirm(host, record[toFields.restored.request]);
        return;
      case toPartition.resumePushes:
        this.#claims.tellContested();
        this.#protections.tellAgain();
        this.#pushes.resume(this.#watches.find);
        this.#journal?.noteWhole();
        this.#store.shareQuotas();
        this.#confirm(host, record[toFields.resumePushes.request]);
        return;
      case toPartition.fence:
        this.#confirm(host, record[toFields.fence.request]);
        return;
      case toPartition.handOver:
        this.#moves.handOver(host, record);
        return;
      case toPartition.takeOver:
        this.#moves.takeOver(record);
        this.#keys.unpack(record[toFields.takeOver.holders], clock);
        this.#confirm(host, record[toFields.takeOver.request]);
        return;
      case toPartition.forget:
        this.#confirm(host, record[toFields.forget.request]);
        return;
      case toPartition.measure:
        this.#moves.measure(host, record);
        return;
      case toPartition.raiseFloor:
        this.#shown.raise(record[toFields.raiseFloor.version], clock);
        this.#journal?.noteFloor(this.#store.versionFloor);
        return;
      case toPartition.layOver:
        this.#overlays.layOver(host, record, clock);
        return;
      case toPartition.restoreOverlay:
        this.#overlays.restore(record);
        return;
      case toPartition.protect:
        this.#protections.set(record);
        return;
      case toPartition.restoreProtection:
        this.#protections.restore(record);
        return;
      case toPartition.limitNamespaces:
        this.#store.limitNamespaces(JSON.parse(record[toFields.limitNamespaces.quotas]) as NamespaceQuota[]);
        return;
      case toPartition.judge:
        this.#checks.judge(record, clock);
        return;
      case toPartition.restoreFound:
        this.#checks.restore(record);
        return;
      case toPartition.tellChecks:
        this.#confirm(host, record[toFields.tellChecks.request]);
        return;
      case toPartition.evict:
        this.#claims.evict(record, clock);
        return;
      case toPartition.keys:
        this.#keys.handle(host, record, clock);
        return;
      case toPartition.vouch:
        this.#keys.vouch(host, record);
        return;
      case toPartition.endHolder:
        this.#keys.endHolder(record, clock);
        return;
      case toPartition.releaseOrphans:
        this.#keys.releaseOrphans(host, clock);
        return;
      default:
        record satisfies never;
    }
  }

  /** The end of a turn: pushes what is due, unless a host is behind, in which case changes keep merging. */
  endTurn(clock: PartitionClock): void {
    this.#progress.endTurn();
    this.#keys.tick(clock);
    this.#flows.tellAnswers();
    this.#noteTurn();
    this.#journal?.proceed(clock.monotonicMs);
    if (this.#pushes.isHeldBack) return;
    // Apart from what records cost, so that neither keeps the other waiting.
    this.#turn.begin();
    this.#pushes.pushDue(clock);
    this.#noteTurn();
    this.#progress.settle(this.#pushes.unpushedSince());
  }

  /** Whether something is due that the last turn had no time for. */
  get hasDue(): boolean {
    return this.#pushes.hasDue || this.#recalls.hasDue;
  }

  /**
   * When {@link endTurn} must be called although nothing came in, in monotonic milliseconds. What is unsettled waits for a window to end,
   * and is told as settled then.
   */
  nextDueAt(): number | undefined {
    const [pushes, keys] = [this.#pushes.nextDueAt(), this.#keys.nextDueAt()];
    if (pushes === undefined || keys === undefined) return pushes ?? keys;
    return Math.min(pushes, keys);
  }

  /** How its journal stands; undefined: it keeps none. Time passes for it between turns, too. */
  get journal(): ClaimJournal | undefined {
    return this.#journal;
  }

  /** Before anything else: fills it with what it held in the life before. `versionFloor`: below all versions from now on. */
  async load(fill: (store: ServiceStore) => Promise<number>): Promise<void> {
    this.#store.raiseVersionFloor(await fill(this.#store));
  }

  /** Which host's doing it was is known of records alone; it is told to the one that was heard last. */
  #noteTurn(): void {
    if (this.isTurnOver) this.#emit(this.#progress.lastHost, fromPartition.bound, 'partitionTurnWorkMax');
  }

  #confirm(host: number, request: number): void {
    this.#emit(host, fromPartition.applied, request, 0);
  }

  /** SL2: what was routed by an older table is carried out only if the slot is still owned here, else sent back. */
  #owns(host: number, epoch: number, request: number, key: string): boolean {
    if (epoch === this.#table.epoch || this.#table.ownerOf(slotOf(key)) === this.#partition) return true;
    this.#emit(host, fromPartition.moved, request, this.#table.epoch);
    return false;
  }
}
