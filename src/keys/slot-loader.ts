import type { DurableRow, DurableTable, StoreRequest } from '../durable/commits.ts';
import type { Failure } from '../protocol/errors.ts';
import { slotCount } from '../slots/slot.ts';
import { endOfSlot, startOfSlot } from './key-row.ts';

/** Slots from one to another, both included, and the life of each in which they are loaded. */
interface SlotRange {
  readonly first: number;
  readonly last: number;
  readonly life: number;
}

export interface SlotLoaderOptions {
  readonly ask: (request: StoreRequest) => void;
  readonly nextRequest: () => number;
  /** A row of a slot that is being loaded. */
  readonly take: (table: DurableTable, slot: number, row: DurableRow) => void;
  /** Some slots are loaded. */
  readonly onLoaded: () => void;
}

const loadedTables = ['keys', 'lockDelays'] as const satisfies readonly DurableTable[];
/** How long until a store that could not be read is asked again, in milliseconds. */
const retryMs = 500;

/** Which slots a partition has, and which of them hold what the store holds of them: they are loaded range by range, each table in parts. */
export class SlotLoader {
  readonly #options: SlotLoaderOptions;
  /** 0: not this partition's. Rises each time that a slot is begun: what was asked for before then is not its content. */
  readonly #lives: Uint32Array = new Uint32Array(slotCount);
  readonly #isLoaded: Uint8Array = new Uint8Array(slotCount);
  #life = 0;
  /** Owned, and not loaded. */
  #missing = 0;
  #ranges: SlotRange[] = [];
  #table = 0;
  /** Where the part in flight begins. */
  #from = '';
  /** The part in flight; 0: none. */
  #request = 0;
  #failure: Failure | undefined;
  #retryAtMs: number | undefined;
  #isConnected = false;

  constructor(options: SlotLoaderOptions) {
    this.#options = options;
  }

  isOwned(slot: number): boolean {
    return this.#lives[slot] !== 0;
  }

  isLoaded(slot: number): boolean {
    return this.#isLoaded[slot] === 1;
  }

  /** Whether all slots that are this partition's are loaded. */
  get isComplete(): boolean {
    return this.#missing === 0;
  }

  /** Why slots could not be loaded when that was tried last. */
  get failure(): Failure | undefined {
    return this.#failure;
  }

  nextDueAt(): number | undefined {
    return this.#retryAtMs;
  }

  /** They are this partition's, and what is held of them, if anything, is not to be relied on. In order. */
  begin(slots: Iterable<number>): void {
    this.#life += 1;
    const life = this.#life;
    let range: { first: number; last: number; life: number } | undefined;
    for (const slot of slots) {
      if (this.#lives[slot] === 0 || this.#isLoaded[slot] === 1) this.#missing += 1;
      this.#lives[slot] = life;
      this.#isLoaded[slot] = 0;
      if (range?.last === slot - 1) range.last = slot;
      else {
        range = { first: slot, last: slot, life };
        this.#ranges.push(range);
      }
    }
    this.#proceed();
  }

  lose(slots: Iterable<number>): void {
    for (const slot of slots) {
      if (this.#lives[slot] !== 0 && this.#isLoaded[slot] === 0) this.#missing -= 1;
      this.#lives[slot] = 0;
      this.#isLoaded[slot] = 0;
    }
  }

  /** There is a store, or another one: what the one before was asked for has no answer. */
  connect(): void {
    this.#isConnected = true;
    this.#request = 0;
    this.#failure = undefined;
    this.#retryAtMs = undefined;
    // What was read of the range may be older than what is there now.
    this.#from = '';
    this.#table = 0;
    this.#proceed();
  }

  /** `failure`: what is answered to those who need what is not loaded. */
  disconnect(failure: Failure): void {
    this.#isConnected = false;
    this.#request = 0;
    this.#failure = failure;
  }

  tick(nowMs: number): void {
    if (this.#retryAtMs === undefined || nowMs < this.#retryAtMs) return;
    this.#retryAtMs = undefined;
    this.#proceed();
  }

  /** Whether an answer is to this. */
  isWaitingFor(request: number): boolean {
    return request === this.#request;
  }

  refuse(failure: Failure, nowMs: number): void {
    this.#request = 0;
    this.#failure = failure;
    this.#retryAtMs = nowMs + retryMs;
  }

  loaded(rows: readonly DurableRow[], next: string | undefined): void {
    const range = this.#ranges[0];
    if (range === undefined) throw new Error('slots that nobody asked for');
    this.#request = 0;
    this.#failure = undefined;
    const table = loadedTables[this.#table]!;
    for (const row of rows) {
      const slot = Number(row.key.slice(0, row.key.indexOf('/')));
      if (this.#lives[slot] === range.life) this.#options.take(table, slot, row);
    }
    if (next !== undefined) this.#from = next;
    else {
      this.#from = '';
      this.#table += 1;
      if (this.#table === loadedTables.length) this.#finish(range);
    }
    this.#proceed();
  }

  #finish({ first, last, life }: SlotRange): void {
    this.#ranges.shift();
    this.#table = 0;
    for (let slot = first; slot <= last; slot++) {
      if (this.#lives[slot] !== life || this.#isLoaded[slot] === 1) continue;
      this.#isLoaded[slot] = 1;
      this.#missing -= 1;
    }
    this.#options.onLoaded();
  }

  #proceed(): void {
    const [range] = this.#ranges;
    if (range === undefined || !this.#isConnected || this.#request !== 0 || this.#retryAtMs !== undefined) return;
    this.#request = this.#options.nextRequest();
    const from = this.#from === '' ? startOfSlot(range.first) : this.#from;
    const table = loadedTables[this.#table]!;
    this.#options.ask({ kind: 'load', request: this.#request, table, from, to: endOfSlot(range.last) });
  }
}
