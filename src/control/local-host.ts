import type { AccessTables } from '../access/access-check.ts';
import type { StorePort } from '../durable/commits.ts';
import type { RemovedClaim, SessionInspection } from '../protocol/http-results.ts';
import { PartitionLink } from '../routing/partition-link.ts';
import type { PendingRequest } from '../routing/partition-link.ts';
import { askApplied, Router } from '../routing/router.ts';
import { SlotGate } from '../routing/slot-gate.ts';
import { readHostFigures } from '../sessions/host-figures.ts';
import { readSharedMs } from '../sessions/host-meter.ts';
import type { LeaseRecord } from '../sessions/lease-record.ts';
import { Leases } from '../sessions/leases.ts';
import type { LeaseAnswer, LeaseCall } from '../sessions/leases.ts';
import type { GuardOrders } from '../sessions/loss-messages.ts';
import { SessionCore } from '../sessions/session-core.ts';
import type { HostOptions } from '../sessions/session-parts.ts';
import type { DetachOutcome, SessionRecord, SessionSlice, TakeoverOutcome } from '../sessions/session-transfer.ts';
import type { Orders } from '../sessions/standing-orders.ts';
import { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { MailboxPort } from '../workers/runner.ts';
import { recoverLeases } from './lease-recovery.ts';
import { restoreRegistrations, resumeChanges, resumeReads } from './rebuild.ts';
import type { RebuildOptions, RecoveryState } from './rebuild.ts';
import { describeCaller, listSessions } from './session-directory.ts';
import type {
  DeclaredWeight,
  DescribedOwner,
  SessionHost,
  ListedSession,
  LoggedInstance,
  HostState,
} from './session-host.ts';
import { describeOwners, inspectSession } from './session-inspection.ts';

export interface LocalHostOptions extends HostOptions {
  readonly table: SlotTable;
  /** Numbers requests, in one sequence for all hosts of the process. */
  readonly nextRequest: () => number;
  readonly delay: (ms: number) => Promise<void>;
}

/** How long a partition that has died may take to be gone, in milliseconds, and one that is leaving to say its last. */
const endTimeoutMs = 5000;
const leaveTimeoutMs = 1000;
/** How long one look at that takes. */
const waitStepMs = 100;

/** One session host of the process: the host itself, and its way to the partitions. */
export class LocalHost implements SessionHost {
  readonly number: number;
  readonly core: SessionCore;
  readonly router: Router;
  readonly #options: LocalHostOptions;
  readonly #leases: Leases;
  readonly #recoveryStates: Map<number, RecoveryState> = new Map();

  constructor(options: LocalHostOptions) {
    const { number, config, table, nowMs, nextRequest } = options;
    this.number = number;
    this.#options = options;
    const gate = new SlotGate({
      waitingMax: config.waitingRequestsMax,
      waitTimeoutMs: config.slotWaitTimeoutMs,
      nowMs,
    });
    this.router = new Router({ table, gate, nextRequest, isBearer: number === 0 });
    this.core = new SessionCore({ ...options, router: this.router });
    this.#leases = new Leases({ core: this.core, config });
  }

  tick(nowMs: number): void {
    this.router.gate.tick(nowMs);
    this.core.tick(nowMs);
  }

  connect(partition: number, port: MailboxPort): void {
    const link = this.#createLink(partition, port);
    this.router.setLink(partition, link);
    this.core.greet(link);
  }

  async disconnect(partition: number): Promise<void> {
    const { router } = this;
    const link = router.link(partition);
    if (link === undefined) return;
    router.setLink(partition, undefined);
    const isThrough = askApplied({ router, link }, (request) => [toPartition.fence, request]);
    await this.#waitFor(Promise.race([isThrough, link.ended]), leaveTimeoutMs);
    for (const [request, pending] of link.close()) this.#settleLeft(request, pending);
  }

  connectStore(port: StorePort): void {
    this.core.connectStore(port);
  }

  freeze(slots: readonly number[]): void {
    this.router.gate.freeze(slots);
  }

  thaw(slots: readonly number[]): void {
    this.router.gate.thaw(slots);
  }

  adoptTable(memory: SharedArrayBuffer): void {
    const table = SlotTable.attach(memory);
    // A thread may have been started with it.
    if (table.epoch !== this.router.table.epoch) this.router.setTable(table);
  }

  /**
   * What the partition said before it died is taken first: hosts must not know of different histories. If one forgot a change, and the push of
   * it never reached the subscribers of another, nobody would tell them any more.
   */
  async lose(partition: number): Promise<number> {
    const recoveryState = this.#recoveryStateOf(partition);
    const link = this.router.link(partition);
    if (link !== undefined) {
      await this.#waitFor(link.ended, endTimeoutMs);
      this.#collectRecoveryState(link, recoveryState);
    }
    return recoveryState.versionSeen;
  }

  restore(partition: number): Promise<boolean> {
    return this.#rebuild(partition, restoreRegistrations);
  }

  resume(partition: number): Promise<boolean> {
    return this.#rebuild(partition, resumeChanges);
  }

  resumeReads(partition: number): Promise<boolean> {
    return this.#rebuild(partition, resumeReads);
  }

  recover(leases: readonly LeaseRecord[]): Promise<boolean> {
    const { core, router, number } = this;
    return recoverLeases({ core, router, number, leases });
  }

  setDefaultWeights(weights: readonly DeclaredWeight[]): Promise<void> {
    for (const [key, weight] of weights) this.core.setDefaultWeight(key, weight);
    return Promise.resolve();
  }

  setAccess(tables: AccessTables): Promise<void> {
    return this.core.setAccess(tables);
  }

  setOrders(orders: Orders): Promise<void> {
    return this.core.setOrders(orders);
  }

  fence(partition: number): Promise<boolean> {
    const { router } = this;
    const link = router.link(partition);
    if (link === undefined) return Promise.resolve(false);
    return askApplied({ router, link }, (request) => [toPartition.fence, request]);
  }

  refresh(partition: number): void {
    const { core, router } = this;
    core.refresh((key) => router.table.ownerOf(slotOf(key)) === partition);
  }

  drain(reason: string): void {
    this.core.drain(reason);
  }

  closeAll(): Promise<void> {
    return this.core.closeAll();
  }

  requestReconnect(reason: string, share: number, spreadMs: number): Promise<number> {
    return this.core.requestReconnect(reason, share, spreadMs);
  }

  obeyGuard(orders: GuardOrders): void {
    this.core.obeyGuard(orders);
  }

  readState(): Promise<HostState> {
    const { core, router } = this;
    const { connectedCount, leaseCount, registrationCount } = core.sessions;
    const requestsInFlight = Array.from(
      { length: router.table.partitions },
      (_, partition) => router.link(partition)?.requestsInFlight ?? 0,
    );
    return Promise.resolve({
      sessions: connectedCount,
      leases: leaseCount,
      registrations: registrationCount,
      counters: this.#options.counters.snapshot(),
      requestsWaiting: router.gate.waitingCount,
      slotShutMaxMs: router.gate.longestFreezeMs,
      requestsInFlight,
      figures: readHostFigures(core),
    });
  }

  readLog(): Promise<LoggedInstance[]> {
    return Promise.resolve(
      [...this.core.sessions.all()].flatMap(({ name, registrations }) =>
        [...registrations.values()].map(({ key, id, fragment, isHidden }) => ({
          key,
          id,
          fragment,
          isHidden,
          session: name,
        })),
      ),
    );
  }

  async removeInstance(key: string, id: string): Promise<RemovedClaim[]> {
    const { core, router } = this;
    const claims: RemovedClaim[] = [];
    core.removeInstance(key, id, (owner) => claims.push(describeCaller(owner)));
    await new Promise<void>((resolve) => {
      router.whenThawed([key], resolve);
    });
    await router.whenApplied([key]);
    return claims;
  }

  countSubscribers(key: string): Promise<number> {
    return Promise.resolve(this.core.countSubscribers(key));
  }

  describeOwners(owners: readonly number[]): Promise<DescribedOwner[]> {
    return Promise.resolve(describeOwners(this.core.sessions, this.number, owners));
  }

  inspectSession(session: string, limit: number): Promise<SessionInspection | undefined> {
    return inspectSession(this.core.sessions, { thread: this.number, session, limit });
  }

  readSessions(after: number, limit: number): Promise<ListedSession[]> {
    return listSessions(this.core.sessions, this.number, after, limit, () => this.#nextTurn());
  }

  #nextTurn(): Promise<void> {
    return new Promise((resolve) => {
      this.#options.schedule(resolve);
    });
  }

  carryOutLease(call: LeaseCall): Promise<LeaseAnswer> {
    if (this.core.resumption.isRecalling) {
      const message = 'it is not known yet what leases of before the start hold';
      return Promise.resolve({ code: 'busy', message, retryAfterMs: 500 });
    }
    return this.#leases.carryOut(call);
  }

  detach(secret: string, done: (outcome: DetachOutcome) => void): void {
    this.core.resumption.detach(secret, done);
    this.core.flush();
  }

  takeSlice(session: number, done: (slice: SessionSlice | undefined) => void): void {
    done(this.core.resumption.takeSlice(session));
  }

  bring(slice: SessionSlice): void {
    this.core.resumption.bring(slice);
  }

  answerTakeover(call: number, outcome: TakeoverOutcome): void {
    this.core.resumption.handleOutcome(call, outcome);
    this.core.flush();
  }

  handleMisrouted(record: SessionRecord): void {
    this.core.handleMisrouted(record);
  }

  #rebuild(
    partition: number,
    part: (options: RebuildOptions, recoveryState: RecoveryState) => Promise<boolean>,
  ): Promise<boolean> {
    const { core, router } = this;
    const link = router.link(partition);
    if (link === undefined) return Promise.resolve(false);
    const sliceRegistrations = this.#options.config.restoreSliceRegistrations;
    const nextTurn = (): Promise<void> => this.#nextTurn();
    return part({ core, router, link, sliceRegistrations, nextTurn }, this.#recoveryStateOf(partition));
  }

  #recoveryStateOf(partition: number): RecoveryState {
    let recoveryState = this.#recoveryStates.get(partition);
    if (recoveryState === undefined) {
      recoveryState = { pending: [], possiblyUnpushed: [], versionSeen: 0 };
      this.#recoveryStates.set(partition, recoveryState);
    }
    return recoveryState;
  }

  #collectRecoveryState(link: PartitionLink, recoveryState: RecoveryState): void {
    if (link.isClosed) return;
    if (this.router.link(link.partition) === link) this.router.setLink(link.partition, undefined);
    const possiblyUnpushed = link.possiblyUnpushed();
    for (const [request, pending] of link.close()) {
      // What only made sense in that life ends with it; everything else continues in the next.
      if (pending.session === undefined && pending.abandon !== undefined) pending.abandon();
      else recoveryState.pending.push([request, pending]);
    }
    // Not as arguments: there may be any number of them.
    for (const one of possiblyUnpushed) recoveryState.possiblyUnpushed.push(one);
    recoveryState.versionSeen = Math.max(recoveryState.versionSeen, link.versionSeen);
  }

  /** Asked of a partition that has left before it answered, which it does only if it dies. */
  #settleLeft(request: number, pending: PendingRequest): void {
    if (pending.session === undefined && pending.abandon !== undefined) pending.abandon();
    else if (pending.key !== '') this.router.reroute(request, pending);
    // It owned nothing any more: its part of every list is empty.
    else pending.settle([fromPartition.listed, request, []]);
  }

  /** Resolves when it does, or after a time; time in which the process was suspended hardly counts. */
  async #waitFor(event: Promise<unknown>, timeoutMs: number): Promise<void> {
    const over = event.then(() => true);
    for (let waitedMs = 0; waitedMs < timeoutMs; waitedMs += waitStepMs) {
      if (await Promise.race([over, this.#options.delay(waitStepMs).then(() => false)])) return;
    }
  }

  #createLink(partition: number, port: MailboxPort): PartitionLink {
    const { config, schedule } = this.#options;
    return new PartitionLink({
      partition,
      port,
      requestsMax: config.mailboxRequestsMax,
      creditSoonCharacters: Math.min(config.pushCharactersInFlightMax, config.answerCharactersInFlightMax) / 4,
      readTable: () => this.router.table,
      readMs: readSharedMs,
      schedule,
      onUnasked: (record, link) => {
        this.core.handleUnasked(record, link);
      },
      onMoved: (request, pending) => {
        this.router.reroute(request, pending);
      },
      onTurnEnd: () => {
        this.core.flush();
      },
    });
  }
}
