import type { Failure } from '../protocol/errors.ts';
import { slotCount, slotOf } from '../slots/slot.ts';

/** Something to be done once a slot is open again. */
interface Waiting {
  /** -1: it concerns every slot. */
  readonly slot: number;
  readonly run: () => void;
  /** Undefined: it must be done, however long it takes. */
  readonly refuse: ((failure: Failure) => void) | undefined;
  readonly deadlineMs: number;
}

export interface SlotGateOptions {
  readonly waitingMax: number;
  readonly waitTimeoutMs: number;
  readonly nowMs: number;
}

/**
 * Keeps requests for slots that move or are being rebuilt until they are open again, in order, bounded in number and in time (SL3, RE3). A slot may be
 * shut for more than one reason at a time, and opens with the last.
 */
export class SlotGate {
  readonly #options: SlotGateOptions;
  readonly #shut: Uint8Array = new Uint8Array(slotCount);
  #shutCount = 0;
  #waiting: Waiting[] = [];
  #refusable = 0;
  #nowMs: number;
  #longestShutMs = 0;
  /** Of slots that are open again, added up. */
  #shutMs = 0;
  readonly #shutSince: Map<number, number> = new Map();

  constructor(options: SlotGateOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs;
  }

  get isOpen(): boolean {
    return this.#shutCount === 0;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** The longest that a slot has been shut so far, in milliseconds. */
  get longestShutMs(): number {
    return this.#longestShutMs;
  }

  get shutCount(): number {
    return this.#shutCount;
  }

  /** How long slots have been shut so far, added up, in milliseconds: one for a second and ten for a second are 11,000. */
  get totalShutMs(): number {
    let total = this.#shutMs;
    for (const sinceMs of this.#shutSince.values()) total += this.#nowMs - sinceMs;
    return total;
  }

  isShut(key: string): boolean {
    return this.#shutCount > 0 && this.#shut[slotOf(key)] !== 0;
  }

  shut(slots: Iterable<number>): void {
    for (const slot of slots) {
      const reasons = this.#shut[slot] ?? 0;
      this.#shut[slot] = reasons + 1;
      if (reasons > 0) continue;
      this.#shutCount += 1;
      this.#shutSince.set(slot, this.#nowMs);
    }
  }

  /** Takes away one reason from each slot, and does, in order, what waited for those that are open now. */
  open(slots: Iterable<number>): void {
    for (const slot of slots) {
      const reasons = this.#shut[slot] ?? 0;
      if (reasons === 0) throw new Error(`slot ${slot} is not shut`);
      this.#shut[slot] = reasons - 1;
      if (reasons > 1) continue;
      this.#shutCount -= 1;
      const shutMs = this.#nowMs - (this.#shutSince.get(slot) ?? this.#nowMs);
      this.#longestShutMs = Math.max(this.#longestShutMs, shutMs);
      this.#shutMs += shutMs;
      this.#shutSince.delete(slot);
    }
    this.#release();
  }

  /** Waits for a service's slot; refused with `busy` when too many wait, or when it takes too long. */
  wait(key: string, run: () => void, refuse: (failure: Failure) => void): void {
    this.#enqueue({ slot: slotOf(key), run, refuse, deadlineMs: this.#nowMs + this.#options.waitTimeoutMs });
  }

  /** Runs as soon as every slot is open, at once if they are. */
  waitForAll(run: () => void, refuse: (failure: Failure) => void): void {
    if (this.isOpen) {
      run();
      return;
    }
    this.#enqueue({ slot: -1, run, refuse, deadlineMs: this.#nowMs + this.#options.waitTimeoutMs });
  }

  /** Waits for a service's slot without a bound of its own: what must not be forgotten. */
  defer(key: string, run: () => void): void {
    this.#waiting.push({ slot: slotOf(key), run, refuse: undefined, deadlineMs: Number.POSITIVE_INFINITY });
  }

  /** Moves the clock on, and refuses what has waited too long. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    if (this.#refusable === 0 || !this.#waiting.some(({ deadlineMs }) => deadlineMs <= nowMs)) return;
    const waiting = this.#waiting;
    this.#waiting = waiting.filter(({ deadlineMs }) => deadlineMs > nowMs);
    for (const { deadlineMs, refuse } of waiting) {
      if (deadlineMs > nowMs || refuse === undefined) continue;
      this.#refusable -= 1;
      refuse(this.#busy('slotWaitTimeoutMs', this.#options.waitTimeoutMs));
    }
  }

  #enqueue(waiting: Waiting): void {
    if (this.#refusable >= this.#options.waitingMax) {
      waiting.refuse?.(this.#busy('waitingRequestsMax', this.#options.waitingMax));
      return;
    }
    this.#refusable += 1;
    this.#waiting.push(waiting);
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const kept: Waiting[] = [];
    for (const one of waiting) {
      if (one.slot < 0 ? this.#shutCount > 0 : this.#shut[one.slot] !== 0) {
        kept.push(one);
        continue;
      }
      if (one.refuse !== undefined) this.#refusable -= 1;
      one.run();
    }
    // What was run may itself have had to wait: it stays behind what waited before.
    this.#waiting = [...kept, ...this.#waiting];
  }

  #busy(limit: string, max: number): Failure {
    const retryAfterMs = Math.max(100, Math.round(this.#options.waitTimeoutMs / 4));
    return { code: 'busy', message: 'the slot is being moved or rebuilt', limit, max, retryAfterMs };
  }
}
