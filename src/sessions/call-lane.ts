import type { Failure } from '../protocol/errors.ts';

/**
 * What a call is to those that come after it: a query and a subscription fetch a list of a service, or a query a key; `list` and `registrations` a page of services and of what the
 * session has registered, `keys` several keys; a change concerns one service or key. One that is persistent takes longer, since the main thread stores it first: whatever
 * comes after it and concerns the same service waits for it, but for others of its kind.
 */
export type CallKind =
  | 'query'
  | 'subscription'
  | 'list'
  | 'registrations'
  | 'keys'
  | 'change'
  | 'persistentChange'
  | 'other';
export type ReadKind = Exclude<CallKind, 'change' | 'persistentChange' | 'other'>;

/** An answer that is larger than what is fetched unasked. */
interface LargeRead {
  readonly characters: number;
  readonly grant: () => void;
  readonly refuse: (failure: Failure) => void;
  /** Why it can never be taken. */
  readonly judge: () => Failure | undefined;
}

interface WaitingCall {
  readonly kind: CallKind;
  readonly key: string;
  /** It changes something that outlives the connection: the client may rely on it once it has closed that in order. */
  readonly isLasting: boolean;
  readonly run: () => void;
  readonly refuse: (failure: Failure) => void;
}

export interface CallLaneOptions {
  /** Characters that an answer may have without further ado. */
  readonly smallCharacters: number;
  /** What a session may owe when a large answer is fetched for it, that one included, in bytes. */
  readonly owedBytesMax: number;
  readonly readOwedBytes: () => number;
}

/** Reads of one session in flight: with small answers, they amount to no more than one large one. */
const readsMax = 64;

const connectionGone: Failure = { code: 'internal', message: 'the connection has gone' };

/**
 * The calls of one session that fetch lists, and those that must not overtake them. A limited number may be in flight, and of those with large answers one, which is
 * fetched when the client has read enough of what it was sent. Calls about a service wait for its reads, other calls for those before them that wait: so all are
 * carried out in their order, and who asks for much waits for it alone.
 */
export class CallLane {
  readonly #options: CallLaneOptions;
  /** Queries and subscriptions in flight, by service. */
  readonly #queries: Map<string, number> = new Map();
  readonly #subscriptions: Map<string, number> = new Map();
  /** Persistent changes in flight, by service. */
  readonly #changes: Map<string, number> = new Map();
  #underWay = 0;
  /** A page of what the session has registered costs as much as all that it has, and one of keys may have all that a page can hold: of each of those, one is in flight. */
  readonly #single: Set<ReadKind> = new Set();
  #waiting: WaitingCall[] = [];
  #next = 0;
  readonly #large: LargeRead[] = [];
  #isLargeUnderWay = false;

  constructor(options: CallLaneOptions) {
    this.#options = options;
  }

  get smallCharacters(): number {
    return this.#options.smallCharacters;
  }

  /** Nothing is in flight that somebody would have to wait for. */
  get isIdle(): boolean {
    return this.#underWay === 0 && this.#changes.size === 0 && this.#next >= this.#waiting.length;
  }

  /** Runs a call, now or when its turn comes. */
  submit(call: WaitingCall): void {
    if (this.#next < this.#waiting.length || !this.#mayRun(call)) this.#waiting.push(call);
    else call.run();
  }

  /** A read is sent to its partition. While it waits for a slot, or for others to come back after a restart, it keeps nobody. */
  begin(kind: ReadKind, key: string): void {
    this.#underWay += 1;
    if (isSingle(kind)) this.#single.add(kind);
    countUp(this.#countsOf(kind), key);
  }

  /** A persistent change is sent to the main thread. */
  beginChange(key: string): void {
    countUp(this.#changes, key);
  }

  /** A persistent change has its answer. */
  endChange(key: string): void {
    countDown(this.#changes, key);
    this.poke();
  }

  /** A read has its answer. */
  end(kind: ReadKind, key: string, wasLarge: boolean): void {
    this.#underWay -= 1;
    this.#single.delete(kind);
    if (wasLarge) this.#isLargeUnderWay = false;
    countDown(this.#countsOf(kind), key);
    this.poke();
  }

  /** A large read has to ask for even more. */
  endLarge(): void {
    this.#isLargeUnderWay = false;
  }

  /** The answer to a read is large: it is fetched, or refused, in its turn. */
  waitForRoom(read: LargeRead): void {
    this.#large.push(read);
    this.poke();
  }

  /** Something may continue. */
  poke(): void {
    while (!this.#isLargeUnderWay && this.#large.length > 0) {
      const read = this.#large[0]!;
      const failure = read.judge();
      const owed = this.#options.readOwedBytes();
      if (failure === undefined && owed > 0 && owed + read.characters > this.#options.owedBytesMax) break;
      this.#large.shift();
      if (failure === undefined) {
        this.#isLargeUnderWay = true;
        read.grant();
      } else read.refuse(failure);
    }
    while (this.#next < this.#waiting.length && this.#mayRun(this.#waiting[this.#next]!)) {
      const call = this.#waiting[this.#next]!;
      this.#next += 1;
      call.run();
    }
    if (this.#next * 2 < this.#waiting.length) return;
    this.#waiting = this.#waiting.slice(this.#next);
    this.#next = 0;
  }

  /**
   * The connection has gone. Changes that wait are carried out if it was closed in order, since they were asked for before that: a key that is released, for example, be it by a
   * transaction. Nothing else that waits is.
   */
  close(isClean: boolean): void {
    const waiting = this.#waiting.slice(this.#next);
    this.#waiting = [];
    this.#next = 0;
    for (const read of this.#large.splice(0)) read.refuse(connectionGone);
    for (const call of waiting) {
      if (isClean && call.isLasting) call.run();
      else call.refuse(connectionGone);
    }
  }

  #mayRun({ kind, key }: WaitingCall): boolean {
    if (isRead(kind) && this.#underWay >= readsMax) return false;
    if (isSingle(kind)) return !this.#single.has(kind);
    if (kind === 'list' || kind === 'other') return true;
    if (kind !== 'persistentChange' && this.#changes.size > 0 && this.#changes.has(key)) return false;
    if (this.#subscriptions.size > 0 && this.#subscriptions.has(key)) return false;
    return kind === 'query' || this.#queries.size === 0 || !this.#queries.has(key);
  }

  #countsOf(kind: ReadKind): Map<string, number> | undefined {
    if (kind === 'query') return this.#queries;
    return kind === 'subscription' ? this.#subscriptions : undefined;
  }
}

function isSingle(kind: CallKind): kind is 'registrations' | 'keys' {
  return kind === 'registrations' || kind === 'keys';
}

function isChange(kind: CallKind): kind is 'change' | 'persistentChange' {
  return kind === 'change' || kind === 'persistentChange';
}

function isRead(kind: CallKind): kind is ReadKind {
  return !isChange(kind) && kind !== 'other';
}

function countUp(counts: Map<string, number> | undefined, key: string): void {
  counts?.set(key, (counts.get(key) ?? 0) + 1);
}

function countDown(counts: Map<string, number> | undefined, key: string): void {
  const left = (counts?.get(key) ?? 0) - 1;
  if (left > 0) counts?.set(key, left);
  else counts?.delete(key);
}
