import type { LossShare } from './loss.ts';

/** Names that hosts watch for, at most. Whoever comes back to one beyond them counts as lost for the rest of the window. */
const removedNamesMax = 200_000;

/** Hashed names of instances that were removed within the window and have not been registered again, with what they belong to. */
export class RemovedNames {
  readonly #shares: Map<number, LossShare> = new Map();
  /** Since hosts were told last: whether to watch for it. */
  readonly #changes: Map<number, boolean> = new Map();
  #overflow = 0;

  get size(): number {
    return this.#shares.size;
  }

  /** How many found no place. */
  get overflow(): number {
    return this.#overflow;
  }

  find(name: number): LossShare | undefined {
    return this.#shares.get(name);
  }

  /** Returns whether there was room. */
  add(name: number, share: LossShare): boolean {
    if (this.#shares.size >= removedNamesMax) {
      this.#overflow += 1;
      return false;
    }
    this.#shares.set(name, share);
    this.#changes.set(name, true);
    return true;
  }

  /** Unless it belongs to another by now. */
  delete(name: number, share: LossShare): void {
    if (this.#shares.get(name) !== share) return;
    this.#shares.delete(name);
    this.#changes.set(name, false);
  }

  /** All hosts are told to forget all names. */
  clear(): void {
    this.#shares.clear();
    this.#changes.clear();
  }

  takeChanges(): { readonly watch: number[]; readonly unwatch: number[] } {
    const watch: number[] = [];
    const unwatch: number[] = [];
    for (const [name, isWatched] of this.#changes) (isWatched ? watch : unwatch).push(name);
    this.#changes.clear();
    return { watch, unwatch };
  }
}
