import { protocolLimits } from '../protocol/limits.ts';
import type { KeyHolders } from './key-holders.ts';
import type { KeyTable } from './key-table.ts';

export interface KeyReleasesOptions {
  readonly table: KeyTable;
  readonly holders: KeyHolders;
  /** Whether a key's slot is being given away: it is released where it goes. */
  readonly isLeaving: (key: string) => boolean;
  /** Releases these keys, unless the holder has come back when it is their turn; {@link KeyReleases.note} is to be told. */
  readonly release: (holder: string, keys: readonly string[]) => void;
}

/** How long until a release that could not be stored is tried again, in milliseconds. */
const retryMs = 500;

/** Releases what ended sessions hold, a bounded number of keys of each at a time. */
export class KeyReleases {
  readonly #options: KeyReleasesOptions;
  /** Holders of which keys are being released. */
  readonly #underWay: Set<string> = new Set();
  #retryAtMs: number | undefined;

  constructor(options: KeyReleasesOptions) {
    this.#options = options;
  }

  /** By the monotonic clock, in milliseconds. */
  get dueAtMs(): number | undefined {
    return this.#retryAtMs;
  }

  tick(nowMs: number): void {
    if (this.#retryAtMs === undefined || nowMs < this.#retryAtMs) return;
    this.#retryAtMs = undefined;
    this.beginAll();
  }

  /** Begins for all holders whose sessions have ended. */
  beginAll(): void {
    const { table, holders } = this.#options;
    for (const holder of Array.from(table.holders())) if (holders.hasEnded(holder)) this.begin(holder);
  }

  begin(holder: string): void {
    const { table, holders, isLeaving, release } = this.#options;
    if (this.#underWay.has(holder) || !holders.hasEnded(holder)) return;
    const held = table.heldBy(holder);
    // What is not loaded yet is looked at when it is.
    if (held === undefined) return;
    const keys: string[] = [];
    for (const key of held) {
      if (isLeaving(key)) continue;
      if (keys.length === protocolLimits.keyTransactionOperationsMax) break;
      keys.push(key);
    }
    if (keys.length === 0) return;
    this.#underWay.add(holder);
    release(holder, keys);
  }

  /** What became of a release. */
  note(holder: string, isRefused: boolean, nowMs: number): void {
    this.#underWay.delete(holder);
    if (isRefused) this.#retryAtMs = nowMs + retryMs;
    else this.begin(holder);
  }
}
