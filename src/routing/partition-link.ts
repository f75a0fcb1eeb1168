import type { Failure } from '../protocol/errors.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import type { Credit, Field, HostBatch, FromPartition, PartitionBatch, ToPartition } from '../workers/messages.ts';
import {
  forEachFromPartition,
  fromFields,
  fromPartition,
  toFields,
  toPartition,
  wholeService,
} from '../workers/messages.ts';
import type { MailboxPort } from '../workers/runner.ts';

/** A partition's answer to a request. */
export type Answer = Exclude<
  FromPartition,
  [
    (
      | typeof fromPartition.push
      | typeof fromPartition.claim
      | typeof fromPartition.moved
      | typeof fromPartition.pushedThrough
      | typeof fromPartition.answered
      | typeof fromPartition.bound
      | typeof fromPartition.check
      | typeof fromPartition.heard
    ),
    ...unknown[],
  ]
>;

/** What a partition says unasked. */
export type Unasked = Extract<
  FromPartition,
  [
    (
      | typeof fromPartition.push
      | typeof fromPartition.claim
      | typeof fromPartition.bound
      | typeof fromPartition.check
      | typeof fromPartition.heard
    ),
    ...unknown[],
  ]
>;

/** Who asks, if it is a session. */
export interface Requester {
  /** Unique in the process. */
  readonly number: number;
}

/**
 * A request in flight. An object of its class rather than closures: thousands may be waiting, and closures would keep alive all that
 * their scope holds.
 */
export interface PendingRequest {
  /** The service that it is about; empty if it is about none. */
  readonly key: string;
  /** Whose change it asks for; a change is not sent again for a session that has ended. */
  readonly session?: Requester;
  /** Who reads by it, if that is a session: its requests about one service keep their order. */
  readonly reader?: Requester | undefined;
  /** It was in flight at a death and has been sent again: if it is at another, it may be the cause of both, and is refused. */
  isRepeated?: boolean;
  /** It waits for its slot as long as that takes, and counts as none of the requests that wait. */
  readonly isPatient?: boolean;
  /** What it asks for is on disk already: it is taken as if it could not refuse. */
  readonly isDurable?: boolean;
  /**
   * Looks again when its turn has come, just before it is sent for the first time: its slot is open, and its owner has room. False: it is not to be sent any
   * more, and whoever waits for it has been told.
   */
  begin?(request: number): boolean;
  /** Its record; built again when it has to be sent again. */
  build(request: number): ToPartition;
  settle(answer: Answer): void;
  /** Its slot has moved: it finds its way by itself, since it is about several. Without this it follows the slot of its key. */
  readonly reroute?: (() => void) | undefined;
  /**
   * It is not sent: too many wait for slots, it has waited too long, or its owner has too much to do. Without this it waits for its slot as long as that takes,
   * and its owner takes it in any case.
   */
  refuse?(failure: Failure): void;
  /** Its partition died, or its session ended: it will not be sent again. Without this it is sent to the partition's next life, once. */
  abandon?(): void;
}

/** An instance whose change may not have been pushed. */
export interface PossiblyUnpushed {
  readonly key: string;
  readonly id: string;
}

export interface PartitionLinkOptions {
  readonly partition: number;
  readonly port: MailboxPort;
  /** Requests not yet answered; beyond it the partition is busy. */
  readonly requestsMax: number;
  readonly readTable: () => SlotTable;
  /** Credit of this many characters is returned at once. */
  readonly creditSoonCharacters: number;
  /** The clock that threads share, in milliseconds; without it nobody learns how old a change is. */
  readonly readMs?: () => number;
  /** Runs a task once all sockets of this turn have been read. */
  readonly schedule: (task: () => void) => void;
  readonly onUnasked: (record: Unasked, link: PartitionLink) => void;
  /** The partition does not own the slot: the request must go elsewhere (SL2). */
  readonly onMoved: (request: number, pending: PendingRequest) => void;
  /** All records of a turn have been handed over. */
  readonly onTurnEnd: () => void;
}

/** A session host's mailbox to one life of one partition: one message per turn each way, in order, bounded by requests in flight. */
export class PartitionLink {
  readonly partition: number;
  readonly #options: PartitionLinkOptions;
  readonly #pending: Map<number, PendingRequest> = new Map();
  /** What was asked to change, as long as it may not have been pushed: batch, key and id of each. */
  #journal: (string | number)[] = [];
  #journalStart = 0;
  #records: Field[] = [];
  #table: SharedArrayBuffer | undefined;
  #lastBatch = 0;
  /** When the first change of the batch that gathers was asked for; 0: there is none. */
  #changedAtMs = 0;
  /** Requests were posted, and nothing has come since. */
  #isAwaiting = false;
  #isFlushScheduled = false;
  /** Records that have not been sent to the partition yet. */
  #pushCredit = 0;
  #answerCredit = 0;
  #isClosed = false;
  readonly #ended: Promise<void>;
  /** The highest version that the partition has reported. */
  versionSeen = 0;

