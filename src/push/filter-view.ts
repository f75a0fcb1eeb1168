import { matchesFilter, parseFilter } from '../protocol/instance-filter.ts';
import type { Traits } from '../protocol/instance-filter.ts';
import type { InstanceFilter } from '../protocol/types.ts';

/** The instances of a service that match a filter, maintained with every change, so that the cost of a push depends on what changed. */
export class FilterView {
  readonly #filter: InstanceFilter;
  readonly #members: Set<string> = new Set();
  /** Of every instance that changed since the last push: whether it was in the view then. */
  readonly #before: Map<string, boolean> = new Map();

  /** `filter`: its canonical text; `instances`: all of the service. */
  constructor(filter: string, instances: Iterable<Traits>) {
    this.#filter = parseFilter(filter);
    for (const traits of instances) {
      if (matchesFilter(traits, this.#filter)) this.#members.add(traits.id);
    }
  }

  get count(): number {
    return this.#members.size;
  }

  ids(): Iterable<string> {
    return this.#members;
  }

  has(id: string): boolean {
    return this.#members.has(id);
  }

  /** `after`: undefined if the instance has gone. */
  noteChange(id: string, after: Traits | undefined): void {
    if (!this.#before.has(id)) this.#before.set(id, this.#members.has(id));
    if (after !== undefined && matchesFilter(after, this.#filter)) this.#members.add(id);
    else this.#members.delete(id);
  }

  /** It is not known whether subscribers have the instance, so it is pushed in any case. */
  noteDoubt(id: string): void {
    this.#before.set(id, true);
  }

  /** What changed since the last push: ids that are or were in the view, or all that were looked at. */
  changedIds(isEverythingTold: boolean): string[] {
    const changed: string[] = [];
    for (const [id, wasMember] of this.#before) {
      if (isEverythingTold || wasMember || this.#members.has(id)) changed.push(id);
    }
    return changed;
  }

  /** Whether an instance went in or out since the last push. */
  hasCrossed(id: string): boolean {
    return this.#before.get(id) !== this.#members.has(id);
  }

  settle(): void {
    this.#before.clear();
  }
}
