import type { Failure } from '../protocol/errors.ts';

/** What an operator lets a namespace have at most; `place`: where threads count it, 0 to {@link quotasMax} - 1. */
export interface NamespaceQuota {
  readonly namespace: string;
  readonly place: number;
  readonly instances?: number;
  readonly services?: number;
}

/** Namespaces that have a quota. */
export const quotasMax = 256;
/** Of instances and services, in each place of each row. */
const countsPerPlace = 2;
/** How often what others take at the same moment is met before it is refused. */
const triesMax = 10;

/** Bytes that threads share for so many rows. */
export function quotaBytes(rows: number): number {
  return rows * quotasMax * countsPerPlace * Int32Array.BYTES_PER_ELEMENT;
}

/** What a partition holds in namespaces that have a quota. Each partition counts in a row of its own, so all of them together know how much there is, without asking each other. */
export class NamespaceQuotas {
  readonly #counts: Int32Array;
  readonly #row: number;
  #quotas: ReadonlyMap<string, NamespaceQuota> = new Map();
  /** What this partition holds; told to others once it holds all that it is to hold. */
  readonly #own: Map<string, { instances: number; services: number }> = new Map();
  #isShared: boolean;

  /** `memory`: {@link quotaBytes} of it, of zeros at first. `row`: this partition's. `isShared`: it holds all that it is to hold; else see {@link share}. */
  constructor(memory: SharedArrayBuffer, row: number, isShared: boolean) {
    this.#isShared = isShared;
    this.#counts = new Int32Array(memory);
    this.#row = row;
  }

  get isEmpty(): boolean {
    return this.#quotas.size === 0;
  }

  /** From now on these apply. `services`: all that there are, with their keys and sizes. */
  set(quotas: readonly NamespaceQuota[], services: Iterable<readonly [key: string, instances: number]>): void {
    const places = new Set(quotas.map(({ place }) => place));
    for (const { place } of this.#quotas.values()) if (!places.has(place)) this.#share(place, 0, 0);
    this.#quotas = new Map(quotas.map((quota) => [quota.namespace, quota]));
    this.#own.clear();
    if (quotas.length === 0) return;
    for (const [key, instances] of services) if (instances > 0) this.#count(key, instances, 1);
    this.#shareAll();
  }

  /** The partition holds all that it is to hold: until then, what its row says is of the life before. */
  share(): void {
    this.#isShared = true;
    this.#shareAll();
  }

  /** What a service holds has become more, or less. */
  note(key: string, instances: number, services: number): void {
    if (this.#quotas.size === 0) return;
    const quota = this.#count(key, instances, services);
    if (quota !== undefined) this.#shareOf(quota);
  }

  /** Counts another instance, which is the first of its service, or not; or says why there may not be one, and counts nothing. */
  take(key: string, isNewService: boolean): Failure | undefined {
    const quota = this.#quotas.size === 0 ? undefined : this.#quotas.get(namespaceOf(key));
    if (quota === undefined) return undefined;
    const services = isNewService ? 1 : 0;
    let full: Failure | undefined;
    // Two that saw each other's count have both stepped back, though there may be room for one: so each looks again.
    for (let tries = 0; tries < triesMax; tries++) {
      full = this.#findFull(quota, isNewService, 1);
      if (full !== undefined) return full;
      // Other partitions take at the same time. Whoever counts first and looks then sees all who did so before, so there are never too many.
      this.note(key, 1, services);
      // Until it is shared, what this partition's row says is of the life before.
      full = this.#isShared ? this.#findFull(quota, isNewService, 0) : undefined;
      if (full === undefined) return undefined;
      this.note(key, -1, -services);
    }
    return full;
  }

  /** What would be too much with so many more. */
  #findFull(quota: NamespaceQuota, isNewService: boolean, more: 0 | 1): Failure | undefined {
    const { namespace, instances, services } = quota;
    if (instances !== undefined && this.#sum(quota, 0) + more > instances)
      return refuseQuota(namespace, 'namespaceInstances', instances);
    if (isNewService && services !== undefined && this.#sum(quota, 1) + more > services)
      return refuseQuota(namespace, 'namespaceServices', services);
    return undefined;
  }

  #count(key: string, instances: number, services: number): NamespaceQuota | undefined {
    const namespace = namespaceOf(key);
    const quota = this.#quotas.get(namespace);
    if (quota === undefined) return undefined;
    const own = this.#own.get(namespace) ?? { instances: 0, services: 0 };
    own.instances += instances;
    own.services += services;
    this.#own.set(namespace, own);
    return quota;
  }

  #shareAll(): void {
    for (const quota of this.#quotas.values()) this.#shareOf(quota);
  }

  #shareOf({ namespace, place }: NamespaceQuota): void {
    if (!this.#isShared) return;
    const { instances = 0, services = 0 } = this.#own.get(namespace) ?? {};
    this.#share(place, instances, services);
  }

  #share(place: number, instances: number, services: number): void {
    const at = (this.#row * quotasMax + place) * countsPerPlace;
    Atomics.store(this.#counts, at, instances);
    Atomics.store(this.#counts, at + 1, services);
  }

  #sum({ place }: NamespaceQuota, which: 0 | 1): number {
    let sum = 0;
    for (let at = place * countsPerPlace + which; at < this.#counts.length; at += quotasMax * countsPerPlace) {
      sum += Atomics.load(this.#counts, at);
    }
    return sum;
  }
}

export function refuseQuota(namespace: string, limit: string, max: number): Failure {
  return { code: 'limit_exceeded', message: `an operator limits the namespace ${namespace}`, limit, max };
}

export function namespaceOf(key: string): string {
  return key.slice(0, key.indexOf('/'));
}
