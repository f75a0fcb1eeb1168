import type { MessagePort } from 'node:worker_threads';

import type { StoreRequest } from '../durable/commits.ts';
import { SegmentFiles } from '../journal/segment-writer.ts';
import { ThreadGauges, ThreadSampler } from '../runtime/thread-gauges.ts';
import { nextTurn } from '../runtime/timing.ts';
import { SlotTable } from '../slots/slot-table.ts';
import { NamespaceQuotas } from '../store/namespace-quotas.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { ClaimJournal } from './claim-journal.ts';
import { inflictFault } from './fault.ts';
import { PartitionInbox } from './inbox.ts';
import type { JournalReport } from './journal-start.ts';
import type {
  Control,
  ControlReport,
  Emit,
  HostBatch,
  PartitionEnd,
  PartitionStart,
  StoreBatch,
  StoreReplies,
} from './messages.ts';
import { PartitionOutboxes } from './outbox.ts';
import type { PartitionClock } from './partition-clock.ts';
import { PartitionCore } from './partition-core.ts';
import { beginJournalledLife, createClaimJournal } from './partition-journal.ts';
import { SessionOrigins } from './session-numbers.ts';

/** How often a partition shows that it lives, in milliseconds. */
export const pulseMs = 100;

/** A partition's thread: one long-running piscina task that feeds the pure core from its mailboxes until it is told to stop. */
export default function runPartition(start: PartitionStart): Promise<PartitionEnd> {
  return new Promise((resolve, reject) => {
    const thread = new PartitionThread(start);
    start.control.on('message', (control: Control) => {
      switch (control.kind) {
        case 'attach':
          thread.attach(control.host, control.port);
          return;
        case 'detach':
          thread.detach(control.host);
          return;
        case 'store':
          thread.connectStore(control.port);
          return;
        case 'stop':
          void thread.stop().then((end) => {
            start.control.close();
            resolve(end);
          });
          return;
        case 'fault':
          inflictFault(control.fault);
          return;
        default:
          control satisfies never;
      }
    });
    thread.load().then(() => {
      start.control.postMessage({ kind: 'ready' } satisfies ControlReport);
    }, reject);
  });
}

