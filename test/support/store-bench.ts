import type { BackupReply, KeyTarget, StoreNews, StoreReply, StoreRequest } from '../../src/durable/commits.ts';
import { MemoryBackend } from '../../src/durable/memory-backend.ts';
import { StorageError } from '../../src/durable/store-backend.ts';
import type {
  RowChange,
  RowRange,
  RowsRead,
  StorageFault,
  StoreBackend,
  StoreSnapshot,
} from '../../src/durable/store-backend.ts';
import { StoreCore } from '../../src/durable/store-core.ts';
import type { GroupReport, StoreLimits, StoreState } from '../../src/durable/store-core.ts';

const storeLimits: StoreLimits = {
  storeGroupBytesMax: 1_048_576,
  storeQueueBytesMax: 1_048_576,
  storeReadBytesMax: 1_048_576,
  storeRowBytesMax: 1024,
  storeRetryMaxMs: 1000,
  storeLogBytesMax: 1_048_576,
  storeFeedBytesMax: 1_048_576,
  storeWatchesMax: 100,
  jointCommitTimeoutMs: 5000,
  backupIdleTimeoutMs: 5000,
};

/** A disk that can be made to fail, whose rows outlive the stores that use it. */
export class FaultyDisk implements StoreBackend {
  readonly isOpen = true;
  readonly #rows: MemoryBackend = new MemoryBackend(Number.MAX_SAFE_INTEGER);
  /** What every commit, every opening and every read meets until it is taken away. */
  fault: StorageFault | undefined;
  isUnreadable = false;
  /** There is room for commits without rows, as a probe is, and for no others. */
  isNearlyFull = false;
  /** A commit fails in a way that leaves open what is stored. */
  isUnclear = false;
  /** Transactions of the disk so far. */
  commits = 0;

  get lastVersion(): number {
    return this.#rows.lastVersion;
  }

  get usedBytes(): number {
    return this.#rows.usedBytes;
  }

  open(): StoreBackend {
    if (this.fault !== undefined) throw new StorageError(this.fault, 'the disk fails');
    return this;
  }

  commit(changes: readonly RowChange[], lastVersion: number): void {
    if (this.fault !== undefined) throw new StorageError(this.fault, 'the disk fails');
    if (this.isNearlyFull && changes.length > 0) throw new StorageError('full', 'the disk is full');
    if (this.isUnclear) throw new Error('nobody knows');
    this.commits += 1;
    this.#rows.commit(changes, lastVersion);
  }

  read(range: RowRange): RowsRead {
    if (this.isUnreadable) throw new StorageError('damaged', 'it cannot be read');
    return this.#rows.read(range);
  }

  takeSnapshot(): StoreSnapshot {
    const snapshot = this.#rows.takeSnapshot();
    return {
      ...snapshot,
      read: (range) => {
        if (this.isUnreadable) throw new StorageError('damaged', 'it cannot be read');
        return snapshot.read(range);
      },
    };
  }

  close(): void {
    // The next store opens it again.
  }
}

/** A store and its callers, in one thread and with a clock of the test's own. */
export class StoreBench {
  readonly disk: FaultyDisk;
  readonly core: StoreCore;
  readonly replies: Map<number, (StoreReply | BackupReply)[]> = new Map();
  readonly news: Map<number, StoreNews[]> = new Map();
  /** Who was told what kind of thing, in order. */
  readonly said: (readonly [caller: number, kind: string])[] = [];
  readonly states: StoreState[] = [];
  readonly groups: GroupReport[] = [];
  nowMs = 0;
  #lastRequest = 0;

  constructor(disk: FaultyDisk = new FaultyDisk(), limits: Partial<StoreLimits> = {}) {
    this.disk = disk;
    this.core = new StoreCore({
      limits: { ...storeLimits, ...limits },
      openBackend: () => disk.open(),
      reply: (caller, replies) => {
        for (const reply of replies) {
          if ('request' in reply) this.replies.set(caller, [...(this.replies.get(caller) ?? []), reply]);
          else this.news.set(caller, [...(this.news.get(caller) ?? []), reply]);
          this.said.push([caller, reply.kind]);
        }
      },
      onState: (state) => {
        this.states.push(state);
      },
      onGroup: (group) => {
        this.groups.push(group);
      },
      nowMs: 0,
    });
  }

  /** Asks for something; returns the number of the request. */
  ask(caller: number, request: Omit<Extract<StoreRequest, { kind: 'commit' }>, 'request' | 'kind'>): number {
    this.#lastRequest += 1;
    this.core.handle(caller, { kind: 'commit', request: this.#lastRequest, ...request }, this.nowMs);
    return this.#lastRequest;
  }

  load(caller: number, range: Partial<Omit<Extract<StoreRequest, { kind: 'load' }>, 'request' | 'kind'>> = {}): number {
    this.#lastRequest += 1;
    const request = { kind: 'load', request: this.#lastRequest, table: 'keys', from: '', to: '', ...range } as const;
    this.core.handle(caller, request, this.nowMs);
    return this.#lastRequest;
  }

  watch(caller: number, prefix: string, after?: number): number {
    return this.watchTarget(caller, { kind: 'prefix', name: prefix }, after);
  }

  watchTarget(caller: number, target: KeyTarget, after?: number): number {
    this.#lastRequest += 1;
    this.core.handle(caller, { kind: 'watch', request: this.#lastRequest, target, after }, this.nowMs);
    return this.#lastRequest;
  }

  /** Runs turns until nothing is left. */
  run(): void {
    while (this.core.flush(this.nowMs));
  }

  wait(ms: number): void {
    this.nowMs += ms;
    this.core.tick(this.nowMs);
    this.run();
  }

  replyTo(caller: number, request: number): StoreReply | BackupReply | undefined {
    return this.replies.get(caller)?.find((reply) => reply.request === request);
  }

  /** The keys and texts of a table. */
  rows(table: RowRange['table'] = 'keys'): Record<string, string> {
    const { rows } = this.disk.read({ table, from: '', to: '', bytesMax: Number.MAX_SAFE_INTEGER });
    return Object.fromEntries(rows.map(({ key, payload }) => [key, Buffer.from(payload).toString()]));
  }
}

export function put(
  key: string,
  text: string,
  createVersion = 0,
): Extract<StoreRequest, { kind: 'commit' }>['writes'][0] {
  return { table: 'keys', key, payload: Buffer.from(text), createVersion };
}
