import type { ServerConfig } from '../config/config.ts';
import type { Failure } from '../protocol/errors.ts';
import { Backups } from './backups.ts';
import { ChangeFeed } from './change-feed.ts';
import { durableKeyBytesMax } from './commits.ts';
import type {
  BackupPart,
  BackupReply,
  BackupRequest,
  DurableWrite,
  StoreNews,
  StoreNotice,
  StoreReply,
  StoreRequest,
} from './commits.ts';
import { JointCommits } from './joint-commits.ts';
import type { CommitPart, JointDecision } from './joint-commits.ts';
import { StorageError } from './store-backend.ts';
import type { RowChange, StorageFault, StoreBackend } from './store-backend.ts';
import { WatchRequests } from './watch-requests.ts';

export type StoreLimits = Pick<
  ServerConfig,
  | 'storeGroupBytesMax'
  | 'storeQueueBytesMax'
  | 'storeReadBytesMax'
  | 'storeRowBytesMax'
  | 'storeLogBytesMax'
  | 'storeFeedBytesMax'
  | 'storeWatchesMax'
  | 'storeRetryMaxMs'
  | 'jointCommitTimeoutMs'
  | 'backupIdleTimeoutMs'
>;

/** Whether anything can be stored. `sinceMs`: by the clock that the core is given. */
export type StoreState =
  | { readonly kind: 'available' }
  | {
      readonly kind: 'unavailable';
      readonly fault: StorageFault;
      readonly message: string;
      readonly sinceMs: number;
      /** What is stored can still be read. */
      readonly isReadable: boolean;
    };

/** What became of one group of commits. */
export interface GroupReport {
  readonly commits: number;
  readonly bytes: number;
  readonly isStored: boolean;
}

export interface StoreCoreOptions {
  readonly limits: StoreLimits;
  /**
   * Opens what rows are kept in; throws a {@link StorageError} if it cannot, and is asked again later. `before`: what it was open as, if it has been lost since, or
   * found damaged; it closes that.
   */
  readonly openBackend: (before: StoreBackend | undefined) => StoreBackend;
  /** Says something to a caller. */
  readonly reply: (caller: number, replies: readonly (StoreReply | BackupReply | StoreNews)[]) => void;
  readonly onState: (state: StoreState) => void;
  readonly onGroup?: (group: GroupReport) => void;
  /** The number of the last commit is this; before anybody is told of the commit. */
  readonly onVersion?: (version: number) => void;
  /** Monotonic, in milliseconds. */
  readonly nowMs: number;
}

type LoadRequest = Extract<StoreRequest, { readonly kind: 'load' }>;

/** What waits for its turn: a commit with its parts, several if it is a joint one, a read, or a part of a backup. */
type Work =
  | { readonly kind: 'commit'; readonly parts: readonly CommitPart[]; readonly bytes: number }
  | { readonly kind: 'load'; readonly caller: number; readonly load: LoadRequest; readonly bytes: number }
  | { readonly kind: 'backup'; readonly caller: number; readonly asked: BackupRequest; readonly bytes: number };

/** What a request counts for beside its rows, in bytes. */
const requestBytes = 64;
/** The first wait before it is tried again to store something, in milliseconds; it doubles until `storeRetryMaxMs`. */
const retryMinMs = 250;
/** How often those who watch hear how far the store has come, if nothing that concerns them has changed, in milliseconds. */
const progressMs = 1000;

/**
 * The store, without threads, ports, files or clocks: takes requests of callers, and carries out, in each turn, all commits that have come as one group, so that one
 * synchronization of the disk serves all of them. Each commit gets its own number, above all before it.
 */
export class StoreCore {
  readonly #options: StoreCoreOptions;
  readonly #joints: JointCommits;
  readonly #backups: Backups;
  readonly #watchRequests: WatchRequests;
  /** Callers, with the partition that each is; undefined: none. */
  readonly #callers: Map<number, number | undefined> = new Map();
  readonly #replies: Map<number, (StoreReply | BackupReply)[]> = new Map();
  #queue: Work[] = [];
  /** Of the queue, and of joint transactions that wait. */
  #waitingBytes = 0;
  #backend: StoreBackend | undefined;
  /** From when rows could first be read. */
  #feed: ChangeFeed | undefined;
  #progressAtMs = 0;
  #state: StoreState = { kind: 'available' };
  /** Only opening it anew shows whether it can be used again. */
  #mustReopen = false;
  #retryAtMs = 0;
  #retryMs = retryMinMs;

