import type { KeyOperation, KeyOutcome, LockTerms } from '../../src/keys/key-operations.ts';
import type { KeyRow } from '../../src/keys/key-row.ts';
import { slotOf } from '../../src/slots/slot.ts';
import { encode, KeyBench } from './key-bench.ts';
import { isLinearizable } from './linearizability.ts';
import type { KeyCall, KeyEvent, SeenKey } from './linearizability.ts';
import { Random } from './random.ts';

const keys = ['{a}x', '{a}y', 'b'];
const holders = ['one', 'two', 'three'];
/** Calls whose outcome is not known make the search exponential, so a history has only so many. */
const actsMax = 70;
const delayMs = 400;

type Writable<T> = { -readonly [K in keyof T]: T[K] };

interface PendingCall {
  readonly events: Writable<KeyEvent>[];
  readonly operations: readonly KeyOperation[];
}

export interface HistoryTotals {
  events: number;
  unknown: number;
  acquired: number;
  refusedLocks: number;
  deaths: number;
  storeDeaths: number;
  moves: number;
}

/** A seeded history of one partition, its store and its callers, in which both of them die, slots are given away and sessions end. Throws if it cannot be explained. */
class KeyHistory {
  readonly totals: HistoryTotals = {
    events: 0,
    unknown: 0,
    acquired: 0,
    refusedLocks: 0,
    deaths: 0,
    storeDeaths: 0,
    moves: 0,
  };
  readonly #random: Random;
  readonly #bench: KeyBench;
  readonly #events: Map<string, Writable<KeyEvent>[]> = new Map();
  readonly #pending: Map<number, PendingCall> = new Map();
  /** When a key may be acquired by somebody else at the earliest. */
  readonly #lockedUntilMs: Map<string, number> = new Map();
  readonly #sessions: Map<string, string> = new Map(holders.map((name) => [name, name]));
  /** When the session that held it ended, in acts. */
  readonly #endedAt: Map<string, number> = new Map();
  /** What was acquired with a lock delay, and whose session has not ended. */
  readonly #delayed: Map<string, string> = new Map();
  #time = 0;
  #values = 0;
  #begun = 0;

  constructor(seed: number) {
    this.#random = new Random(seed);
    this.#bench = new KeyBench();
    this.#bench.domain.releaseOrphans(0, 0);
  }

  run(): HistoryTotals {
    for (let act = 0; act < actsMax; act++) {
      this.#time += 1;
      this.#act();
      this.#collect();
    }
    this.#bench.settle();
    this.#collect();
    for (const key of keys) this.#call([{ kind: 'get', key }], 'one');
    this.#bench.settle();
    this.#collect();
    for (const [key, events] of this.#events) {
      this.totals.events += events.length;
      if (!isLinearizable(events)) throw new Error(`what was said of ${key} cannot be explained`);
    }
    return this.totals;
  }

  #act(): void {
    const dice = this.#random.below(100);
    const bench = this.#bench;
    if (dice < 46) this.#begin();
    else if (dice < 80) bench.step();
    else if (dice < 86) bench.pass(this.#random.below(delayMs));
    else if (dice < 91) this.#endSession();
    else if (dice < 94) this.#killPartition();
    else if (dice < 97) this.#killStore();
    else this.#move();
  }

