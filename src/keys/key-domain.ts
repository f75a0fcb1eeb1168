import type { DurableRow, DurableTable, StoreReply, StoreRequest } from '../durable/commits.ts';
import { refuseReads } from '../durable/joint-commits.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { slotOf } from '../slots/slot.ts';
import { KeyCommits } from './key-commits.ts';
import { evaluate, releaseLock, stampRow, versionPending } from './key-evaluation.ts';
import type { Changes } from './key-evaluation.ts';
import { noStore, outcomeUnknown, refuseBusy, slotsMoved } from './key-failures.ts';
import { KeyHolders } from './key-holders.ts';
import { keysUnder, listKeys } from './key-listing.ts';
import type { KeyAsker, KeyListing, KeyOutcome, KeyTransaction, PrefixDeletion } from './key-operations.ts';
import { KeyQueues } from './key-queues.ts';
import { KeyReleases } from './key-releases.ts';
import { decodeContent, readStoreKey, restoreRow } from './key-row.ts';
import type { KeyRow } from './key-row.ts';
import { KeyTable } from './key-table.ts';
import { askerOf, createTicket, isWide, measureReads } from './key-ticket.ts';
import type { KeyTicket, KeyWork } from './key-ticket.ts';
import { LockDelays, readDelay, writeDelay } from './lock-delays.ts';
import { SlotLoader } from './slot-loader.ts';

export interface KeyLimits {
  readonly keysPerPartitionMax: number;
  /** What a partition's keys may take, in bytes: names, values in base64, and 200 for each. */
  readonly keyBytesPerPartitionMax: number;
  /** Requests that wait for others on the same keys, or for keys to be loaded. */
  readonly keyRequestsWaitingMax: number;
}

/** What a partition's keys amount to. */
export interface KeyLoad {
  readonly keys: number;
  /** As `keyBytesPerPartitionMax` counts them. */
  readonly bytes: number;
  /** Keys that sessions hold. */
  readonly held: number;
  /** Requests that have not been answered. */
  readonly waiting: number;
}

export interface KeyDomainOptions {
  readonly limits: KeyLimits;
  /** Asks the store. */
  readonly ask: (request: StoreRequest) => void;
  /** Answers a request. */
  readonly answer: (asker: KeyAsker, outcome: KeyOutcome) => void;
  /** Work was done, in characters read and written. */
  readonly spend: (work: number) => void;
}

/** Lock delays that are forgotten with one commit. */
const expiredDelaysMax = 256;

/**
 * A partition's keys, pure and synchronous: (state, request, clock) → answers and requests to the store. A request is judged by what is committed, its keys are then locked
 * until the store has answered, and only then is it applied and answered. So nothing is ever undone, and nobody sees what is not on disk. Requests on the same key
 * are carried out one after the other, in the order in which they came.
 */
export class KeyDomain {
  readonly #options: KeyDomainOptions;
  readonly #table: KeyTable = new KeyTable();
  readonly #queues: KeyQueues<KeyTicket> = new KeyQueues();
  readonly #delays: LockDelays = new LockDelays();
  readonly #holders: KeyHolders = new KeyHolders();
  readonly #slots: SlotLoader;
  readonly #commits: KeyCommits;
  readonly #releases: KeyReleases;
  /** What waits for slots to be loaded. */
  #unloaded: KeyTicket[] = [];
  /** Tickets that can begin, in order. */
  readonly #ready: KeyTicket[] = [];
  /** Slots that are being given away. */
  readonly #leaving: Set<number> = new Set();
  /** Requests that have not been answered. */
  #waiting = 0;
  /** The highest commit that is applied or loaded. */
  #version = 0;
  #nowMs = 0;
  #isConnected = false;

