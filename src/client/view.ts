import type { Instance } from '../protocol/types.ts';

/** What one instance was and is: without `before` it was added, without `after` it left. Never the same twice. */
export interface Span {
  readonly before: Instance | undefined;
  readonly after: Instance | undefined;
}

/** What became different between two states of a list, each instance at most once. */
export type Difference = readonly Span[];

/** The outcome of a delta: applied, already known, or not connected to the list. */
export type DeltaOutcome =
  | { readonly kind: 'applied'; readonly difference: Difference }
  | { readonly kind: 'old' }
  | { readonly kind: 'gap' };

export interface Delta {
  readonly from: number;
  readonly to: number;
  readonly put: readonly Instance[];
  readonly remove: readonly string[];
  /** How many instances there are afterwards, where the server says so. */
  readonly count?: number;
}

/**
 * The list of one service as this client knows it, with its version. Deltas are applied only when they chain (PU1). After a move to
 * another registry, and after a restart, it may hold instances that are known from before and that nobody has confirmed yet.
 */
export class View {
  readonly #instances: Map<string, Instance> = new Map();
  readonly #unconfirmed: Set<string> = new Set();
  #version: number | undefined;
  #list: readonly Instance[] | undefined;

  /** Undefined until the first snapshot. */
  get version(): number | undefined {
    return this.#version;
  }

  /** The same frozen array until something changes. */
  get instances(): readonly Instance[] {
    this.#list ??= Object.freeze([...this.#instances.values()]);
    return this.#list;
  }

  get size(): number {
    return this.#instances.size;
  }

  get unconfirmedCount(): number {
    return this.#unconfirmed.size;
  }

  get(id: string): Instance | undefined {
    return this.#instances.get(id);
  }

  isUnconfirmed(id: string): boolean {
    return this.#unconfirmed.has(id);
  }

  /** Replaces the list; or, if it may lack some, keeps what it lacks, unconfirmed. What is as it was before is not in the difference. */
  applySnapshot(version: number, instances: readonly Instance[], isComplete = true): Difference {
    const target = new Map<string, Instance | undefined>();
    for (const id of this.#instances.keys()) {
      if (isComplete) target.set(id, undefined);
      else this.#unconfirmed.add(id);
    }
    for (const instance of instances) target.set(instance.id, instance);
    this.#version = version;
    return this.#apply(target);
  }

  /** Begins with a list that was kept from an earlier life of the client, of which nobody has confirmed anything yet. */
  applyCached(version: number, instances: readonly Instance[]): Difference {
    const difference = this.applySnapshot(version, instances);
    for (const { id } of instances) this.#unconfirmed.add(id);
    return difference;
  }

  /** The list is what the server has at this version. */
  confirmAll(): void {
    this.#unconfirmed.clear();
  }

  /** Applies a delta if it starts at the list's version and results in as many instances as the server has; otherwise changes nothing. */
  applyDelta({ from, to, put, remove, count }: Delta): DeltaOutcome {
    if (this.#version === undefined) return { kind: 'gap' };
    if (to < this.#version || (to === this.#version && from !== to)) return { kind: 'old' };
    if (from !== this.#version) return { kind: 'gap' };
    const target = new Map<string, Instance | undefined>();
    for (const id of remove) target.set(id, undefined);
    for (const instance of put) target.set(instance.id, instance);
    if (count !== undefined && count !== this.#countAfter(target)) return { kind: 'gap' };
    this.#version = to;
    return { kind: 'applied', difference: this.#apply(target) };
  }

  /** What nobody has confirmed is there no more. */
  dropUnconfirmed(): Difference {
    const target = new Map<string, Instance | undefined>();
    for (const id of this.#unconfirmed) target.set(id, undefined);
    return this.#apply(target);
  }

  /** How many the server has. */
  #countAfter(target: ReadonlyMap<string, Instance | undefined>): number {
    let count = this.#instances.size - this.#unconfirmed.size;
    for (const [id, after] of target) {
      const isHeld = this.#instances.has(id) && !this.#unconfirmed.has(id);
      count += Number(after !== undefined) - Number(isHeld);
    }
    return count;
  }

  /** An instance put again unchanged keeps its object, so that users can compare by identity. */
  #apply(target: ReadonlyMap<string, Instance | undefined>): Difference {
    const difference: Span[] = [];
    for (const [id, after] of target) {
      this.#unconfirmed.delete(id);
      const before = this.#instances.get(id);
      if (isSame(before, after)) continue;
      if (after === undefined) this.#instances.delete(id);
      else this.#instances.set(id, freezeInstance(after));
      difference.push({ before, after });
    }
    if (difference.length > 0) this.#list = undefined;
    return difference;
  }
}

/** Nobody who is handed an instance can change what others see. */
export function freezeInstance(instance: Instance): Instance {
  if (instance.metadata !== undefined) Object.freeze(instance.metadata);
  return Object.freeze(instance);
}

/** Whether two states of an instance say the same, whatever the order of their metadata. */
export function isSame(a: Instance | undefined, b: Instance | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (
    a.id === b.id &&
    a.host === b.host &&
    a.port === b.port &&
    a.weight === b.weight &&
    a.enabled === b.enabled &&
    a.zone === b.zone &&
    a.persistent === b.persistent &&
    a.health === b.health &&
    isSameMetadata(a.metadata ?? {}, b.metadata ?? {})
  );
}

function isSameMetadata(a: Readonly<Record<string, string>>, b: Readonly<Record<string, string>>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && a[key] === b[key]);
}
