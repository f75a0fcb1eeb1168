import { lowestOf } from '../protocol/extremes.ts';

/** How many sessions there are, in all and by address of the peer. */
export interface SessionCounts {
  readonly total: number;
  /** Never fewer than there are. */
  ofAddress(address: string): number;
  enter(address: string): void;
  leave(address: string): void;
}

/** The counts of one thread. */
export class LocalSessionCounts implements SessionCounts {
  readonly #byAddress: Map<string, number> = new Map();
  total = 0;

  ofAddress(address: string): number {
    return this.#byAddress.get(address) ?? 0;
  }

  enter(address: string): void {
    this.total += 1;
    this.#byAddress.set(address, this.ofAddress(address) + 1);
  }

  leave(address: string): void {
    this.total -= 1;
    const left = this.ofAddress(address) - 1;
    if (left > 0) this.#byAddress.set(address, left);
    else this.#byAddress.delete(address);
  }
}

/** Counters in a row of the table; a power of two. */
const rowLength = 65_536;
/** Count-min sketch: one row for each of these independent hashes; the minimum over the rows is an upper bound. */
const seeds = [0x811c_9dc5, 0x9e37_79b9] as const;

export const sessionCountsBytes: number = 4 * (1 + seeds.length * rowLength);

/**
 * The counts of several threads, in memory that they share. Sessions in all are counted exactly. Those of an address are counted in a count-min sketch of two
 * hashes: the minimum is an upper bound, too high only if the address collides with others in both rows.
 */
export class SharedSessionCounts implements SessionCounts {
  readonly #counts: Int32Array;

  /** `memory`: {@link sessionCountsBytes} of it. */
  constructor(memory: SharedArrayBuffer) {
    this.#counts = new Int32Array(memory);
  }

  get total(): number {
    return Atomics.load(this.#counts, 0);
  }

  ofAddress(address: string): number {
    return lowestOf(placesOf(address).map((place) => Atomics.load(this.#counts, place)));
  }

  enter(address: string): void {
    this.#add(address, 1);
  }

  leave(address: string): void {
    this.#add(address, -1);
  }

  #add(address: string, change: number): void {
    Atomics.add(this.#counts, 0, change);
    for (const place of placesOf(address)) Atomics.add(this.#counts, place, change);
  }
}

function placesOf(address: string): number[] {
  return seeds.map((seed, row) => 1 + row * rowLength + (hash(address, seed) & (rowLength - 1)));
}

/** FNV-1a, with its high bits folded in. */
function hash(text: string, seed: number): number {
  let state = seed;
  for (let i = 0; i < text.length; i++) state = Math.imul(state ^ text.charCodeAt(i), 0x0100_0193);
  return state ^ (state >>> 16);
}