  #begin(): void {
    const holder = this.#sessions.get(this.#random.pick(holders))!;
    const key = this.#random.pick(keys);
    const operations = [this.#operation(key)];
    // Two keys that one partition owns.
    if (key === '{a}x' && this.#random.below(3) === 0) operations.push(this.#operation('{a}y'));
    this.#call(operations, holder);
  }

  #operation(key: string): KeyOperation {
    const random = this.#random;
    const ifVersion = random.below(4) === 0 ? random.below(this.#bench.store.version + 1) : undefined;
    const condition = ifVersion === undefined ? {} : { ifVersion };
    switch (random.below(7)) {
      case 0:
      case 1:
        return { kind: 'get', key };
      case 2:
        return { kind: 'delete', key, ...condition };
      case 3:
        return { kind: 'put', key, value: this.#value(), flags: '0', ...condition };
      case 4:
        return { kind: 'put', key, value: this.#value(), flags: '0', release: true };
      default: {
        const acquire: LockTerms = {
          onEnd: random.below(2) === 0 ? 'delete' : 'release',
          lockDelayMs: random.below(2) * delayMs,
        };
        return { kind: 'put', key, value: this.#value(), flags: '0', acquire };
      }
    }
  }

  #value(): string {
    this.#values += 1;
    return encode(String(this.#values));
  }

  #call(operations: readonly KeyOperation[], holder: string): void {
    const events = operations.map((operation) => this.#note(operation.key, holder, toCall(operation)));
    this.#pending.set(this.#bench.submit(operations, holder), { events, operations });
  }

  #note(key: string, holder: string, call: KeyCall): Writable<KeyEvent> {
    // Whoever deletes a key that is held ends the lock without a delay, if that comes before its release.
    if (call.kind === 'delete') this.#lockedUntilMs.delete(key);
    const event = { holder, call, calledAt: this.#time, answeredAt: Infinity, answer: undefined };
    const events = this.#events.get(key) ?? [];
    this.#events.set(key, events);
    events.push(event);
    return event;
  }

  /** Takes the answers that have come. */
  #collect(): void {
    for (const [request, { events, operations }] of this.#pending) {
      const outcome = this.#bench.answers.get(request);
      if (outcome === undefined) continue;
      this.#pending.delete(request);
      for (const [i, event] of events.entries()) {
        // Of several whose conditions did not all hold nothing was done, which says little of each.
        if (outcome.kind === 'unmet' && events.length > 1) this.#drop(operations[i]!.key, event);
        else this.#answer(event, operations[i]!, outcome, i);
      }
    }
  }

  #answer(event: Writable<KeyEvent>, { key }: KeyOperation, outcome: KeyOutcome, index: number): void {
    switch (outcome.kind) {
      case 'done': {
        event.answeredAt = this.#time;
        event.answer = { kind: 'done', seen: toSeen(outcome.rows[index]) };
        if (event.call.kind === 'put' && event.call.lock === 'acquire')
          this.#noteAcquired(key, event, outcome.rows[index]!);
        return;
      }
      case 'unmet': {
        const { reason } = outcome.unmet[0]!;
        if (reason !== 'version') this.totals.refusedLocks += 1;
        event.answeredAt = this.#time;
        event.answer = { kind: 'unmet', reason };
        return;
      }
      case 'refused':
        // A read that fails says nothing; a change that was refused, but for the one code, was not carried out.
        if (outcome.failure.code === 'internal' && event.call.kind !== 'get') this.totals.unknown += 1;
        else this.#drop(key, event);
        return;
      case 'moved':
        this.#drop(key, event);
        return;
      default:
        throw new Error(`not an answer to a transaction: ${outcome.kind}`);
    }
  }

  #noteAcquired(key: string, { holder, calledAt }: KeyEvent, { lockDelayMs }: KeyRow): void {
    this.totals.acquired += 1;
    const until = this.#lockedUntilMs.get(key);
    // Whoever acquired it before the other's session ended says nothing of the delay.
    if (until !== undefined && this.#bench.nowMs < until && calledAt >= (this.#endedAt.get(key) ?? 0)) {
      throw new Error(`${key} was acquired ${until - this.#bench.nowMs} ms before its lock delay was over`);
    }
    if (lockDelayMs > 0) this.#delayed.set(key, holder);
    else this.#delayed.delete(key);
  }

  #drop(key: string, event: KeyEvent): void {
    const events = this.#events.get(key)!;
    events.splice(events.indexOf(event), 1);
  }

  #endSession(): void {
    const name = this.#random.pick(holders);
    const holder = this.#sessions.get(name)!;
    this.#begun += 1;
    this.#sessions.set(name, `${name}${this.#begun}`);
    for (const key of keys) {
      this.#note(key, holder, { kind: 'end' });
      const row = this.#rowOf(key);
      // It holds the key for certain, by what is committed, with nobody about to change that.
      if (this.#delayed.get(key) === holder && row?.holder === holder && this.#isQuiet(key)) {
        this.#lockedUntilMs.set(key, this.#bench.nowMs + row.lockDelayMs);
        this.#endedAt.set(key, this.#time);
      }
    }
    this.#bench.domain.endHolder(holder, this.#bench.nowMs);
  }

