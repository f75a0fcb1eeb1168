import type { Failure } from '../protocol/errors.ts';
import { slotCount, slotOf } from '../slots/slot.ts';

/** What must not be frozen: one slot, several, or none at all. `next`: whichever slots thaw next will do. */
export type WantedSlots = number | readonly number[] | 'all' | 'next';

/** Something to be done once its slots are thawed. */
interface Waiting {
  readonly slots: WantedSlots;
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
 * Queues requests for slots that move or are being rebuilt until they thaw, in order, bounded in number and in time (SL3, RE3). A slot may be
 * frozen for more than one reason at a time, and thaws with the last.
 */
export class SlotGate {
  readonly #options: SlotGateOptions;
  readonly #freezes: Uint8Array = new Uint8Array(slotCount);
  #frozenCount = 0;
  #waiting: Waiting[] = [];
  #refusable = 0;
  #nowMs: number;
  #longestFreezeMs = 0;
  /** Of slots that have thawed, added up. */
  #frozenMs = 0;
  readonly #frozenSince: Map<number, number> = new Map();

  constructor(options: SlotGateOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs;
  }

  get isThawed(): boolean {
    return this.#frozenCount === 0;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** The longest time that a slot has been frozen so far, in milliseconds. */
  get longestFreezeMs(): number {
    return this.#longestFreezeMs;
  }

  get frozenCount(): number {
    return this.#frozenCount;
  }

  /** How long slots have been frozen so far, added up, in milliseconds: one for a second and ten for a second are 11,000. */
  get totalFrozenMs(): number {
    let total = this.#frozenMs;
    for (const sinceMs of this.#frozenSince.values()) total += this.#nowMs - sinceMs;
    return total;
  }

  isFrozen(key: string): boolean {
    return this.#frozenCount > 0 && this.isSlotFrozen(slotOf(key));
  }

  isSlotFrozen(slot: number): boolean {
    return this.#frozenCount > 0 && this.#freezes[slot] !== 0;
  }

  freeze(slots: Iterable<number>): void {
    for (const slot of slots) {
      const reasons = this.#freezes[slot] ?? 0;
      this.#freezes[slot] = reasons + 1;
      if (reasons > 0) continue;
      this.#frozenCount += 1;
      this.#frozenSince.set(slot, this.#nowMs);
    }
  }

  /** Takes one reason to be frozen from each slot, and runs, in order, what waited for those that are thawed now. */
  thaw(slots: Iterable<number>): void {
    const frozenBefore = this.#frozenCount;
    for (const slot of slots) {
      const reasons = this.#freezes[slot] ?? 0;
      if (reasons === 0) throw new Error(`slot ${slot} is not frozen`);
      this.#freezes[slot] = reasons - 1;
      if (reasons > 1) continue;
      this.#frozenCount -= 1;
      const frozenMs = this.#nowMs - (this.#frozenSince.get(slot) ?? this.#nowMs);
      this.#longestFreezeMs = Math.max(this.#longestFreezeMs, frozenMs);
      this.#frozenMs += frozenMs;
      this.#frozenSince.delete(slot);
    }
    if (this.#frozenCount < frozenBefore) this.#release();
  }

  /**
   * Runs a task once none of its slots is frozen, at once if none is, in the order in which tasks come. Refused with `busy` when too many wait, or when it takes
   * too long; without `refuse` it waits as long as it takes, and counts as none of the many.
   */
  wait(slots: WantedSlots, run: () => void, refuse?: (failure: Failure) => void): void {
    if (this.#areThawed(slots)) {
      run();
      return;
    }
    if (refuse === undefined) {
      this.#waiting.push({ slots, run, refuse, deadlineMs: Number.POSITIVE_INFINITY });
      return;
    }
    const { waitingMax, waitTimeoutMs } = this.#options;
    if (this.#refusable >= waitingMax) {
      refuse(this.#busy('waitingRequestsMax', waitingMax));
      return;
    }
    this.#refusable += 1;
    this.#waiting.push({ slots, run, refuse, deadlineMs: this.#nowMs + waitTimeoutMs });
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

  #areThawed(slots: WantedSlots): boolean {
    if (this.#frozenCount === 0) return true;
    if (slots === 'all' || slots === 'next') return false;
    return typeof slots === 'number' ? !this.isSlotFrozen(slots) : !slots.some((slot) => this.isSlotFrozen(slot));
  }

  #release(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    const kept: Waiting[] = [];
    for (const one of waiting) {
      if (one.slots !== 'next' && !this.#areThawed(one.slots)) {
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