  constructor(options: PartitionLinkOptions) {
    this.partition = options.partition;
    this.#options = options;
    this.#ended = new Promise((resolve) => {
      options.port.on('close', resolve);
    });
    options.port.on('message', (batch: PartitionBatch) => {
      if (this.#isClosed) return;
      this.#isAwaiting = false;
      forEachFromPartition(batch, (record) => {
        this.#take(record);
      });
      options.onTurnEnd();
      if (this.#hasAnything) this.#scheduleFlush();
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves when the partition has gone and all that it said has been taken. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  get requestsMax(): number {
    return this.#options.requestsMax;
  }

  get isHalfFull(): boolean {
    return this.requestsInFlight * 2 > this.requestsMax;
  }

  get isFull(): boolean {
    return this.#pending.size >= this.#options.requestsMax;
  }

  get requestsInFlight(): number {
    return this.#pending.size;
  }

  /** A request in flight, by its number. */
  find(request: number): PendingRequest | undefined {
    return this.#pending.get(request);
  }

  /** Sends what will be answered; the caller has looked at {@link isFull}. */
  request(request: number, pending: PendingRequest): void {
    this.#pending.set(request, pending);
    this.tell(pending.build(request));
  }

  /** Sends what has no answer. */
  tell(record: ToPartition): void {
    if (this.#isClosed) return;
    const fields: readonly Field[] = record;
    for (const field of fields) this.#records.push(field);
    this.#note(record);
    this.#scheduleFlush();
  }

  /** Pushes of this many characters have been handed to the sockets. */
  credit(characters: number): void {
    this.#pushCredit += characters;
    this.#scheduleCredit();
  }

  /** What is said from now on goes under a new table; the caller has flushed what was said before. */
  adoptTable(table: SlotTable): void {
    this.#table = table.memory;
    this.#scheduleFlush();
  }

  flush(): void {
    if (!this.#hasAnything || this.#isClosed) return;
    const records = this.#records;
    this.#records = [];
    this.#lastBatch += 1;
    this.#isAwaiting = this.#pending.size > 0;
    const changedAtMs = this.#changedAtMs;
    this.#changedAtMs = 0;
    const { epoch } = this.#options.readTable();
    const credit = this.#drainCredit();
    const batch = { batch: this.#lastBatch, epoch, changedAtMs, records, ...(credit === undefined ? {} : { credit }) };
    this.#options.port.postMessage(
      (this.#table === undefined ? batch : { ...batch, table: this.#table }) satisfies HostBatch,
    );
    this.#table = undefined;
  }

  /** No more is sent, and what still comes is of a partition that is no more. Returns the requests in flight, oldest first. */
  close(): [request: number, pending: PendingRequest][] {
    this.#isClosed = true;
    this.#options.port.close();
    const pending = [...this.#pending];
    this.#pending.clear();
    return pending;
  }

  /** Instances of which it is not known whether their last change was pushed. */
  possiblyUnpushed(): PossiblyUnpushed[] {
    const possiblyUnpushed: PossiblyUnpushed[] = [];
    for (let i = this.#journalStart; i < this.#journal.length; i += 3) {
      possiblyUnpushed.push({ key: String(this.#journal[i + 1]), id: String(this.#journal[i + 2]) });
    }
    return possiblyUnpushed;
  }

  #take(record: FromPartition): void {
    switch (record[0]) {
      case fromPartition.push:
        this.versionSeen = Math.max(this.versionSeen, record[fromFields.push.to]);
        this.#options.onUnasked(record, this);
        return;
      case fromPartition.claim:
      case fromPartition.bound:
      case fromPartition.check:
      case fromPartition.heard:
        this.#options.onUnasked(record, this);
        return;
      case fromPartition.answered:
        this.#answerCredit += record[fromFields.answered.characters];
        this.#scheduleCredit();
        return;
      case fromPartition.pushedThrough:
        this.#forgetPushedThrough(record[fromFields.pushedThrough.batch]);
        return;
      case fromPartition.moved:
        this.#options.onMoved(record[fromFields.moved.request], this.#takePending(record[fromFields.moved.request]));
        return;
      case fromPartition.applied:
        this.versionSeen = Math.max(this.versionSeen, record[fromFields.applied.version]);
        this.#settle(record);
        return;
      case fromPartition.state:
        this.versionSeen = Math.max(this.versionSeen, record[fromFields.state.version]);
        this.#settle(record);
        return;
      case fromPartition.resumed:
        this.versionSeen = Math.max(this.versionSeen, record[fromFields.resumed.version]);
        this.#settle(record);
        return;
      case fromPartition.refused:
      case fromPartition.listed:
      case fromPartition.handedOver:
      case fromPartition.measured:
      case fromPartition.oversize:
      case fromPartition.recalled:
      case fromPartition.keysAnswered:
      case fromPartition.inspected:
        this.#settle(record);
        return;
      default:
        record satisfies never;
    }
  }

  #settle(answer: Answer): void {
    const [, request] = answer;
    this.#takePending(request).settle(answer);
  }

  #takePending(request: number): PendingRequest {
    const pending = this.#pending.get(request);
    if (pending === undefined) {
      throw new Error(`partition ${this.partition} answered request ${request}, which is not under way`);
    }
    this.#pending.delete(request);
    return pending;
  }

  #note(record: ToPartition): void {
    switch (record[0]) {
      case toPartition.register:
        this.#noteChange(record[toFields.register.key], record[toFields.register.id]);
        return;
      case toPartition.reportHealth:
        this.#noteChange(record[toFields.reportHealth.key], record[toFields.reportHealth.id]);
        return;
      case toPartition.deregister:
        this.#noteChange(record[toFields.deregister.key], record[toFields.deregister.id]);
        return;
      case toPartition.withdraw:
        this.#noteChange(record[toFields.withdraw.key], record[toFields.withdraw.id]);
        return;
      case toPartition.remark:
        this.#noteChange(record[toFields.remark.key], record[toFields.remark.id]);
        return;
      case toPartition.judge:
        this.#noteChange(record[toFields.judge.key], record[toFields.judge.id]);
        return;
      case toPartition.layOver:
        this.#noteChange(record[toFields.layOver.key], wholeService);
        return;
      case toPartition.resend: {
        const key = record[toFields.resend.key];
        for (const id of record[toFields.resend.ids]) this.#journal.push(this.#lastBatch + 1, key, id);
        return;
      }
      case toPartition.raiseFloor:
        this.versionSeen = Math.max(this.versionSeen, record[toFields.raiseFloor.version]);
        return;
      case toPartition.takeOver:
        // Told by another owner, and this one's to answer for from now on: its next life must begin above them.
        this.versionSeen = Math.max(this.versionSeen, record[toFields.takeOver.versionFloor]);
        for (const { version } of record[toFields.takeOver.parcels]) {
          this.versionSeen = Math.max(this.versionSeen, version);
        }
        return;
      default:
    }
  }

  #noteChange(key: string, id: string): void {
    if (this.#changedAtMs === 0) this.#changedAtMs = this.#options.readMs?.() ?? 0;
    this.#journal.push(this.#lastBatch + 1, key, id);
  }

  #forgetPushedThrough(batch: number): void {
    while (this.#journalStart < this.#journal.length && Number(this.#journal[this.#journalStart]) <= batch) {
      this.#journalStart += 3;
    }
    // Moving the rest down costs as much as it frees, so wait until half can go.
    if (this.#journalStart * 2 < this.#journal.length) return;
    this.#journal = this.#journal.slice(this.#journalStart);
    this.#journalStart = 0;
  }

  /**
   * While the partition works on a batch, the next one gathers: it goes out with the first answers. Waking a thread costs more than a
   * request does, and a partition answers all of a batch in one turn.
   */
  #scheduleFlush(): void {
    if (!this.#isAwaiting) this.#flushLater();
  }

  get #hasAnything(): boolean {
    return this.#records.length > 0 || this.#table !== undefined || this.#pushCredit + this.#answerCredit > 0;
  }

  #drainCredit(): Credit | undefined {
    if (this.#pushCredit + this.#answerCredit === 0) return undefined;
    const credit = { pushes: this.#pushCredit, answers: this.#answerCredit };
    this.#pushCredit = 0;
    this.#answerCredit = 0;
    return credit;
  }

  /** So much credit that the partition may be waiting for it does not wait for the answers of a batch, which may wait for it. */
  #scheduleCredit(): void {
    if (this.#pushCredit + this.#answerCredit >= this.#options.creditSoonCharacters) this.#flushLater();
    else this.#scheduleFlush();
  }

  #flushLater(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    this.#options.schedule(() => {
      this.#isFlushScheduled = false;
      this.flush();
    });
  }
}

/** For a request that was in flight at two deaths in a row: what it did, and whether, is not known. */
const repeatedTooOften: Failure = {
  code: 'internal',
  message: 'the partition failed twice while the request was in flight',
};

/** The answer to such a request. */
export function refuseRepeated(request: number): Answer {
  return [fromPartition.refused, request, repeatedTooOften.code, repeatedTooOften.message, '', 0, '', 0];
}

/** Why a partition refused. */
export function readRefusal(answer: Answer): Failure {
  if (answer[0] !== fromPartition.refused) throw new Error(`neither done nor refused: ${answer[0]}`);
  const [, , code, message, limit, max] = answer;
  return limit === '' ? { code, message } : { code, message, limit, max };
}
