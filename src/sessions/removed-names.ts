/** Names that hosts watch for, at most. Whoever comes back to one beyond them counts as lost for the rest of the window. */
const removedNamesMax = 200_000;

/** Hashed names of instances that were removed within the window and have not been registered again, with what they belong to. */
export class RemovedNames<Owner> {
  readonly #owners: Map<number, Owner> = new Map();
  /** Changed since hosts were last informed: whether to watch for it. */
  readonly #changes: Map<number, boolean> = new Map();
  #overflow = 0;

  get size(): number {
    return this.#owners.size;
  }

  /** How many found no place. */
  get overflow(): number {
    return this.#overflow;
  }

  all(): number[] {
    return [...this.#owners.keys()];
  }

  find(name: number): Owner | undefined {
    return this.#owners.get(name);
  }

  /** Returns whether there was room. */
  add(name: number, owner: Owner): boolean {
    if (this.#owners.size >= removedNamesMax) {
      this.#overflow += 1;
      return false;
    }
    this.#owners.set(name, owner);
    this.#changes.set(name, true);
    return true;
  }

  /** Unless it belongs to another by now. */
  delete(name: number, owner: Owner): void {
    if (this.#owners.get(name) !== owner) return;
    this.#owners.delete(name);
    this.#changes.set(name, false);
  }

  /** Makes all hosts forget all names. */
  clear(): void {
    this.#owners.clear();
    this.#changes.clear();
  }

  drainChanges(): { readonly watch: number[]; readonly unwatch: number[] } {
    const watch: number[] = [];
    const unwatch: number[] = [];
    for (const [name, isWatched] of this.#changes) (isWatched ? watch : unwatch).push(name);
    this.#changes.clear();
    return { watch, unwatch };
  }
}
