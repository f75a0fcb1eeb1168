import type { Instance } from '../protocol/types.ts';
import { NoInstanceError, OptionError } from './errors.ts';

/**
 * How one of several instances is chosen.
 * - `weighted`: at random, in proportion to the weights.
 * - `round-robin`: in turn, regardless of weights.
 * - `least-outstanding`: of two chosen at random by weight, the one with fewer calls in progress.
 */
export type PickPolicy = 'weighted' | 'round-robin' | 'least-outstanding';

export interface PickerOptions {
  /** By default `weighted`. */
  readonly policy?: PickPolicy;
  /** Prefers instances of this zone; others are picked only while it has none to pick. By default all zones are equal. */
  readonly zone?: string;
  /** An instance with this many failures in a row is skipped for a while; by default 3. */
  readonly failuresMax?: number;
  /** For how long it is skipped, in milliseconds, doubled each time that it fails again right after; by default 5000. */
  readonly passOverMs?: number;
  /** The upper limit of that; by default 60000. */
  readonly passOverMaxMs?: number;
  /** In [0, 1); by default `Math.random`. */
  readonly random?: () => number;
  /** A monotonic clock in milliseconds; by default `performance.now`. */
  readonly now?: () => number;
}

/** An instance to call, and a function to report the outcome. */
export interface Picked {
  readonly instance: Instance;
  /** Reports how the call ended. Only the first report counts. */
  done(outcome: 'succeeded' | 'failed'): void;
}

/** What a picker needs of a subscription: the same array until something changes. */
export interface InstanceSource {
  readonly instances: readonly Instance[];
}

/** What is known of an instance from calls to it. */
interface CallRecord {
  outstanding: number;
  failuresInRow: number;
  /** How often it was passed over without a success in between. */
  passedOver: number;
  untilMs: number;
}

/**
 * Picks instances of a live view for calls. Only instances that are enabled and have a weight above 0 are picked, critical ones only if all are. Those that have failed several times in
 * a row are skipped for a while, unless all would be: then none is skipped, since trying is better than giving up.
 * Outcomes are forgotten when an instance leaves the view.
 */
export class Picker {
  readonly #source: InstanceSource;
  readonly #policy: PickPolicy;
  readonly #zone: string | undefined;
  readonly #failuresMax: number;
  readonly #passOverMs: number;
  readonly #passOverMaxMs: number;
  readonly #random: () => number;
  readonly #now: () => number;
  readonly #records: Map<string, CallRecord> = new Map();
  #seen: readonly Instance[] | undefined;
  #candidates: readonly Instance[] = [];
  /** For each candidate, the weights up to and including its own. */
  #sums: readonly number[] = [];
  /** Until then nobody who is passed over comes back, in milliseconds. */
  #validUntilMs = 0;
  #turn: number;

