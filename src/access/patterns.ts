/** A name, or all that begin with it. */
export interface Extent {
  readonly name: string;
  readonly isPrefix: boolean;
}

export function exactly(name: string): Extent {
  return { name, isPrefix: false };
}

export function readPattern(pattern: string): Extent {
  return pattern.endsWith('*') ? { name: pattern.slice(0, -1), isPrefix: true } : exactly(pattern);
}

/** Many patterns, compared at once: callers choose how often they are, and there may be thousands. */
export class Patterns {
  readonly #names: ReadonlySet<string>;
  /** In order, and none begins with another. */
  readonly #prefixes: readonly string[];
  /** Names and prefixes, in order. */
  readonly #all: readonly string[];

  constructor(patterns: readonly Extent[]) {
    this.#names = new Set(patterns.filter(({ isPrefix }) => !isPrefix).map(({ name }) => name));
    const prefixes: string[] = [];
    for (const prefix of sortNames(patterns.filter(({ isPrefix }) => isPrefix))) {
      const last = prefixes.at(-1);
      if (last === undefined || !prefix.startsWith(last)) prefixes.push(prefix);
    }
    this.#prefixes = prefixes;
    this.#all = sortNames(patterns);
  }

  /** Whether all that is wanted is within one of them. */
  covers({ name, isPrefix }: Extent): boolean {
    if (!isPrefix && this.#names.has(name)) return true;
    // What `name` begins with is the last that is not behind it: everything between the two would begin with that, too.
    const prefix = this.#prefixes[countUpTo(this.#prefixes, name) - 1];
    return prefix !== undefined && name.startsWith(prefix);
  }

  /** Whether something is within both what is wanted and one of them. */
  meets(wanted: Extent): boolean {
    if (this.covers(wanted)) return true;
    if (!wanted.isPrefix) return false;
    if (this.#names.has(wanted.name)) return true;
    // What begins with a name stands right behind it.
    return this.#all[countUpTo(this.#all, wanted.name)]?.startsWith(wanted.name) === true;
  }
}

function sortNames(patterns: readonly Extent[]): string[] {
  // By code units, as names are compared.
  return patterns.map(({ name }) => name).sort();
}

/** How many of these, which are in order, are not behind a name. */
function countUpTo(names: readonly string[], name: string): number {
  let [low, high] = [0, names.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (names[middle]! <= name) low = middle + 1;
    else high = middle;
  }
  return low;
}