  #isQuiet(key: string): boolean {
    return this.#bench.domain.isDrained(new Set([slotOf(key)]));
  }

  #rowOf(key: string): KeyRow | undefined {
    return [...this.#bench.domain.rows()].find((row) => row.key === key);
  }

  #killPartition(): void {
    this.totals.deaths += 1;
    // Some of what it had asked for has reached the store.
    for (let n = this.#random.below(3); n > 0; n--) this.#bench.store.carryOut();
    for (const [request, { events, operations }] of this.#pending) {
      this.#pending.delete(request);
      for (const [i, event] of events.entries()) {
        if (event.call.kind === 'get') this.#drop(operations[i]!.key, event);
        else this.totals.unknown += 1;
      }
    }
    this.#bench.restart();
    for (const holder of this.#sessions.values()) this.#bench.domain.vouch(holder, 0);
    this.#bench.domain.releaseOrphans(0, this.#bench.nowMs);
  }

  #killStore(): void {
    this.totals.storeDeaths += 1;
    const { domain, store, nowMs } = this.#bench;
    for (let n = this.#random.below(3); n > 0; n--) store.carryOut();
    store.waiting.length = 0;
    domain.disconnectStore(nowMs);
    this.#collect();
    domain.connectStore(nowMs);
  }

  /** A slot goes, and comes back from the store, with the sessions that the one before knew. */
  #move(): void {
    const slots = new Set([slotOf(this.#random.pick(keys))]);
    const { domain } = this.#bench;
    for (let steps = 0; !domain.isDrained(slots); steps++) {
      if (!this.#bench.step() || steps > 1000) return;
    }
    this.totals.moves += 1;
    this.#collect();
    const alive = domain.prepareToLose(slots);
    domain.lose(slots);
    this.#collect();
    for (const [holder, host] of alive) domain.vouch(holder, host);
    domain.begin(slots);
  }
}

function toSeen(row: KeyRow | undefined): SeenKey {
  return row === undefined ? undefined : { value: row.value, version: row.modifyVersion, holder: row.holder };
}

function toCall(operation: KeyOperation): KeyCall {
  switch (operation.kind) {
    case 'put': {
      const { value, ifVersion, acquire, release } = operation;
      return {
        kind: 'put',
        value,
        ifVersion,
        lock: acquire === undefined ? (release === true ? 'release' : undefined) : 'acquire',
        ...(acquire === undefined ? {} : { onEnd: acquire.onEnd }),
      };
    }
    case 'delete':
      return { kind: 'delete', ifVersion: operation.ifVersion };
    case 'get':
    case 'check':
      return { kind: 'get' };
    default:
      return operation satisfies never;
  }
}

/** Runs histories, each from its seed; says which seed failed. */
export function runKeyHistories(seeds: readonly number[]): HistoryTotals {
  const total: HistoryTotals = {
    events: 0,
    unknown: 0,
    acquired: 0,
    refusedLocks: 0,
    deaths: 0,
    storeDeaths: 0,
    moves: 0,
  };
  for (const seed of seeds) {
    let totals: HistoryTotals;
    try {
      totals = new KeyHistory(seed).run();
    } catch (error) {
      throw new Error(`history ${seed}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
    for (const name of Object.keys(total) as (keyof HistoryTotals)[]) total[name] += totals[name];
  }
  return total;
}
