import { MessageChannel, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import type { Logger } from 'pino';

import type { Failure } from '../protocol/errors.ts';
import type { StoreSummary } from '../protocol/http-results.ts';
import type { Counters } from '../runtime/counters.ts';
import { ThreadGauges } from '../runtime/thread-gauges.ts';
import { delay, within } from '../runtime/timing.ts';
import type {
  BackupOrigin,
  BackupPart,
  BackupReply,
  BackupRequest,
  CommitOutcome,
  DurableRow,
  DurableStore,
  DurableTable,
  DurableWrite,
  StoreReply,
  StoreRequest,
} from './commits.ts';
import { DataFolderError } from './data-folder-error.ts';
import { FolderLock } from './folder-lock.ts';
import { endOfPrefix } from './key-prefix.ts';
import type { StoreState } from './store-core.ts';
import type { StoreDamage } from './store-file.ts';
import { StoreGauges } from './store-gauges.ts';
import type { FromStoreThread, StoreThreadStart, ToStoreThread } from './store-messages.ts';
import { StoreVersion } from './store-version.ts';

export interface ThreadStoreOptions extends Pick<StoreThreadStart, 'folder' | 'limits'> {
  readonly counters: Counters;
  readonly log: Logger;
  /** The wait before the first restart of the thread, in milliseconds; it doubles with each death that follows soon. */
  readonly restartBackoffMs: number;
}

/** A way to the store for another thread. */
export interface StoreConnection {
  /** Whoever it was for is gone. */
  close(): void;
}

type Settle = (reply: StoreReply | BackupReply | undefined) => void;

/** The longest wait before a restart, in milliseconds. */
const backoffMaxMs = 10_000;
/** A thread that has lived for so long, in milliseconds, has outlived what made earlier ones end. */
const settledMs = 60_000;
/** How long the thread has to store what it was asked to, and to end, in milliseconds. */
const endTimeoutMs = 10_000;

const fateUnknown: Failure = {
  code: 'internal',
  message: 'the store failed meanwhile: this may have been stored, or not',
};
const notRunning: Failure = {
  code: 'storage_unavailable',
  message: 'nothing can be stored at present: the store is being started again',
};

/** The store, on a thread of its own, as the main thread has it: starts the thread, starts it again if it dies, and connects other threads to it. */
export class ThreadStore implements DurableStore {
  /** They continue from one life of the thread to the next. */
  readonly gauges: StoreGauges = new StoreGauges();
  readonly threadGauges: ThreadGauges = new ThreadGauges();
  readonly version: StoreVersion = new StoreVersion();
  /** Resolves if it cannot continue: what was only in memory is gone. */
  readonly failed: Promise<Error>;
  readonly #options: ThreadStoreOptions;
  readonly #connections: Set<Connection> = new Set();
  readonly #requests: Requests = new Requests();
  #fail: (error: Error) => void = () => undefined;
  #worker: Worker | undefined;
  #lock: FolderLock | undefined;
  #state: StoreState = { kind: 'available' };
  #deaths = 0;
  #isEnding = false;

  constructor(options: ThreadStoreOptions) {
    this.#options = options;
    this.connect((port) => {
      this.#requests.attach(port);
    });
    this.failed = new Promise((resolve) => {
      this.#fail = resolve;
    });
  }

  /** Whether anything can be stored, as the thread last said. */
  get state(): StoreState {
    return this.#state;
  }

  /** The same for callers; what exactly is wrong is in the log. */
  get summary(): StoreSummary {
    if (this.#state.kind === 'unavailable') return { available: false, fault: this.#state.fault };
    return this.#requests.areTaken ? { available: true } : { available: false, fault: 'failed' };
  }

  /** Resolves when requests are taken; rejects if the thread cannot run, with a {@link DataFolderError} if that is because of its folder. */
  async start(): Promise<void> {
    const { folder } = this.#options;
    if (folder !== undefined) this.#lock = await FolderLock.take(folder);
    await this.#begin();
  }

  async commit(writes: readonly DurableWrite[]): Promise<CommitOutcome> {
    if (!this.#requests.areTaken) return { failure: notRunning };
    const reply = await this.#requests.send((request) => ({ kind: 'commit', request, writes }));
    if (reply === undefined) return { failure: fateUnknown };
    switch (reply.kind) {
      case 'committed':
        return { version: reply.version };
      case 'refused':
        return { failure: reply.failure };
      default:
        throw new Error(`a commit was replied to with ${reply.kind}`);
    }
  }

  async *load(
    table: DurableTable,
    prefix = '',
    from: string = prefix,
  ): AsyncGenerator<readonly DurableRow[], void, undefined> {
    const to = endOfPrefix(prefix);
    let next: string | undefined = from;
    while (next !== undefined) {
      const first: string = next;
      const reply = await this.#requests.send((request) => ({ kind: 'load', request, table, from: first, to }));
      if (reply?.kind !== 'loaded') {
        throw new Error(reply?.kind === 'refused' ? reply.failure.message : notRunning.message);
      }
      yield reply.rows;
      next = reply.next;
    }
  }

  /** The first part of a backup of all that is stored now. */
  beginBackup(origin: BackupOrigin): Promise<BackupPart | Failure> {
    return this.#backUp((request) => ({ kind: 'beginBackup', request, origin }));
  }

  readBackup(backup: number): Promise<BackupPart | Failure> {
    return this.#backUp((request) => ({ kind: 'readBackup', request, backup }));
  }

  async endBackup(backup: number): Promise<void> {
    await this.#backUp((request) => ({ kind: 'endBackup', request, backup }));
  }

  async #backUp(create: (request: number) => BackupRequest): Promise<BackupPart | Failure> {
    const reply = await this.#requests.send(create);
    if (reply === undefined) return notRunning;
    switch (reply.kind) {
      case 'backup':
        return { backup: reply.backup, part: reply.part };
      case 'refused':
        return reply.failure;
      default:
        throw new Error(`a part of a backup was replied to with ${reply.kind}`);
    }
  }

  /**
   * Connects another thread. `hand` is given a port now, if the store runs, and again each time that its thread has been started again: the port before has closed
   * then, and what it has not replied to may have been stored, or not. `partition`: which it is, if it is one; the connection of its life before must be closed.
   */
  connect(hand: (port: MessagePort) => void, partition?: number): StoreConnection {
    const connection = { hand, partition };
    this.#connections.add(connection);
    if (this.#worker !== undefined) this.#hand(connection);
    return { close: () => this.#connections.delete(connection) };
  }

  /** Lets the thread store what it was asked to, and ends it. It ends by itself only: LMDB's binding aborts the process if its thread is ended in the middle of a call. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    const worker = this.#worker;
    if (worker !== undefined) await this.#end(worker);
    this.#lock?.release();
  }

  async #end(worker: Worker): Promise<void> {
    const isOver = new Promise((resolve) => {
      worker.once('exit', resolve);
    });
    worker.postMessage({ kind: 'end' } satisfies ToStoreThread);
    await within(isOver, endTimeoutMs);
  }

  /** For tests: ends the thread, as a bug would. */
  kill(): void {
    this.#worker?.postMessage({ kind: 'fault' } satisfies ToStoreThread);
  }

  #begin(): Promise<void> {
    const { folder, limits } = this.#options;
    const beganAtMs = performance.now();
    const start: StoreThreadStart = {
      folder,
      limits,
      storeVersion: this.version.memory,
      storeGauges: this.gauges.memory,
      threadGauges: this.threadGauges.memory,
    };
    const worker = new Worker(new URL('store-thread.js', import.meta.url), {
      name: 'store',
      // A process that was given a text to run hands that on, too, and no thread would start.
      ...(process.execArgv.some((argument) => argument.startsWith('--input-type')) ? { execArgv: [] } : {}),
      workerData: start,
    });
    this.#worker = worker;
    const ready = new Promise<void>((resolve, reject) => {
      let cause = new Error('the thread of the store ended');
      worker.on('error', (error: Error) => {
        cause = error;
      });
      worker.on('message', (message: FromStoreThread) => {
        switch (message.kind) {
          case 'ready':
            resolve();
            return;
          case 'state':
            this.#noteState(message.state);
            return;
          case 'damage':
            this.#noteDamage(message.damage);
            return;
          case 'unusable':
            this.#isEnding = true;
            reject(new DataFolderError(message.message));
            return;
          default:
            message satisfies never;
        }
      });
      worker.once('exit', () => {
        reject(cause);
        if (performance.now() - beganAtMs >= settledMs) this.#deaths = 0;
        void this.#onEnd(cause);
      });
    });
    // Whoever waits for it hears.
    ready.catch(() => undefined);
    for (const connection of this.#connections) this.#hand(connection);
    return ready;
  }

  #hand({ hand, partition }: Connection): void {
    const { port1, port2 } = new MessageChannel();
    this.#worker?.postMessage({ kind: 'attach', partition, port: port2 } satisfies ToStoreThread, [port2]);
    hand(port1);
  }

  #noteState(state: StoreState): void {
    const { log } = this.#options;
    const before = this.#state;
    this.#state = state;
    if (state.kind === 'unavailable') {
      const { fault, message } = state;
      if (before.kind === 'available' || before.fault !== fault || before.message !== message) {
        log.error({ fault }, `nothing can be stored that must outlive the process: ${message}`);
      }
    } else if (before.kind === 'unavailable') log.warn('what must outlive the process can be stored again');
  }

  #noteDamage({ reason, setAside, rowsKept }: StoreDamage): void {
    const { counters, log } = this.#options;
    counters.count('store_damaged');
    const kept = `${rowsKept} rows could be read and are kept`;
    const where = setAside === undefined ? '' : `; the damaged file is now ${setAside}`;
    log.error({ setAside, rowsKept }, `what outlived the process may have been lost: ${reason}; ${kept}${where}`);
  }

  async #onEnd(cause: Error): Promise<void> {
    this.#worker = undefined;
    if (this.#isEnding) return;
    const { counters, log, folder, restartBackoffMs } = this.#options;
    this.#deaths += 1;
    counters.count('store_thread_died');
    log.error({ err: cause }, `the thread of the store died: ${cause.message}`);
    if (folder === undefined) {
      this.#fail(new Error('what was stored in memory is gone', { cause }));
      return;
    }
    await delay(Math.min(backoffMaxMs, restartBackoffMs * 2 ** (this.#deaths - 1)));
    if (this.#isEnding) return;
    // Another end is another call of this.
    await this.#begin().then(
      () => {
        log.warn('the thread of the store is back');
      },
      () => undefined,
    );
  }
}

interface Connection {
  readonly hand: (port: MessagePort) => void;
  readonly partition: number | undefined;
}

/** Requests of the main thread, and what they wait for. */
class Requests {
  #port: MessagePort | undefined;
  #last = 0;
  /** Asked through the present port. */
  #waiting: Map<number, Settle> = new Map();
  /** Not sent yet: they go together at the end of the turn. */
  #unsent: (StoreRequest | BackupRequest)[] = [];

  get areTaken(): boolean {
    return this.#port !== undefined;
  }

  attach(port: MessagePort): void {
    const waiting: Map<number, Settle> = new Map();
    this.#port = port;
    this.#waiting = waiting;
    // It watches nothing, so these are replies only.
    port.on('message', (replies: readonly (StoreReply | BackupReply)[]) => {
      for (const reply of replies) {
        waiting.get(reply.request)?.(reply);
        waiting.delete(reply.request);
      }
    });
    port.on('close', () => {
      if (this.#port === port) {
        this.#port = undefined;
        this.#unsent = [];
      }
      for (const settle of waiting.values()) settle(undefined);
    });
  }

  /** Resolves to undefined if the store's thread has died, or does not run. */
  send(create: (request: number) => StoreRequest | BackupRequest): Promise<StoreReply | BackupReply | undefined> {
    if (this.#port === undefined) return Promise.resolve(undefined);
    this.#last += 1;
    const request = this.#last;
    if (this.#unsent.length === 0) {
      setImmediate(() => {
        this.#port?.postMessage(this.#unsent);
        this.#unsent = [];
      });
    }
    this.#unsent.push(create(request));
    return new Promise((resolve) => {
      this.#waiting.set(request, resolve);
    });
  }
}
