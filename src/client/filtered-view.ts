import { encodeFilter, matchesFilter } from '../protocol/instance-filter.ts';
import type { Instance, InstanceFilter } from '../protocol/types.ts';
import { isBehind } from './books.ts';
import type { SubscriptionEntry, Ticket } from './books.ts';
import { covers } from './selection.ts';
import type { Difference, Span } from './view.ts';

/**
 * What one filter lets through of a service's view. All filters of a service share one subscription on the wire, whose filter is what
 * they have in common; with one filter that is the filter itself, and nothing is left to do here.
 */
export class FilteredView {
  readonly kind = 'view';
  readonly entry: SubscriptionEntry;
  readonly filter: InstanceFilter;
  /** How many `Subscription`s show it. */
  handles = 0;
  /** Tickets that wait for the first list. */
  waiting: Ticket[] = [];
  readonly #isEverything: boolean;
  #list: readonly Instance[] | undefined;
  #source: readonly Instance[] | undefined;

  constructor(entry: SubscriptionEntry, filter: InstanceFilter) {
    this.entry = entry;
    this.filter = filter;
    this.#isEverything = encodeFilter(filter) === '';
  }

  /** Undefined until there is a list that holds all that the filter lets through. */
  get version(): number | undefined {
    return covers(this.entry.viewFilter, this.filter) ? this.entry.view.version : undefined;
  }

  /** The same frozen array until something in it changes. */
  get instances(): readonly Instance[] {
    const { instances } = this.entry.view;
    if (this.#isEverything) return instances;
    if (this.#list === undefined || this.#source !== instances) {
      const list = instances.filter((instance) => this.#has(instance));
      this.#source = instances;
      if (this.#list === undefined || !isSameList(this.#list, list)) this.#list = Object.freeze(list);
    }
    return this.#list;
  }

  /** Those of `instances` that the registry has not told of since the client came to it, or since it started anew. */
  get unconfirmed(): readonly Instance[] {
    const { view } = this.entry;
    return view.unconfirmedCount === 0 ? [] : this.instances.filter(({ id }) => view.isUnconfirmed(id));
  }

  get isStale(): boolean {
    return isBehind(this.entry) || this.version === undefined;
  }

  get(id: string): Instance | undefined {
    const instance = this.entry.view.get(id);
    return this.#has(instance) ? instance : undefined;
  }

  /** What of a difference of the whole view concerns this filter. */
  select(difference: Difference): Difference {
    if (this.#isEverything) return difference;
    const selected: Span[] = [];
    for (const span of difference) {
      const before = this.#has(span.before) ? span.before : undefined;
      const after = this.#has(span.after) ? span.after : undefined;
      if (before === after) continue;
      selected.push(before === span.before && after === span.after ? span : { before, after });
    }
    return selected;
  }

  #has(instance: Instance | undefined): boolean {
    return instance !== undefined && (this.#isEverything || matchesFilter(instance, this.filter));
  }
}

function isSameList(a: readonly Instance[], b: readonly Instance[]): boolean {
  return a.length === b.length && a.every((instance, index) => instance === b[index]);
}
