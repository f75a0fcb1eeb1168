import { closeSync, openSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';

/** Bytes of memory that threads share: how many sessions more may come, as one 32-bit word. */
export const descriptorBudgetBytes = 4;

/** Sessions that the process has descriptors for, apart from what is kept back; counted down by whichever thread lets one in, and set right now and then. */
export class DescriptorBudget {
  readonly #left: Int32Array;

  constructor(memory: SharedArrayBuffer) {
    this.#left = new Int32Array(memory);
  }

  get isSpent(): boolean {
    return Atomics.load(this.#left, 0) <= 0;
  }

  take(): void {
    Atomics.sub(this.#left, 0, 1);
  }

  giveBack(): void {
    Atomics.add(this.#left, 0, 1);
  }

  set(left: number): void {
    Atomics.store(this.#left, 0, Math.max(0, Math.min(left, 0x7fff_ffff)));
  }
}

export interface DescriptorsOptions {
  readonly budget: DescriptorBudget;
  /** Descriptors that sessions leave to others: to callers over HTTP, an operator among them. */
  readonly reserved: number;
}

/** What a thread needs to start, and somewhat more: an event loop has 3 or 4, and modules that are imported together are read together. */
const healingDescriptors = 64;
/** Of a process with few, this is the most that is kept back for one purpose. */
const reservedShare = 8;
/** How often descriptors are counted, in milliseconds: seldom while most are free. */
const countMs = 500;
const countSeldomMs = 5000;

/**
 * The file descriptors of the process. Each session and each HTTP connection needs one, and a partition that died cannot restart without some: so some are
 * reserved for that, and released while a thread starts; sessions are admitted only while others are left.
 */
export class Descriptors {
  readonly #options: DescriptorsOptions;
  readonly #max: number;
  readonly #held: number[] = [];
  #starts = 0;
  #countAtMs = 0;
  #isCounting = false;

  constructor(options: DescriptorsOptions) {
    this.#options = options;
    this.#max = readDescriptorsMax();
    options.budget.set(0x7fff_ffff);
  }

  /** Holds what healing needs, and counts the rest. */
  async open(): Promise<void> {
    this.#hold();
    await this.#count();
  }

  close(): void {
    for (const descriptor of this.#held.splice(0)) closeSync(descriptor);
    this.#starts = Number.POSITIVE_INFINITY;
  }

  /** Runs something that needs descriptors, with the reserved ones released. */
  async lend<T>(run: () => Promise<T>): Promise<T> {
    this.#starts += 1;
    for (const descriptor of this.#held.splice(0)) closeSync(descriptor);
    try {
      return await run();
    } finally {
      this.#starts -= 1;
      this.#hold();
    }
  }

  /** Whether this many more could be opened without the reserved ones. */
  hasRoom(count: number): boolean {
    const opened: number[] = [];
    for (let descriptor = tryOpen(); descriptor !== undefined; descriptor = tryOpen()) {
      if (opened.push(descriptor) === count) break;
    }
    for (const descriptor of opened) closeSync(descriptor);
    return opened.length === count;
  }

  tick(nowMs: number): void {
    if (nowMs < this.#countAtMs || this.#isCounting) return;
    this.#hold();
    void this.#count().then((free) => {
      this.#countAtMs = nowMs + (free * 2 > this.#max ? countSeldomMs : countMs);
    });
  }

  /** Descriptors that others took meanwhile are reserved again as soon as they are free. */
  #hold(): void {
    if (this.#max === Number.POSITIVE_INFINITY) return;
    const wanted = Math.min(healingDescriptors, Math.floor(this.#max / reservedShare));
    while (this.#starts === 0 && this.#held.length < wanted) {
      const descriptor = tryOpen();
      if (descriptor === undefined) return;
      this.#held.push(descriptor);
    }
  }

  /** Returns how many are free. */
  async #count(): Promise<number> {
    if (this.#max === Number.POSITIVE_INFINITY) return this.#max;
    this.#isCounting = true;
    const used = await readdir('/proc/self/fd').then(
      ({ length }) => length,
      // It takes one to count them.
      () => this.#max,
    );
    this.#isCounting = false;
    const reserved = Math.min(this.#options.reserved, Math.floor(this.#max / reservedShare));
    this.#options.budget.set(this.#max - used - reserved);
    return this.#max - used;
  }
}

function tryOpen(): number | undefined {
  try {
    return openSync('/dev/null', 'r');
  } catch (error) {
    if (isDescriptorShortage(error)) return undefined;
    throw error;
  }
}

/** Whether something failed because there were no file descriptors; what threads report has only a message. */
export function isDescriptorShortage(error: unknown): boolean {
  return (
    error instanceof Error &&
    /\b(EMFILE|ENFILE)\b/.test(`${(error as NodeJS.ErrnoException).code ?? ''} ${error.message}`)
  );
}

/** As `ulimit -n` says; endless where there is no such file. */
function readDescriptorsMax(): number {
  try {
    const [, max] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
    return max === undefined ? Number.POSITIVE_INFINITY : Number(max);
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
