import type { DurableWrite } from '../durable/commits.ts';
import { storeKeyOf } from './key-row.ts';

/** Ends are multiples of this, in milliseconds, so that those of many keys fall together. */
const stepMs = 100;

/**
 * Keys whose holder's session has ended, and that nobody may acquire yet: whoever held one may go on writing for a moment in the belief that it still does. They are
 * rows of a table of their own, since the key itself may be deleted; one that is loaded runs from the start, so a delay is never shorter than was asked for, whatever the clocks say.
 */
export class LockDelays {
  /** When each is over, by the monotonic clock, in milliseconds. */
  readonly #ends: Map<string, number> = new Map();
  /** No delay ends before this. */
  #nextMs: number | undefined;

  begin(key: string, nowMs: number, delayMs: number): void {
    const endMs = Math.ceil((nowMs + delayMs) / stepMs) * stepMs;
    this.#ends.set(key, endMs);
    this.#nextMs = Math.min(this.#nextMs ?? endMs, endMs);
  }

  isRunning(key: string, nowMs: number): boolean {
    const endMs = this.#ends.get(key);
    return endMs !== undefined && endMs > nowMs;
  }

  /** Forgets some that are over; the store is to forget them, too. */
  expire(nowMs: number, max: number): string[] {
    const over: string[] = [];
    if (this.#nextMs === undefined || nowMs < this.#nextMs) return over;
    this.#nextMs = undefined;
    for (const [key, endMs] of this.#ends) {
      if (endMs <= nowMs && over.length < max) {
        over.push(key);
        this.#ends.delete(key);
      } else if (this.#nextMs === undefined || endMs < this.#nextMs) {
        this.#nextMs = endMs;
      }
    }
    return over;
  }

  /** The keys of which this says so are another partition's by now. */
  forget(isGone: (key: string) => boolean): void {
    for (const key of this.#ends.keys()) if (isGone(key)) this.#ends.delete(key);
  }

  nextDueAt(): number | undefined {
    return this.#nextMs;
  }
}

/** The row of a delay; without a length it ends. */
export function writeDelay(key: string, delayMs?: number): DurableWrite {
  const payload = delayMs === undefined ? undefined : Buffer.alloc(4);
  payload?.writeUInt32BE(delayMs ?? 0);
  return { table: 'lockDelays', key: storeKeyOf(key), payload, createVersion: 0 };
}

export function readDelay(payload: Uint8Array): number {
  return Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength).readUInt32BE();
}
