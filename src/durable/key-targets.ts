import type { KeyTarget } from './commits.ts';

/** What is watched of keys, each with a value. What a key concerns is found at a cost that rises with the lengths of prefixes that there are, and not with their number. */
export class KeyTargets<T> {
  readonly #keys: Map<string, T> = new Map();
  readonly #prefixes: Map<string, T> = new Map();
  /** How many prefixes have each length. */
  readonly #lengths: Map<number, number> = new Map();

  get size(): number {
    return this.#keys.size + this.#prefixes.size;
  }

  get({ kind, name }: KeyTarget): T | undefined {
    return this.#mapOf(kind).get(name);
  }

  set(target: KeyTarget, value: T): void {
    const { kind, name } = target;
    if (kind === 'prefix' && !this.#prefixes.has(name)) {
      this.#lengths.set(name.length, (this.#lengths.get(name.length) ?? 0) + 1);
    }
    this.#mapOf(kind).set(name, value);
  }

  /** Returns whether it was there. */
  delete({ kind, name }: KeyTarget): boolean {
    if (!this.#mapOf(kind).delete(name)) return false;
    if (kind === 'prefix') {
      const count = this.#lengths.get(name.length)! - 1;
      if (count > 0) this.#lengths.set(name.length, count);
      else this.#lengths.delete(name.length);
    }
    return true;
  }

  /** The values of all that a key concerns. */
  *matches(key: string): Generator<T, void, undefined> {
    const exact = this.#keys.get(key);
    if (exact !== undefined) yield exact;
    for (const length of this.#lengths.keys()) {
      const value = length <= key.length ? this.#prefixes.get(key.slice(0, length)) : undefined;
      if (value !== undefined) yield value;
    }
  }

  /** Whether a key concerns any. */
  hasMatch(key: string): boolean {
    if (this.#keys.has(key)) return true;
    for (const length of this.#lengths.keys()) if (this.#prefixes.has(key.slice(0, length))) return true;
    return false;
  }

  *values(): Generator<T, void, undefined> {
    yield* this.#keys.values();
    yield* this.#prefixes.values();
  }

  #mapOf(kind: KeyTarget['kind']): Map<string, T> {
    return kind === 'key' ? this.#keys : this.#prefixes;
  }
}