  /** Throws `OptionError`. */
  constructor(source: InstanceSource, options: PickerOptions = {}) {
    this.#source = source;
    this.#policy = options.policy ?? 'weighted';
    if (!['weighted', 'round-robin', 'least-outstanding'].includes(this.#policy)) {
      throw new OptionError('policy', 'weighted, round-robin or least-outstanding');
    }
    this.#zone = options.zone;
    this.#failuresMax = readPositive('failuresMax', options.failuresMax ?? 3);
    this.#passOverMs = readPositive('passOverMs', options.passOverMs ?? 5000);
    this.#passOverMaxMs = Math.max(this.#passOverMs, readPositive('passOverMaxMs', options.passOverMaxMs ?? 60_000));
    this.#random = options.random ?? Math.random;
    this.#now = options.now ?? ((): number => performance.now());
    // Clients that start together do not all begin with the same instance.
    this.#turn = Math.floor(this.#random() * 2 ** 30);
  }

  /** An instance to call; undefined while there is none. Report the outcome with `done`. */
  pick(): Picked | undefined {
    const { instances } = this.#source;
    if (instances !== this.#seen || this.#now() >= this.#validUntilMs) this.#refresh(instances);
    const instance = this.#choose();
    if (instance === undefined) return undefined;
    const record = this.#obtain(instance.id);
    record.outstanding += 1;
    let isOver = false;
    return {
      instance,
      done: (outcome) => {
        if (isOver) return;
        isOver = true;
        this.#finish(record, outcome);
      },
    };
  }

  /** Picks an instance and calls `use` with it; an exception counts as a failure of the instance. Throws `NoInstanceError` while there is none. */
  async call<T>(use: (instance: Instance) => Promise<T> | T): Promise<T> {
    const picked = this.pick();
    if (picked === undefined) throw new NoInstanceError();
    try {
      const result = await use(picked.instance);
      picked.done('succeeded');
      return result;
    } catch (error) {
      picked.done('failed');
      throw error;
    }
  }

  #choose(): Instance | undefined {
    const candidates = this.#candidates;
    if (candidates.length < 2) return candidates[0];
    switch (this.#policy) {
      case 'weighted':
        return candidates[this.#chooseByWeight()];
      case 'round-robin':
        this.#turn += 1;
        return candidates[this.#turn % candidates.length];
      case 'least-outstanding': {
        const [a, b] = [candidates[this.#chooseByWeight()]!, candidates[this.#chooseByWeight()]!];
        return this.#outstandingOf(b) < this.#outstandingOf(a) ? b : a;
      }
      default:
        return this.#policy satisfies never;
    }
  }

  #chooseByWeight(): number {
    const sums = this.#sums;
    const target = this.#random() * sums.at(-1)!;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (sums[middle]! > target) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #outstandingOf({ id }: Instance): number {
    return this.#records.get(id)?.outstanding ?? 0;
  }

  /** Finds out who may be picked: O(instances), when the view has changed, or somebody is passed over or comes back. */
  #refresh(instances: readonly Instance[]): void {
    if (instances !== this.#seen) this.#forgetAllBut(instances);
    this.#seen = instances;
    const nowMs = this.#now();
    const open = instances.filter(({ enabled, weight }) => enabled && weight > 0);
    const healthy = open.filter(({ health, protected: isProtected }) => health !== 'critical' || isProtected === true);
    // If all are critical, that may be the checks' doing: better a try than none.
    const usable = healthy.length > 0 ? healthy : open;
    const well = usable.filter(({ id }) => (this.#records.get(id)?.untilMs ?? 0) <= nowMs);
    this.#candidates = this.#preferZone(well) ?? this.#preferZone(usable) ?? [];
    let sum = 0;
    this.#sums = this.#candidates.map(({ weight }) => (sum += weight));
    this.#validUntilMs = Number.POSITIVE_INFINITY;
    for (const { id } of usable) {
      const untilMs = this.#records.get(id)?.untilMs ?? 0;
      if (untilMs > nowMs) this.#validUntilMs = Math.min(this.#validUntilMs, untilMs);
    }
  }

  /** Undefined if there are none at all. */
  #preferZone(instances: readonly Instance[]): readonly Instance[] | undefined {
    const near = this.#zone === undefined ? [] : instances.filter(({ zone }) => zone === this.#zone);
    const chosen = near.length > 0 ? near : instances;
    return chosen.length > 0 ? chosen : undefined;
  }

  #forgetAllBut(instances: readonly Instance[]): void {
    const ids = new Set(instances.map(({ id }) => id));
    for (const id of this.#records.keys()) if (!ids.has(id)) this.#records.delete(id);
  }

  #obtain(id: string): CallRecord {
    let record = this.#records.get(id);
    if (record === undefined) {
      record = { outstanding: 0, failuresInRow: 0, passedOver: 0, untilMs: 0 };
      this.#records.set(id, record);
    }
    return record;
  }

  #finish(record: CallRecord, outcome: 'succeeded' | 'failed'): void {
    record.outstanding -= 1;
    if (outcome === 'succeeded') {
      // It may answer again, although it was passed over because of others' calls.
      if (record.untilMs > 0) this.#validUntilMs = 0;
      record.failuresInRow = 0;
      record.passedOver = 0;
      record.untilMs = 0;
      return;
    }
    record.failuresInRow += 1;
    // Who was passed over and fails again has had its chance.
    if (record.failuresInRow < this.#failuresMax && record.passedOver === 0) return;
    const nowMs = this.#now();
    if (record.untilMs > nowMs) return;
    record.untilMs = nowMs + Math.min(this.#passOverMaxMs, this.#passOverMs * 2 ** record.passedOver);
    record.passedOver += 1;
    record.failuresInRow = 0;
    this.#validUntilMs = 0;
  }
}

function readPositive(name: string, value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 1)
    throw new OptionError(name, 'a number from 1 on');
  return value;
}
