/**
 * Which instances changed at which version, for resuming subscribers. It holds ids only: what to send is read from the present state,
 * so an entry costs two words whatever the instance weighs. Bounded: when full, the older half goes and `base` rises.
 */
export class ChangeLog {
  /** The oldest version that a delta can start from. */
  #base: number;
  /** Another version at which the list was the same as at `#base`. */
  #twin: number | undefined;
  #versions: number[] = [];
  #ids: string[] = [];
  readonly #entriesMax: number;

  constructor(base: number, entriesMax: number, twin?: number) {
    this.#base = base;
    this.#twin = twin;
    this.#entriesMax = entriesMax;
  }

  /** A log that was kept elsewhere. `entries` alternates versions and ids. */
  static restore(base: number, entries: readonly (string | number)[], entriesMax: number): ChangeLog {
    const log = new ChangeLog(base, entriesMax);
    for (let i = 0; i < entries.length; i += 2) log.append(Number(entries[i]), String(entries[i + 1]));
    return log;
  }

  get base(): number {
    return this.#base;
  }

  /** Versions and ids, alternating, oldest first. */
  entries(): (string | number)[] {
    return this.#versions.flatMap((version, i) => [version, this.#ids[i]!]);
  }

  /** Forgets all changes. */
  restart(base: number): void {
    this.#base = base;
    this.#twin = undefined;
    this.#versions = [];
    this.#ids = [];
  }

  append(version: number, id: string): void {
    if (this.#versions.length >= this.#entriesMax) {
      const dropped = Math.ceil(this.#entriesMax / 2);
      this.#base = this.#versions[dropped - 1]!;
      this.#twin = undefined;
      this.#versions = this.#versions.slice(dropped);
      this.#ids = this.#ids.slice(dropped);
    }
    this.#versions.push(version);
    this.#ids.push(id);
  }

  /**
   * The ids that changed after `version`, or undefined when the log does not reach back that far or the version is none that this
   * service ever had here: a number from elsewhere that merely lies in the range must not pass for a state that the client holds.
   */
  changedSince(version: number): Set<string> | undefined {
    if (version === this.#base || version === this.#twin) return new Set(this.#ids);
    const index = this.#indexOf(version);
    return index < 0 ? undefined : new Set(this.#ids.slice(index + 1));
  }

  #indexOf(version: number): number {
    let low = 0;
    let high = this.#versions.length - 1;
    while (low <= high) {
      const middle = (low + high) >>> 1;
      const found = this.#versions[middle]!;
      if (found === version) return middle;
      if (found < version) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }
}
