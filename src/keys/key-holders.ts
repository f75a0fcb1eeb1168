/**
 * Whose sessions live, as far as this partition was told. After a rebuild, and after a restart of the process, keys are loaded with the names of their holders, and hosts
 * say which of those are still theirs; the others are released once everybody has had the time to come back.
 */
export class KeyHolders {
  /** Their sessions live, each at a host. */
  readonly #alive: Map<string, number> = new Map();
  /** Until everyone is back: those of which it is known that they are not coming. */
  readonly #ended: Set<string> = new Set();
  /** Those of a host whose thread has died: they live if its next thread says so. */
  readonly #uncertain: Map<number, Set<string>> = new Map();
  #isEveryoneBack = false;

  /** The session lives: its host says so, or it acquires something. */
  vouch(holder: string, host: number): void {
    this.#alive.set(holder, host);
    this.#ended.delete(holder);
    this.#uncertain.get(host)?.delete(holder);
  }

  /** A host's thread has died. */
  doubt(host: number): void {
    const uncertain = this.#uncertain.get(host) ?? new Set();
    for (const [holder, at] of this.#alive) if (at === host) uncertain.add(holder);
    this.#uncertain.set(host, uncertain);
  }

  end(holder: string): void {
    this.#alive.delete(holder);
    if (!this.#isEveryoneBack) this.#ended.add(holder);
  }

  get isEveryoneBack(): boolean {
    return this.#isEveryoneBack;
  }

  /** Hosts have vouched for all that are theirs, this one since it has a new thread, and whoever was there before the process restarted has had the time to come back. */
  noteEveryoneBack(host: number): void {
    for (const holder of this.#uncertain.get(host) ?? [])
      if (this.#alive.get(holder) === host) this.#alive.delete(holder);
    this.#uncertain.delete(host);
    this.#isEveryoneBack = true;
    this.#ended.clear();
  }

  /** Whether what it holds is to be released. */
  hasEnded(holder: string): boolean {
    return this.#isEveryoneBack ? !this.#alive.has(holder) : this.#ended.has(holder);
  }

  /** Where its session lives; undefined: that is not known. */
  hostOf(holder: string): number | undefined {
    return this.#alive.get(holder);
  }
}
