import type { ServerConfig } from '../config/config.ts';
import type { AdmissionRate } from '../runtime/admission-rate.ts';

/** Bytes of memory that the threads of a server share about its warm-up: words of 32 bits, two for all and one for each session host. */
export function warmUpBytes(hosts: number): number {
  return 4 * (hostsPlace + hosts);
}

const phasePlace = 0;
const recallPlace = 1;
const hostsPlace = 2;
/** `presumed`: nobody can have been here before, unless a client shows the opposite. */
const phases = { warming: 0, over: 1, presumed: 2 } as const;

/**
 * Whether those who were here before the registry started are still coming back (PU5). The main thread judges, by what all threads tell, and every
 * host sees the same, whether it has sessions or not.
 */
export class WarmUp {
  readonly #words: Int32Array;

  /** `memory`: {@link warmUpBytes} of it, of zeros at first. */
  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
  }

  get isOver(): boolean {
    return Atomics.load(this.#words, phasePlace) !== phases.warming;
  }

  /** Whether it is over for good. */
  get isSettled(): boolean {
    return Atomics.load(this.#words, phasePlace) === phases.over;
  }

  end(): void {
    Atomics.store(this.#words, phasePlace, phases.over);
  }

  /** There may be sessions of the life before, and partitions do not know of them yet. */
  beginRecall(): void {
    Atomics.store(this.#words, recallPlace, 1);
  }

  /** Partitions know which sessions of the life before may still be taken over. */
  endRecall(): void {
    Atomics.store(this.#words, recallPlace, 0);
  }

  /** Whether partitions know, or are about to be told, of everybody who may hold keys: what anybody else holds may be released. */
  get areHoldersKnown(): boolean {
    return this.isOver && Atomics.load(this.#words, recallPlace) === 0;
  }

  /** The registry has no past: there is nobody to wait for. */
  presumeOver(): void {
    Atomics.compareExchange(this.#words, phasePlace, phases.warming, phases.presumed);
  }

  /** A client shows that it was here before: the registry has lost its past, and others like this one are coming. */
  noteEarlier(): void {
    Atomics.compareExchange(this.#words, phasePlace, phases.presumed, phases.warming);
  }

  /** Says how many instances the sessions and leases of a host hold. */
  shareHeld(host: number, held: number): void {
    Atomics.store(this.#words, hostsPlace + host, held);
  }

  /** How many those of all hosts hold, as of when each last said so. */
  get held(): number {
    let held = 0;
    for (let place = hostsPlace; place < this.#words.length; place++) held += Atomics.load(this.#words, place);
    return held;
  }
}

export interface WarmUpJudgeOptions {
  readonly warmUp: WarmUp;
  readonly admissionRate: Pick<AdmissionRate, 'throttledCount'>;
  readonly config: Pick<ServerConfig, 'warmUpMs' | 'warmUpMaxMs'>;
  /** Whether slots are being rebuilt: what comes back to them waits. */
  readonly isHealing: () => boolean;
  readonly nowMs: number;
}

/** Instances are still coming back while there are so many of a hundred more than there ever were before. */
const growthPercent = 1;
/** They have stopped coming once that was not so for this part of `warmUpMs`. */
const settledPart = 1 / 4;
/** A gap between looks counts for at most this long, in milliseconds: while the process is suspended nobody can come back. */
const gapMaxMs = 200;

/**
 * Ends the warm-up once all who were here before are back or have had their time: `warmUpMs` from the start, and again from every handshake that was refused
 * because too many came at once; not while what is registered still grows, or slots are being rebuilt; at the latest after `warmUpMaxMs`.
 */
export class WarmUpJudge {
  readonly #options: WarmUpJudgeOptions;
  /** Running time since the start, in milliseconds. */
  #elapsedMs = 0;
  #lastMs: number;
  #throttledSeen: number;
  #throttledAtMs = 0;
  #heldMost = 0;
  #grewAtMs = 0;

  constructor(options: WarmUpJudgeOptions) {
    this.#options = options;
    this.#lastMs = options.nowMs;
    this.#throttledSeen = options.admissionRate.throttledCount;
    if (options.config.warmUpMs === 0) options.warmUp.end();
  }

  /** How long the warm-up took, or has taken so far, in milliseconds. */
  get tookMs(): number {
    return this.#elapsedMs;
  }

  /** Moves the clock on. Returns whether the warm-up ended with this. */
  tick(nowMs: number): boolean {
    const { warmUp } = this.#options;
    const sinceMs = Math.min(nowMs - this.#lastMs, gapMaxMs);
    this.#lastMs = nowMs;
    if (warmUp.isSettled) return false;
    this.#elapsedMs += sinceMs;
    this.#look();
    if (!this.#isOver()) return false;
    const wasWarming = !warmUp.isOver;
    warmUp.end();
    return wasWarming;
  }

  #look(): void {
    const { admissionRate, isHealing, warmUp } = this.#options;
    const { throttledCount } = admissionRate;
    if (throttledCount !== this.#throttledSeen) this.#throttledAtMs = this.#elapsedMs;
    this.#throttledSeen = throttledCount;
    if (isHealing()) this.#grewAtMs = this.#elapsedMs;
    const { held } = warmUp;
    if (held <= this.#heldMost * (1 + growthPercent / 100)) return;
    this.#heldMost = held;
    this.#grewAtMs = this.#elapsedMs;
  }

  #isOver(): boolean {
    const { warmUpMs, warmUpMaxMs } = this.#options.config;
    if (this.#elapsedMs >= warmUpMaxMs) return true;
    return (
      this.#elapsedMs - this.#throttledAtMs >= warmUpMs && this.#elapsedMs - this.#grewAtMs >= warmUpMs * settledPart
    );
  }
}
