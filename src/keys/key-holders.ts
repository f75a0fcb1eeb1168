/**
 * Whose sessions live, as far as this partition was told. After a rebuild, and after a restart of the process, keys are loaded with the names of their holders, and hosts
 * say which of those are still theirs; the others are released once everybody has had the time to come back.
 */
export class KeyHolders {
  /** Their sessions live. */
  readonly #alive: Set<string> = new Set();
  /** Until everyone is back: those of which it is known that they are not coming. */
  readonly #ended: Set<string> = new Set();
  #isEveryoneBack = false;

  /** The session lives: a host says so, or it acquires something. */
  vouch(holder: string): void {
    this.#alive.add(holder);
    this.#ended.delete(holder);
  }

  end(holder: string): void {
    this.#alive.delete(holder);
    if (!this.#isEveryoneBack) this.#ended.add(holder);
  }

  /** Hosts have vouched for all that are theirs, and whoever was there before the process restarted has had the time to come back. */
  noteEveryoneBack(): void {
    this.#isEveryoneBack = true;
    this.#ended.clear();
  }

  /** Whether what it holds is to be released. */
  hasEnded(holder: string): boolean {
    return this.#isEveryoneBack ? !this.#alive.has(holder) : this.#ended.has(holder);
  }

  isAlive(holder: string): boolean {
    return this.#alive.has(holder);
  }
}