  constructor(options: KeyDomainOptions) {
    this.#options = options;
    const { limits, ask } = options;
    this.#commits = new KeyCommits({ table: this.#table, limits, ask });
    this.#releases = new KeyReleases({
      table: this.#table,
      holders: this.#holders,
      isLeaving: (key) => this.#leaving.size > 0 && this.#leaving.has(slotOf(key)),
      release: (holder, keys) => {
        const ticket = createTicket({ kind: 'release', holder }, keys);
        this.#waiting += 1;
        if (this.#queues.enter(ticket)) this.#ready.push(ticket);
      },
    });
    this.#slots = new SlotLoader({
      ask,
      nextRequest: () => this.#commits.nextRequest(),
      take: (table, slot, row) => {
        this.#load(table, slot, row);
      },
      onLoaded: () => {
        this.#retryUnloaded();
        this.#releases.beginAll();
      },
    });
  }

  get load(): KeyLoad {
    const { size: keys, bytes, heldCount: held } = this.#table;
    return { keys, bytes, held, waiting: this.#waiting };
  }

  /** Every key, for checkers. */
  rows(): IterableIterator<KeyRow> {
    return this.#table.rows();
  }

  /** These slots are this partition's from now on, and are loaded. In order. */
  begin(slots: Iterable<number>): void {
    this.#slots.begin(slots);
  }

  /** These slots are another's. They are {@link isDrained}. */
  lose(slots: ReadonlySet<number>): void {
    this.#slots.lose(slots);
    for (const slot of slots) {
      this.#table.deleteSlot(slot);
      this.#leaving.delete(slot);
    }
    this.#delays.forget((key) => slots.has(slotOf(key)));
    for (const ticket of this.#unloaded.splice(0)) {
      // It would lack what has gone meanwhile.
      if (isWide(ticket.work)) this.#finish(ticket, { kind: 'refused', failure: slotsMoved });
      else this.#ready.push(ticket);
    }
    this.#run();
  }

  /** Whether nothing is in flight on keys of these slots, so that the store has all that there is to know of them. */
  isDrained(slots: ReadonlySet<number>): boolean {
    for (const key of this.#queues.busyKeys()) if (slots.has(slotOf(key))) return false;
    return true;
  }

  /**
   * These slots are about to be given away: from now on nothing is committed on keys of them that nobody asks for. Returns whose sessions live, of those that hold keys there,
   * and their hosts.
   */
  prepareToLose(slots: ReadonlySet<number>): Map<string, number> {
    const alive = new Map<string, number>();
    for (const slot of slots) {
      this.#leaving.add(slot);
      for (const { holder } of this.#table.rowsOfSlot(slot)) {
        const host = holder === '' ? undefined : this.#holders.hostOf(holder);
        if (host !== undefined) alive.set(holder, host);
      }
    }
    return alive;
  }

  /** There is a store, or another one. */
  connectStore(nowMs: number): void {
    this.disconnectStore(nowMs);
    this.#isConnected = true;
    this.#slots.connect();
  }

  /** The store has ended. What became of commits in flight is not known: their slots are loaded again, from the next one. */
  disconnectStore(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#isConnected = false;
    this.#slots.disconnect(noStore);
    this.#abandonCommits();
    this.#retryUnloaded();
    this.#run();
  }

  vouch(holder: string, host: number): void {
    this.#holders.vouch(holder, host);
  }

  /** A host's thread has died: which of its sessions live is known again when its next one has vouched for them. */
  doubt(host: number): void {
    this.#holders.doubt(host);
  }

  /** Whether {@link releaseOrphans} has been said. */
  get isEveryoneBack(): boolean {
    return this.#holders.isEveryoneBack;
  }

  /** A session that may hold keys has ended. */
  endHolder(holder: string, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#holders.end(holder);
    this.#releases.begin(holder);
    this.#run();
  }

  /** All hosts have vouched for their sessions, and those of before a restart have had the time to come back: what the others hold is released. `host`: who says so. */
  releaseOrphans(host: number, nowMs: number): void {
    this.#nowMs = nowMs;
    this.#holders.noteEveryoneBack(host);
    this.#releases.beginAll();
    this.#run();
  }

  transact(transaction: KeyTransaction, nowMs: number): void {
    const { operations, holder } = transaction;
    const isAcquiring = operations.some((operation) => operation.kind === 'put' && operation.acquire !== undefined);
    if (isAcquiring && holder !== '') {
      this.#holders.vouch(holder, transaction.asker.host);
    }
    // The move was given up, or nobody would ask.
    if (this.#leaving.size > 0) for (const { key } of operations) this.#leaving.delete(slotOf(key));
    const keys = [...new Set(operations.map(({ key }) => key))];
    this.#submit({ kind: 'transaction', transaction }, keys, nowMs);
  }

  /** Waits for what is being changed under the prefix when it comes. */
  list(listing: KeyListing, nowMs: number): void {
    this.#submit({ kind: 'listing', listing }, this.#busyUnder(listing.prefix), nowMs);
  }

  /** Deletes the first keys with a prefix; those that are being changed when it comes are among them. */
  deletePrefix(deletion: PrefixDeletion, nowMs: number): void {
    const max = protocolLimits.keyPrefixDeletionsMax;
    const keys = keysUnder(this.#table, deletion.prefix, max + 1);
    const isMore = keys.length > max;
    const all = new Set([...keys.slice(0, max), ...this.#busyUnder(deletion.prefix)]);
    this.#submit({ kind: 'deletion', deletion, isMore }, [...all], nowMs);
  }

  /** The store says something. */
  handleReply(reply: StoreReply, nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#slots.isWaitingFor(reply.request)) this.#handleLoad(reply);
    else this.#handleCommit(reply);
    this.#run();
  }

  /** Moves the clock on. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#slots.tick(nowMs);
    this.#releases.tick(nowMs);
    const over = this.#isConnected ? this.#delays.expire(nowMs, expiredDelaysMax) : [];
    // If that cannot be stored, the delay runs once more in the next life.
    if (over.length > 0) this.#commits.send(over.map((key) => writeDelay(key)));
    this.#run();
  }

  /** When {@link tick} is to be called, by the monotonic clock, in milliseconds. */
  nextDueAt(): number | undefined {
    let next: number | undefined;
    for (const at of [this.#slots.nextDueAt(), this.#releases.dueAtMs, this.#delays.nextDueAt()]) {
      if (at !== undefined && (next === undefined || at < next)) next = at;
    }
    return next;
  }

  #submit(work: KeyWork, keys: readonly string[], nowMs: number): void {
    this.#nowMs = nowMs;
    const asker = askerOf(work);
    const { keyRequestsWaitingMax } = this.#options.limits;
    const ticket = createTicket(work, keys);
    if (asker !== undefined && this.#waiting >= keyRequestsWaitingMax) {
      this.#options.answer(asker, { kind: 'refused', failure: refuseBusy(keyRequestsWaitingMax) });
      this.#refusePart(work);
      return;
    }
    this.#waiting += 1;
    // What must not wait is answered at once.
    if (work.kind === 'transaction' && work.transaction.joint !== undefined && !this.#queues.isFree(keys)) {
      this.#answer(ticket, { kind: 'conflict' });
      this.#refusePart(work);
      return;
    }
    if (this.#queues.enter(ticket)) this.#ready.push(ticket);
    this.#run();
  }

  /** Carries out what can begin. Each ticket that is done makes others ready; none of this recurses. */
  #run(): void {
    for (let ticket = this.#ready.shift(); ticket !== undefined; ticket = this.#ready.shift()) this.#begin(ticket);
  }

  /** What waited for slots is looked at again. */
  #retryUnloaded(): void {
    for (const ticket of this.#unloaded.splice(0)) this.#ready.push(ticket);
  }

  /** A ticket is first on all its keys. */
  #begin(ticket: KeyTicket): void {
    const { work } = ticket;
    const outcome = this.#lookAtSlots(ticket);
    if (outcome === 'wait') {
      this.#unloaded.push(ticket);
      return;
    }
    if (outcome !== undefined) {
      this.#refusePart(work);
      this.#finish(ticket, outcome);
      return;
    }
    switch (work.kind) {
      case 'transaction':
        this.#beginTransaction(ticket, work.transaction);
        return;
      case 'listing':
        this.#finish(ticket, this.#list(work.listing));
        return;
      case 'deletion':
        this.#beginDeletion(ticket);
        return;
      case 'release':
        this.#beginRelease(ticket, work.holder);
        return;
      default:
        work satisfies never;
    }
  }

  /** Whether the slots of a ticket are here and loaded. A listing needs all that the partition has. */
  #lookAtSlots({ work, keys }: KeyTicket): KeyOutcome | 'wait' | undefined {
    const slots = this.#slots;
    const needsAll = isWide(work);
    if (!needsAll && keys.some((key) => !slots.isOwned(slotOf(key)))) return { kind: 'moved' };
    if (needsAll ? slots.isComplete : keys.every((key) => slots.isLoaded(slotOf(key)))) return undefined;
    return slots.failure === undefined ? 'wait' : { kind: 'refused', failure: slots.failure };
  }

  #beginTransaction(ticket: KeyTicket, transaction: KeyTransaction): void {
    const evaluation = evaluate(transaction, {
      read: (key) => this.#table.get(key),
      isDelayed: (key) => this.#delays.isRunning(key, this.#nowMs),
    });
    for (const operation of transaction.operations) {
      this.#options.spend(operation.key.length + (operation.kind === 'put' ? operation.value.length : 0));
    }
    if (evaluation.kind === 'unmet') {
      this.#refusePart(ticket.work);
      this.#finish(ticket, { kind: 'unmet', version: this.#version, unmet: evaluation.unmet });
      return;
    }
    const { rows, changes } = evaluation;
    ticket.rows = rows;
    // What all parts of a joint transaction read only the store knows.
    const tooMuch = transaction.joint === undefined ? refuseReads(measureReads(transaction, rows)) : undefined;
    const failure = tooMuch ?? this.#commits.refuse(changes);
    if (failure !== undefined) {
      this.#refusePart(ticket.work);
      this.#finish(ticket, { kind: 'refused', failure });
    } else if (changes.size === 0 && transaction.joint === undefined) {
      // What it put and deleted again was never stored.
      this.#finish(ticket, { kind: 'done', version: this.#version, rows: stampRows(rows, this.#version) });
    } else {
      this.#commitTicket(ticket, changes, []);
    }
  }

  #beginDeletion(ticket: KeyTicket): void {
    const changes: Changes = new Map(
      ticket.keys.filter((key) => this.#table.get(key) !== undefined).map((key) => [key, undefined]),
    );
    if (changes.size === 0) this.#finish(ticket, this.#countDeleted(ticket));
    else this.#commitTicket(ticket, changes, []);
  }

  /** A session has ended: its keys are released or deleted, and nobody acquires them before the lock delay is over. */
  #beginRelease(ticket: KeyTicket, holder: string): void {
    const rows = ticket.keys.map((key) => this.#table.get(key)).filter((row) => row?.holder === holder) as KeyRow[];
    // It has come back.
    if (rows.length === 0 || !this.#holders.hasEnded(holder)) {
      this.#finish(ticket, { kind: 'done', version: this.#version, rows: [] });
      return;
    }
    const changes = new Map(
      rows.map((row) => [
        row.key,
        row.onEnd === 'delete' ? undefined : { ...row, ...releaseLock(row), modifyVersion: versionPending },
      ]),
    );
    ticket.rows = rows;
    const delays = rows.filter(({ lockDelayMs }) => lockDelayMs > 0);
    this.#commitTicket(
      ticket,
      changes,
      delays.map(({ key, lockDelayMs }) => writeDelay(key, lockDelayMs)),
    );
  }

  #list(listing: KeyListing): KeyOutcome {
    const { keyPageBytesMax, keyPageScanMax } = protocolLimits;
    const bounds = { valueCharactersMax: Math.ceil((keyPageBytesMax * 4) / 3), keysMax: keyPageScanMax };
    const { names, rows, next } = listKeys(this.#table, listing, bounds);
    for (const { value } of rows) this.#options.spend(value.length);
    this.#options.spend(names.length);
    return { kind: 'listed', version: this.#version, names, rows, next };
  }

  #countDeleted({ work, changes }: KeyTicket): KeyOutcome {
    const isMore = work.kind === 'deletion' && work.isMore;
    return { kind: 'deleted', version: this.#version, count: changes.size, isMore };
  }

  #commitTicket(ticket: KeyTicket, changes: Changes, delays: ReturnType<typeof writeDelay>[]): void {
    if (!this.#isConnected) {
      this.#finish(ticket, { kind: 'refused', failure: noStore });
      return;
    }
    this.#commits.begin(ticket, changes, delays);
  }

  /** This part of a joint transaction cannot be carried out: nor shall the others be. */
  #refusePart(work: KeyWork): void {
    if (work.kind !== 'transaction' || work.transaction.joint === undefined || !this.#isConnected) return;
    this.#commits.send([], { ...work.transaction.joint, isRefused: true, readBytes: 0 });
  }

  #handleCommit(reply: StoreReply): void {
    const ticket = this.#commits.end(reply.request);
    if (ticket === undefined) return;
    switch (reply.kind) {
      case 'committed':
        this.#apply(ticket, reply.version);
        return;
      case 'refused':
        this.#finish(ticket, { kind: 'refused', failure: reply.failure });
        return;
      case 'abandoned':
        this.#finish(ticket, { kind: 'conflict' });
        return;
      case 'loaded':
      case 'watching':
        throw new Error(`neither stored nor refused: ${reply.kind}`);
      default:
        reply satisfies never;
    }
  }

  #apply(ticket: KeyTicket, version: number): void {
    this.#version = Math.max(this.#version, version);
    for (const [key, row] of ticket.changes) {
      if (row === undefined) this.#table.delete(key);
      else this.#table.put(stampRow(row, version));
    }
    const { work, rows } = ticket;
    if (work.kind === 'release') {
      for (const row of rows) {
        if (row !== undefined && row.lockDelayMs > 0) this.#delays.begin(row.key, this.#nowMs, row.lockDelayMs);
      }
    }
    if (work.kind === 'deletion') this.#finish(ticket, this.#countDeleted(ticket));
    else this.#finish(ticket, { kind: 'done', version, rows: stampRows(rows, version) });
  }

  /** The store has ended. What was in flight may or may not have been stored, so what is there is loaded again. */
  #abandonCommits(): void {
    const tickets = this.#commits.abandon();
    if (tickets.length === 0) return;
    const slots = new Set(tickets.flatMap(({ changes }) => Array.from(changes.keys(), slotOf)));
    const owned = [...slots].filter((slot) => this.#slots.isOwned(slot)).sort((a, b) => a - b);
    for (const slot of slots) this.#table.deleteSlot(slot);
    this.#slots.begin(owned);
    for (const ticket of tickets) this.#finish(ticket, { kind: 'refused', failure: outcomeUnknown });
  }

  /** A ticket that was first on its keys is done. */
  #finish(ticket: KeyTicket, outcome: KeyOutcome): void {
    for (const next of this.#queues.leave(ticket)) this.#ready.push(next);
    this.#answer(ticket, outcome);
  }

  #answer({ work }: KeyTicket, outcome: KeyOutcome): void {
    this.#waiting -= 1;
    if (work.kind === 'release') this.#releases.note(work.holder, outcome.kind === 'refused', this.#nowMs);
    else {
      if (work.kind === 'transaction') this.#releaseIfEnded(work.transaction.holder);
      this.#options.answer(askerOf(work)!, outcome);
    }
  }

  /** The session of one that has just acquired something may have ended meanwhile. */
  #releaseIfEnded(holder: string): void {
    if (holder !== '' && this.#table.heldBy(holder) !== undefined && this.#holders.hasEnded(holder))
      this.#releases.begin(holder);
  }

  #handleLoad(reply: StoreReply): void {
    switch (reply.kind) {
      case 'loaded':
        this.#slots.loaded(reply.rows, reply.next);
        return;
      case 'refused':
        this.#slots.refuse(reply.failure, this.#nowMs);
        this.#retryUnloaded();
        return;
      case 'committed':
      case 'abandoned':
      case 'watching':
        throw new Error(`neither rows nor refused: ${reply.kind}`);
      default:
        reply satisfies never;
    }
  }

  #load(table: DurableTable, _slot: number, row: DurableRow): void {
    const key = readStoreKey(row.key);
    this.#options.spend(row.payload.length);
    if (table === 'lockDelays') this.#delays.begin(key, this.#nowMs, readDelay(row.payload));
    else {
      this.#table.put(restoreRow(key, decodeContent(row.payload), row));
      this.#version = Math.max(this.#version, row.modifyVersion);
    }
  }

  #busyUnder(prefix: string): string[] {
    return [...this.#queues.busyKeys()].filter((key) => key.startsWith(prefix));
  }
}

function stampRows(rows: readonly (KeyRow | undefined)[], version: number): (KeyRow | undefined)[] {
  return rows.map((row) => (row === undefined ? undefined : stampRow(row, version)));
}
