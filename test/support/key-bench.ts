import type { DurableRow, DurableTable, DurableWrite, StoreReply, StoreRequest } from '../../src/durable/commits.ts';
import { KeyDomain } from '../../src/keys/key-domain.ts';
import type { KeyLimits } from '../../src/keys/key-domain.ts';
import type { KeyListing, KeyOperation, KeyOutcome, LockTerms } from '../../src/keys/key-operations.ts';
import type { Failure } from '../../src/protocol/errors.ts';
import { compareBytes } from '../../src/store/byte-order.ts';

const limits: KeyLimits = {
  keysPerPartitionMax: 1000,
  keyBytesPerPartitionMax: 10_000_000,
  keyRequestsWaitingMax: 1000,
};

/** Rows that outlive partitions, and the requests of a partition's present life that wait to be carried out. */
export class BenchStore {
  readonly #tables: Map<DurableTable, Map<string, DurableRow>> = new Map();
  version = 0;
  /** In the order in which they came. */
  readonly waiting: StoreRequest[] = [];
  failure: Failure | undefined;

  /** Carries out the request that came first. */
  carryOut(): StoreReply | undefined {
    const request = this.waiting.shift();
    if (request === undefined) return undefined;
    if (this.failure !== undefined) return { kind: 'refused', request: request.request, failure: this.failure };
    if (request.kind === 'load') {
      const { from, to, table } = request;
      const rows = [...this.#rows(table).values()]
        .filter(({ key }) => compareBytes(key, from) >= 0 && compareBytes(key, to) < 0)
        .sort((a, b) => compareBytes(a.key, b.key));
      // Two at a time, so that parts are continued.
      return { kind: 'loaded', request: request.request, rows: rows.slice(0, 2), next: rows[2]?.key };
    }
    if (request.kind !== 'commit') throw new Error(`partitions do not ask for this: ${request.kind}`);
    if (request.joint?.isRefused === true) return { kind: 'abandoned', request: request.request };
    this.version += 1;
    for (const write of request.writes) this.#write(write);
    return { kind: 'committed', request: request.request, version: this.version };
  }

  keys(table: DurableTable): string[] {
    return [...this.#rows(table).keys()];
  }

  #write({ table, key, payload, createVersion }: DurableWrite): void {
    const rows = this.#rows(table);
    if (payload === undefined) rows.delete(key);
    else {
      rows.set(key, { key, payload, createVersion: createVersion || this.version, modifyVersion: this.version });
    }
  }

  #rows(table: DurableTable): Map<string, DurableRow> {
    const rows = this.#tables.get(table) ?? new Map<string, DurableRow>();
    this.#tables.set(table, rows);
    return rows;
  }
}

/** A domain that owns all slots, its store, and what it has answered. */
export class KeyBench {
  readonly store: BenchStore;
  domain: KeyDomain;
  readonly answers: Map<number, KeyOutcome> = new Map();
  nowMs = 0;
  readonly #bounds: Partial<KeyLimits>;
  #requests = 0;

  constructor(bounds: Partial<KeyLimits> = {}, store: BenchStore = new BenchStore()) {
    this.#bounds = bounds;
    this.store = store;
    this.domain = this.#begin();
    this.settle();
  }

  /** The partition dies; its next life loads what is stored. What the one before had asked the store for, and has not been taken by then, is never carried out. */
  restart(): void {
    this.store.waiting.length = 0;
    this.domain = this.#begin();
  }

  submit(operations: readonly KeyOperation[], holder = '', joint?: number): number {
    const asker = this.#ask();
    const share = joint === undefined ? {} : { joint: { id: joint, partitions: [0, 1] } };
    this.domain.transact({ asker, operations, holder, ...share }, this.nowMs);
    return asker.request;
  }

  /** Carries operations out, and everything that is under way. */
  run(operations: readonly KeyOperation[], holder = ''): KeyOutcome {
    const request = this.submit(operations, holder);
    this.settle();
    return this.answer(request);
  }

  put(key: string, value: string, more: Partial<Extract<KeyOperation, { kind: 'put' }>> = {}, holder = ''): KeyOutcome {
    return this.run([{ kind: 'put', key, value: encode(value), flags: '0', ...more }], holder);
  }

  acquire(key: string, holder: string, terms: Partial<LockTerms> = {}): KeyOutcome {
    return this.put(key, holder, { acquire: { onEnd: 'release', lockDelayMs: 0, ...terms } }, holder);
  }

  list(listing: Partial<Omit<KeyListing, 'asker'>>): KeyOutcome {
    const asker = this.#ask();
    this.domain.list(
      { prefix: '', after: '', limit: 1000, separator: '', isKeysOnly: true, ...listing, asker },
      this.nowMs,
    );
    this.settle();
    return this.answer(asker.request);
  }

  deletePrefix(prefix: string): KeyOutcome {
    const asker = this.#ask();
    this.domain.deletePrefix({ asker, prefix }, this.nowMs);
    this.settle();
    return this.answer(asker.request);
  }

  answer(request: number): KeyOutcome {
    const answer = this.answers.get(request);
    if (answer === undefined) throw new Error(`request ${request} has not been answered`);
    return answer;
  }

  /** The store carries out one request; false: there is none. */
  step(): boolean {
    const reply = this.store.carryOut();
    if (reply !== undefined) this.domain.handleReply(reply, this.nowMs);
    return reply !== undefined;
  }

  settle(): void {
    while (this.step());
  }

  pass(ms: number): void {
    this.nowMs += ms;
    this.domain.tick(this.nowMs);
  }

  #begin(): KeyDomain {
    const domain = new KeyDomain({
      limits: { ...limits, ...this.#bounds },
      ask: (request) => {
        this.store.waiting.push(request);
      },
      answer: ({ request }, outcome) => {
        if (this.domain === domain) this.answers.set(request, outcome);
      },
      spend: () => undefined,
    });
    domain.begin(Array.from({ length: 16_384 }, (_, slot) => slot));
    domain.connectStore(this.nowMs);
    return domain;
  }

  #ask(): { host: number; request: number } {
    this.#requests += 1;
    return { host: 0, request: this.#requests };
  }
}

export function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}
