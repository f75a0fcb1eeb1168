import { perReader, placeOf, placesPerService, serviceOf } from './population.ts';
import type { Population } from './population.ts';

/**
 * The lists that the readers of one process hold, in three arrays: hundreds of thousands of them fit. A list has a place for each instance
 * that its service may have, with the mark that it carries, plus one; 0: it is not in the list.
 */
export class ReaderViews {
  readonly #population: Population;
  readonly #perReader: number;
  readonly #places: number;
  readonly #marks: Int32Array;
  readonly #versions: Float64Array;
  readonly #counts: Int32Array;

  constructor(population: Population, readers: number) {
    this.#population = population;
    this.#perReader = perReader(population);
    this.#places = placesPerService(population);
    const views = readers * this.#perReader;
    this.#marks = new Int32Array(views * this.#places);
    this.#versions = new Float64Array(views);
    this.#counts = new Int32Array(views);
  }

  viewOf(reader: number, offset: number): number {
    return reader * this.#perReader + offset;
  }

  versionOf(view: number): number {
    return this.#versions[view]!;
  }

  countOf(view: number): number {
    return this.#counts[view]!;
  }

  setVersion(view: number, version: number): void {
    this.#versions[view] = version;
  }

  put(view: number, instance: number, mark: number): number {
    const at = view * this.#places + placeOf(this.#population, instance);
    const before = this.#marks[at]!;
    if (before === 0) this.#counts[view]! += 1;
    this.#marks[at] = mark + 1;
    return before - 1;
  }

  remove(view: number, instance: number): boolean {
    const at = view * this.#places + placeOf(this.#population, instance);
    if (this.#marks[at] === 0) return false;
    this.#marks[at] = 0;
    this.#counts[view]! -= 1;
    return true;
  }

  /** Empties a list before a snapshot is read into it; returns what it held. */
  empty(view: number): Int32Array {
    const at = view * this.#places;
    const before = this.#marks.slice(at, at + this.#places);
    this.#marks.fill(0, at, at + this.#places);
    this.#counts[view] = 0;
    return before;
  }

  /** Says where a list differs from what it should hold; `expected` gives an instance's mark, or -1. Undefined: nowhere. */
  findDifference(view: number, service: number, expected: (instance: number) => number): string | undefined {
    for (let place = 0; place < this.#places; place += 1) {
      const instance = place * this.#population.services + service;
      if (instance >= this.#population.instances) break;
      const should = expected(instance);
      const is = this.#marks[view * this.#places + place]! - 1;
      if (is !== should)
        return `instance ${instance} of service ${serviceOf(this.#population, instance)}: holds ${formatMark(is)}, should hold ${formatMark(should)}`;
    }
    return undefined;
  }
}

function formatMark(mark: number): string {
  return mark === -1 ? 'nothing' : mark === 0 ? 'the first registration' : `change ${mark - 1}`;
}