class PartitionThread {
  readonly #core: PartitionCore;
  readonly #ports: Map<number, MessagePort> = new Map();
  readonly #inbox: PartitionInbox = new PartitionInbox();
  readonly #outboxes: PartitionOutboxes = new PartitionOutboxes();
  #store: MessagePort | undefined;
  /** What the store is to be asked at the end of the turn. */
  #storeRequests: StoreRequest[] = [];
  #isTurnScheduled = false;
  readonly #pulse: NodeJS.Timeout;
  readonly #sampler: ThreadSampler;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  readonly #start: PartitionStart;
  readonly #table: SlotTable;
  readonly #origins: SessionOrigins;
  /** The wall clock may have been set back since the life before: versions continue from here, in µs. */
  #wallFloorMicros = 0;
  readonly #report = (report: JournalReport): void => {
    this.#start.control.postMessage(report satisfies ControlReport);
  };

  constructor(start: PartitionStart) {
    this.#start = start;
    const table = SlotTable.attach(start.table);
    this.#table = table;
    this.#origins = new SessionOrigins(start.origins);
    const versionFloor = Math.max(start.versionFloor, this.#readClock().wallMicros);
    const gauges = new ThreadGauges(start.gauges);
    const emit: Emit = (host, ...record) => {
      this.#outboxes.add(host, record);
    };
    this.#core = new PartitionCore({
      partition: start.partition,
      table,
      limits: start.limits,
      versionFloor,
      emit,
      askStore: (request) => {
        this.#storeRequests.push(request);
      },
      pushChanges: gauges.pushChanges,
      origins: this.#origins,
      quotas: new NamespaceQuotas(start.quotas, start.partition, !start.isRebuilt),
      createJournal: this.#createJournal(),
    });
    this.#sampler = new ThreadSampler(gauges, pulseMs);
    const pulse = new Int32Array(start.pulse);
    this.#pulse = setInterval(() => {
      Atomics.add(pulse, 0, 1);
      this.#sampler.sample();
      gauges.setLoad(this.#core.instanceCount, this.#core.serviceCount);
      gauges.setKeys(this.#core.keyLoad);
      this.#proceedJournal(gauges);
    }, pulseMs);
  }

  attach(host: number, port: MessagePort): void {
    this.#ports.set(host, port);
    this.#outboxes.attach(host);
    this.#core.attach(host);
    port.on('message', (batch: HostBatch) => {
      this.#inbox.add(host, batch, this.#core);
      // A turn is to come in which this has its place.
      if (!this.#isTurnScheduled) this.#runTurn();
    });
  }

  detach(host: number): void {
    this.#ports.get(host)?.close();
    this.#ports.delete(host);
    this.#outboxes.detach(host);
    this.#inbox.detach(host, this.#core);
    if (!this.#isTurnScheduled) this.#runTurn();
  }

  connectStore(port: MessagePort): void {
    const before = this.#store;
    this.#store = port;
    before?.close();
    // What the one before was asked for is asked again, or has been answered.
    this.#storeRequests = [];
    this.#core.connectStore(this.#readClock());
    port.on('message', (replies: StoreReplies) => {
      const clock = this.#readClock();
      for (const reply of replies) this.#core.handleStoreReply(reply, clock);
      if (!this.#isTurnScheduled) this.#runTurn();
    });
    port.on('close', () => {
      if (this.#store !== port) return;
      this.#store = undefined;
      this.#storeRequests = [];
      this.#core.disconnectStore(this.#readClock());
      if (!this.#isTurnScheduled) this.#runTurn();
    });
    if (!this.#isTurnScheduled) this.#runTurn();
  }

  /** Signs of life, and what hosts have sent meanwhile, come between turns. */
  #runTurn(): void {
    this.#isTurnScheduled = false;
    const clock = this.#readClock();
    const isUnfinished = this.#inbox.run(this.#core, clock);
    this.#endTurn(clock);
    if (!isUnfinished && !this.#core.hasDue) return;
    this.#isTurnScheduled = true;
    setImmediate(() => {
      this.#runTurn();
    });
  }

  /** Resolves when all that was to be noted has been written. */
  async stop(): Promise<PartitionEnd> {
    clearTimeout(this.#timer);
    clearInterval(this.#pulse);
    this.#sampler.stop();
    for (const port of this.#ports.values()) port.close();
    const store = this.#store;
    this.#store = undefined;
    store?.close();
    return { isJournalWhole: (await this.#core.journal?.end()) === true };
  }

  /** Fills the partition with what it held in the life before, if something of that is known. */
  async load(): Promise<void> {
    const { journal, partition } = this.#start;
    if (journal === undefined) return;
    this.#wallFloorMicros = await beginJournalledLife({
      core: this.#core,
      partition,
      table: this.#table,
      origins: this.#origins,
      start: journal,
      readClock: () => this.#readClock(),
      report: this.#report,
      nextTurn,
    });
  }

  #proceedJournal(gauges: ThreadGauges): void {
    const { journal } = this.#core;
    if (journal === undefined) return;
    journal.proceed(performance.now());
    gauges.setJournal(journal.bytes, journal.waitingBytes);
  }

  #createJournal(): ((store: ServiceStore) => ClaimJournal) | undefined {
    const { journal: start, partition, limits } = this.#start;
    if (start === undefined) return undefined;
    const sink = new SegmentFiles(start.folder, start.before);
    const { journalBytesWaitingMax: bytesWaitingMax } = limits;
    return (store) => createClaimJournal(store, { partition, start, sink, bytesWaitingMax, report: this.#report });
  }

  #readClock(): PartitionClock {
    const monotonicMs = performance.now();
    const wallMicros = Math.floor((performance.timeOrigin + monotonicMs) * 1000);
    return { monotonicMs, wallMicros: Math.max(wallMicros, this.#wallFloorMicros) };
  }

  #endTurn(clock: PartitionClock): void {
    this.#core.endTurn(clock);
    this.#outboxes.take((host, batch) => {
      this.#ports.get(host)?.postMessage(batch);
    });
    this.#askStore();
    this.#armTimer(clock.monotonicMs);
  }

  #askStore(): void {
    if (this.#storeRequests.length === 0) return;
    this.#store?.postMessage(this.#storeRequests satisfies StoreBatch);
    this.#storeRequests = [];
  }

  /** One timer for the thread, for the next window's end; an earlier one than needed just finds nothing due. */
  #armTimer(nowMs: number): void {
    const dueAt = this.#core.nextDueAt();
    if (dueAt === undefined || dueAt >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = dueAt;
    this.#timer = setTimeout(
      () => {
        this.#timerAt = Number.POSITIVE_INFINITY;
        if (!this.#isTurnScheduled) this.#runTurn();
      },
      Math.max(0, Math.ceil(dueAt - nowMs)),
    );
  }
}