  constructor(options: StoreCoreOptions) {
    this.#options = options;
    this.#joints = new JointCommits(options.limits.jointCommitTimeoutMs);
    this.#backups = new Backups(options.limits);
    this.#watchRequests = new WatchRequests({
      scanBytesMax: options.limits.storeReadBytesMax,
      watchesMax: options.limits.storeWatchesMax,
      reply: (caller, reply) => {
        this.#reply(caller, reply);
      },
    });
    this.#tryToRecover(options.nowMs);
  }

  get state(): StoreState {
    return this.#state;
  }

  /** Bytes that the rows take; 0 if that is not known. */
  get usedBytes(): number {
    return this.#backend?.usedBytes ?? 0;
  }

  /** A caller comes. `partition`: which it is, if it is one. */
  attach(caller: number, partition?: number): void {
    this.#callers.set(caller, partition);
  }

  /** A caller has gone. What it asked for alone is carried out; of joint transactions that still wait, nothing is. */
  detach(caller: number): void {
    const partition = this.#callers.get(caller);
    this.#callers.delete(caller);
    this.#replies.delete(caller);
    this.#feed?.forget(caller);
    this.#watchRequests.forget(caller);
    if (partition !== undefined) for (const decision of this.#joints.close(partition, caller)) this.#follow(decision);
  }

  handle(caller: number, request: StoreRequest | BackupRequest | StoreNotice, nowMs: number): void {
    if (!this.#callers.has(caller)) return;
    if (request.kind === 'read') this.#feed?.noteRead(caller, request.through);
    else if (request.kind === 'watch' || request.kind === 'unwatch') this.#watchRequests.add(caller, request);
    else this.#take(caller, request, nowMs);
  }

  #take(caller: number, request: Exclude<StoreRequest, { kind: 'watch' }> | BackupRequest, nowMs: number): void {
    if (this.#waitingBytes > this.#options.limits.storeQueueBytesMax) {
      this.#refuse(caller, request.request, {
        code: 'busy',
        message: 'too much waits to be stored',
        limit: 'storeQueueBytesMax',
        max: this.#options.limits.storeQueueBytesMax,
        retryAfterMs: retryMinMs,
      });
      return;
    }
    if (request.kind === 'load') {
      this.#enqueue({ kind: 'load', caller, load: request, bytes: requestBytes });
      return;
    }
    if (request.kind !== 'commit') {
      this.#enqueue({ kind: 'backup', caller, asked: request, bytes: requestBytes });
      return;
    }
    const { writes, joint } = request;
    const failure = this.#checkWrites(writes);
    const bytes = requestBytes + writes.reduce((sum, write) => sum + bytesOf(write), 0);
    const part = { caller, request: request.request, writes, bytes };
    if (joint !== undefined)
      this.#addJoint({ ...joint, isRefused: joint.isRefused || failure !== undefined }, part, nowMs);
    else if (failure !== undefined) this.#refuse(caller, request.request, failure);
    else this.#enqueue({ kind: 'commit', parts: [part], bytes });
  }

  /** Carries out what a turn has room for, and replies. Returns whether something is left for the next. */
  flush(nowMs: number): boolean {
    // Before the commits that have come with them, which they are told of.
    this.#watchRequests.run(this.#feed, () => this.#unavailable());
    const group = this.#takeGroup();
    if (group.length > 0) this.#commit(group, nowMs);
    this.#sendReplies();
    let readBytes = 0;
    let [work] = this.#queue;
    while (work !== undefined && work.kind !== 'commit' && readBytes < this.#options.limits.storeReadBytesMax) {
      this.#queue.shift();
      this.#waitingBytes -= work.bytes;
      readBytes +=
        work.kind === 'load' ? this.#load(work.caller, work.load, nowMs) : this.#backUp(work.caller, work.asked, nowMs);
      [work] = this.#queue;
    }
    this.#sendReplies();
    // Whoever waits for what was stored hears of it before those who watch.
    const isProgressDue = nowMs - this.#progressAtMs >= progressMs;
    if (isProgressDue) this.#progressAtMs = nowMs;
    this.#feed?.tell(isProgressDue);
    return this.#queue.length > 0 || !this.#watchRequests.isIdle;
  }

  /** Moves the clock on. Replies that follow from that come with the next {@link flush}. */
  tick(nowMs: number): void {
    this.#backups.tick(nowMs);
    for (const decision of this.#joints.expire(nowMs)) this.#follow(decision);
    if (this.#state.kind === 'unavailable' && nowMs >= this.#retryAtMs) this.#tryToRecover(nowMs);
  }

  close(): void {
    this.#backups.close();
    this.#backend?.close();
    this.#backend = undefined;
  }

  #checkWrites(writes: readonly DurableWrite[]): Failure | undefined {
    const { storeRowBytesMax } = this.#options.limits;
    for (const { key, payload } of writes) {
      const keyBytes = Buffer.byteLength(key);
      if (keyBytes === 0) return { code: 'internal', message: 'a row without a key' };
      if (keyBytes > durableKeyBytesMax) return exceeds('durableKeyBytesMax', durableKeyBytesMax, tooLarge);
      if (payload !== undefined && payload.length > storeRowBytesMax)
        return exceeds('storeRowBytesMax', storeRowBytesMax, tooLarge);
    }
    return undefined;
  }

  #addJoint(
    joint: NonNullable<Extract<StoreRequest, { kind: 'commit' }>['joint']>,
    part: CommitPart,
    nowMs: number,
  ): void {
    const partition = this.#callers.get(part.caller);
    if (partition === undefined) {
      this.#refuse(part.caller, part.request, {
        code: 'internal',
        message: 'only partitions have parts of transactions',
      });
      return;
    }
    this.#waitingBytes += part.bytes;
    this.#follow(this.#joints.add(joint, partition, part, nowMs));
  }

  #follow(decision: JointDecision | undefined): void {
    if (decision === undefined) return;
    const { parts, isRefused, failure } = decision;
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
    this.#waitingBytes -= bytes;
    if (!isRefused) {
      this.#enqueue({ kind: 'commit', parts, bytes });
      return;
    }
    for (const { caller, request } of parts) {
      if (failure === undefined) this.#reply(caller, { kind: 'abandoned', request });
      else this.#refuse(caller, request, failure);
    }
  }

  #enqueue(work: Work): void {
    this.#queue.push(work);
    this.#waitingBytes += work.bytes;
  }

  /** The commits that come first in the queue, as many as one transaction of the disk shall have. */
  #takeGroup(): Extract<Work, { kind: 'commit' }>[] {
    const group: Extract<Work, { kind: 'commit' }>[] = [];
    let bytes = 0;
    for (const work of this.#queue) {
      if (work.kind !== 'commit' || (bytes > 0 && bytes + work.bytes > this.#options.limits.storeGroupBytesMax)) break;
      group.push(work);
      bytes += work.bytes;
    }
    this.#queue = this.#queue.slice(group.length);
    this.#waitingBytes -= bytes;
    return group;
  }

  #commit(group: readonly Extract<Work, { kind: 'commit' }>[], nowMs: number): void {
    const backend = this.#backend;
    if (this.#state.kind === 'unavailable' || backend === undefined) {
      this.#refuseGroup(group);
      return;
    }
    const first = backend.lastVersion + 1;
    const commits = group.map(({ parts }, at) => parts.flatMap(({ writes }) => toChanges(writes, first + at)));
    const report = { commits: group.length, bytes: group.reduce((sum, { bytes }) => sum + bytes, 0) };
    try {
      backend.commit(commits.flat(), first + group.length - 1);
    } catch (error) {
      // Whatever else it is leaves open what is stored: the thread ends, and callers learn just that.
      if (!(error instanceof StorageError)) throw error;
      this.#options.onGroup?.({ ...report, isStored: false });
      this.#fail(error, nowMs);
      this.#refuseGroup(group);
      return;
    }
    this.#options.onVersion?.(backend.lastVersion);
    this.#retryMs = retryMinMs;
    for (const [at, { parts }] of group.entries()) {
      for (const { caller, request } of parts) this.#reply(caller, { kind: 'committed', request, version: first + at });
    }
    for (const [at, changes] of commits.entries()) this.#feed?.note(changes, first + at);
    this.#options.onGroup?.({ ...report, isStored: true });
  }

  /** Returns how many bytes were read. */
  #load(caller: number, { request, table, from, to }: LoadRequest, nowMs: number): number {
    const { storeReadBytesMax: bytesMax } = this.#options.limits;
    try {
      if (this.#backend === undefined) {
        this.#refuse(caller, request, this.#unavailable());
        return 0;
      }
      const { rows, next } = this.#backend.read({ table, from, to, bytesMax });
      this.#reply(caller, { kind: 'loaded', request, rows, next });
      return rows.reduce((sum, { key, payload }) => sum + key.length + payload.length, 0);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#fail(error, nowMs);
      this.#refuse(caller, request, this.#unavailable());
      return 0;
    }
  }

  /** Returns how many bytes were handed out. */
  #backUp(caller: number, asked: BackupRequest, nowMs: number): number {
    const { request } = asked;
    try {
      const outcome = this.#carryOutBackup(asked, nowMs);
      if ('code' in outcome) this.#refuse(caller, request, outcome);
      else this.#reply(caller, { kind: 'backup', request, ...outcome });
      return 'code' in outcome ? 0 : (outcome.part?.length ?? 0);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      this.#backups.close();
      this.#fail(error, nowMs);
      this.#refuse(caller, request, this.#unavailable());
      return 0;
    }
  }

  #carryOutBackup(asked: BackupRequest, nowMs: number): BackupPart | Failure {
    switch (asked.kind) {
      case 'beginBackup':
        if (this.#backend === undefined) return this.#unavailable();
        return this.#backups.begin(this.#backend, asked.origin, nowMs);
      case 'readBackup':
        return this.#backups.read(asked.backup, nowMs);
      case 'endBackup':
        this.#backups.end(asked.backup);
        return { backup: asked.backup, part: undefined };
      default:
        return asked satisfies never;
    }
  }

  #refuseGroup(group: readonly Extract<Work, { kind: 'commit' }>[]): void {
    const failure = this.#unavailable();
    for (const { parts } of group) for (const { caller, request } of parts) this.#refuse(caller, request, failure);
  }

  #unavailable(): Failure {
    const why = this.#state.kind === 'unavailable' ? `: ${this.#state.message}` : '';
    return {
      code: 'storage_unavailable',
      message: `nothing can be stored at present${why}`,
      retryAfterMs: this.#retryMs,
    };
  }

  #fail({ fault, message }: StorageError, nowMs: number): void {
    const sinceMs = this.#state.kind === 'unavailable' ? this.#state.sinceMs : nowMs;
    this.#setState({ kind: 'unavailable', fault, message, sinceMs, isReadable: this.#backend !== undefined });
    this.#mustReopen = fault === 'damaged' || fault === 'missing' || fault === 'read_only';
    this.#retryAtMs = nowMs + this.#retryMs;
    this.#retryMs = Math.min(this.#options.limits.storeRetryMaxMs, this.#retryMs * 2);
  }

  /** Opens what is not open, and stores something: only that shows that it can be done again. */
  #tryToRecover(nowMs: number): void {
    try {
      if (this.#backend === undefined || this.#mustReopen) this.#backend = this.#options.openBackend(this.#backend);
      this.#mustReopen = false;
      this.#feed ??= this.#createFeed(this.#backend.lastVersion);
      this.#options.onVersion?.(this.#backend.lastVersion);
      this.#backend.commit([], this.#backend.lastVersion);
    } catch (error) {
      if (!(error instanceof StorageError)) throw error;
      if (this.#backend?.isOpen === false) this.#backend = undefined;
      this.#fail(error, nowMs);
      return;
    }
    // How soon it is tried again is up to the next commit: it may need more room than this.
    this.#setState({ kind: 'available' });
  }

  #createFeed(version: number): ChangeFeed {
    const { limits } = this.#options;
    const tell = (caller: number, news: StoreNews): void => {
      this.#options.reply(caller, [news]);
    };
    return new ChangeFeed({ limits, tell, version });
  }

  #setState(state: StoreState): void {
    this.#state = state;
    this.#options.onState(state);
  }

  #refuse(caller: number, request: number, failure: Failure): void {
    this.#reply(caller, { kind: 'refused', request, failure });
  }

  #reply(caller: number, reply: StoreReply | BackupReply): void {
    if (!this.#callers.has(caller)) return;
    const replies = this.#replies.get(caller);
    if (replies === undefined) this.#replies.set(caller, [reply]);
    else replies.push(reply);
  }

  #sendReplies(): void {
    for (const [caller, replies] of this.#replies) this.#options.reply(caller, replies);
    this.#replies.clear();
  }
}

function bytesOf({ key, payload }: DurableWrite): number {
  return key.length + (payload?.length ?? 0);
}

const tooLarge = 'a row is too large';

function exceeds(limit: string, max: number, message: string): Failure {
  return { code: 'limit_exceeded', message: `${message}: ${limit} is ${max}`, limit, max };
}

function toChanges(writes: readonly DurableWrite[], version: number): RowChange[] {
  return writes.map(({ table, key, payload, createVersion }) => ({
    table,
    key,
    row:
      payload === undefined
        ? undefined
        : { payload, createVersion: createVersion === 0 ? version : createVersion, modifyVersion: version },
  }));
}
