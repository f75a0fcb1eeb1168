import { fromPartition } from './messages.ts';
import type { Emit } from './messages.ts';
import type { PartitionClock } from './partition-clock.ts';

/** How far a host's batches have been pushed. */
interface HostProgress {
  /** The last batch that asked for a change. */
  changedBatch: number;
  pushedThroughBatch: number;
  /** The batch of which not all has been applied; 0: none. */
  openBatch: number;
  /** Batches that changed something watched which may not have been pushed, oldest first, and when they last did: one may take turns. */
  readonly unsettled: { readonly batch: number; atMs: number }[];
}

/** The batch that is being applied. */
interface CurrentBatch {
  readonly progress: HostProgress;
  readonly batch: number;
  readonly atMs: number;
  readonly askedAtMs: number;
}

/** Tells hosts how far what they changed has been pushed: what is not is what a rebuild must tell again. */
export class BatchProgress {
  readonly #emit: Emit;
  readonly #hosts: Map<number, HostProgress> = new Map();
  #current: CurrentBatch | undefined;
  #lastHost = 0;

  constructor(emit: Emit) {
    this.#emit = emit;
  }

  /** Whose batch was applied last. */
  get lastHost(): number {
    return this.#lastHost;
  }

  /** When the first change of the present batch was asked for; 0: not known. */
  get askedAtMs(): number {
    return this.#current?.askedAtMs ?? 0;
  }

  /** When the present batch is applied, by the monotonic clock, in milliseconds. */
  get atMs(): number {
    if (this.#current === undefined) throw new Error('outside a batch');
    return this.#current.atMs;
  }

  beginBatch(host: number, batch: number, clock: PartitionClock, askedAtMs: number): void {
    let progress = this.#hosts.get(host);
    if (progress === undefined) {
      progress = { changedBatch: 0, pushedThroughBatch: 0, openBatch: 0, unsettled: [] };
      this.#hosts.set(host, progress);
    }
    progress.openBatch = batch;
    this.#current = { progress, batch, atMs: clock.monotonicMs, askedAtMs };
    this.#lastHost = host;
  }

  /** All of the present batch has been applied. */
  endBatch(): void {
    if (this.#current !== undefined) this.#current.progress.openBatch = 0;
  }

  endTurn(): void {
    this.#current = undefined;
  }

  detach(host: number): void {
    this.#hosts.delete(host);
  }

  /** The present batch asks for a change, be it of something that nobody watches. */
  noteMutation(): void {
    if (this.#current !== undefined) this.#current.progress.changedBatch = this.#current.batch;
  }

  /** The present batch has changed something that is watched. Returns the time of the change. */
  noteUnsettled(): number {
    if (this.#current === undefined) throw new Error('a change outside a batch');
    const { progress, batch, atMs } = this.#current;
    const last = progress.unsettled.at(-1);
    if (last?.batch === batch) last.atMs = atMs;
    else progress.unsettled.push({ batch, atMs });
    return atMs;
  }

  /** Nothing could be pushed before now: what is unsettled counts as changed now, like what is pushed again. */
  postpone(): void {
    for (const { unsettled } of this.#hosts.values()) for (const change of unsettled) change.atMs = this.atMs;
  }

  /** Everything that changed before then has been pushed. */
  settle(unpushedSinceMs: number): void {
    for (const [host, progress] of this.#hosts) {
      const { unsettled } = progress;
      while (unsettled.length > 0 && unsettled[0]!.atMs < unpushedSinceMs) unsettled.shift();
      const pushed = unsettled.length > 0 ? unsettled[0]!.batch - 1 : progress.changedBatch;
      // The rest of a batch may hold changes, too.
      const pushedThrough = progress.openBatch === 0 ? pushed : Math.min(pushed, progress.openBatch - 1);
      if (pushedThrough <= progress.pushedThroughBatch) continue;
      progress.pushedThroughBatch = pushedThrough;
      this.#emit(host, fromPartition.pushedThrough, pushedThrough);
    }
  }
}
