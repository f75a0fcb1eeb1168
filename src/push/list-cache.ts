import { matchesFilter, parseFilter, readTraits } from '../protocol/instance-filter.ts';
import type { Traits } from '../protocol/instance-filter.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { FilterView } from './filter-view.ts';
import { encodeList } from './push-encoding.ts';

/** The instances of a service, or those that a filter lets through, as fields of a JSON object: `"instances":[…]` and what else is to be said of the list. */
export interface EncodedList {
  readonly count: number;
  readonly text: string;
}

/** What making something costs: about a thousand to a millisecond's thousandth. */
export type Spend = (work: number) => void;

/** In characters of text that could be written meanwhile: a row that is looked at, and one that is parsed, in addition to its text. */
const rowWork = 64;
const parseWork = 512;
const parseFactor = 4;
/** What an entry counts for in addition to its text. */
const entryCharacters = 256;

/** The parsed instances of a service, as far as parsing has got. */
interface TakenApart {
  readonly traits: Map<string, Traits>;
  /** Changed since; read again when they are needed. */
  readonly stale: Set<string>;
  /** Undefined: all are. */
  rest: Iterator<string> | undefined;
  bytes: number;
}

/**
 * Lists as they were last encoded, by service and filter, and the parsed instances of services for subscribers with filters, as long as they do not
 * change: a storm of readers costs one encoding, and readers with different filters one look at each instance. Least recently used go first.
 */
export class ListCache {
  readonly #charactersMax: number;
  readonly #spend: Spend;
  readonly #lists: Map<ServiceRecord, Map<string, EncodedList>> = new Map();
  #characters = 0;
  readonly #apart: Map<ServiceRecord, TakenApart> = new Map();
  #apartBytes = 0;

  /** `charactersMax`: of lists, and as much again of parsed instances; what is in use now may be more. */
  constructor(charactersMax: number, spend: Spend) {
    this.#charactersMax = charactersMax;
    this.#spend = spend;
  }

  /** A change of one instance. */
  noteChange(service: ServiceRecord, id: string): void {
    if (this.#lists.size > 0) this.#dropLists(service);
    if (this.#apart.size === 0) return;
    const apart = this.#apart.get(service);
    if (apart === undefined) return;
    apart.stale.add(id);
    // One that is not read any more must not keep costing memory for each change; nor may rows move while they are read.
    if (apart.rest !== undefined || apart.stale.size * 4 > apart.traits.size) this.#dropApart(service);
  }

  forget(service: ServiceRecord): void {
    this.#dropLists(service);
    this.#dropApart(service);
  }

  find(service: ServiceRecord, filter: string): EncodedList | undefined {
    return this.#lists.get(service)?.get(filter);
  }

  /** `view`: if the filter has one that is kept up; else {@link takeApart} must be done. */
  encode(service: ServiceRecord, filter: string, view: FilterView | undefined): EncodedList {
    const known = this.find(service, filter);
    if (known !== undefined) return known;
    const list = this.#encode(service, filter, view);
    this.#spend(list.text.length);
    const lists = this.#lists.get(service) ?? new Map<string, EncodedList>();
    // Moved to the end: the most recently used.
    this.#lists.delete(service);
    this.#lists.set(service, lists.set(filter, list));
    this.#characters += list.text.length + entryCharacters;
    for (const [oldest, { size }] of this.#lists) {
      if (this.#characters <= this.#charactersMax) break;
      if (oldest === service && size === 1) break;
      this.#dropLists(oldest);
    }
    return list;
  }

  /** Parses a service's instances until `isOver`; returns whether all have been parsed. If the service changes before that, parsing starts again. */
  takeApart(service: ServiceRecord, isOver: () => boolean): boolean {
    let apart = this.#apart.get(service);
    if (apart === undefined) {
      apart = { traits: new Map(), stale: new Set(), rest: service.fragments()[Symbol.iterator](), bytes: 0 };
      this.#apart.set(service, apart);
    }
    while (apart.rest !== undefined) {
      if (isOver()) return false;
      const next = apart.rest.next();
      if (next.done === true) apart.rest = undefined;
      else this.#add(apart, next.value);
    }
    this.#apart.delete(service);
    this.#apart.set(service, apart);
    for (const oldest of this.#apart.keys()) {
      if (this.#apartBytes <= this.#charactersMax || oldest === service) break;
      this.#dropApart(oldest);
    }
    return true;
  }

  /** All instances of a service, parsed. */
  traitsOf(service: ServiceRecord): Iterable<Traits> {
    this.takeApart(service, () => false);
    const { traits, stale } = this.#apart.get(service)!;
    for (const id of stale) {
      const fragment = service.fragmentOf(id);
      if (fragment === undefined) traits.delete(id);
      else traits.set(id, readTraits(fragment));
      this.#spend(parseWork + (fragment?.length ?? 0) * parseFactor);
    }
    stale.clear();
    this.#spend(traits.size * rowWork);
    return traits.values();
  }

  #add(apart: TakenApart, fragment: string): void {
    const traits = readTraits(fragment);
    apart.traits.set(traits.id, traits);
    apart.bytes += fragment.length;
    this.#apartBytes += fragment.length;
    this.#spend(parseWork + fragment.length * parseFactor);
  }

  #encode(service: ServiceRecord, filter: string, view: FilterView | undefined): EncodedList {
    if (filter === '') return { count: service.instanceCount, text: encodeList(service) };
    if (view !== undefined) return { count: view.count, text: encodeList(service, view.ids()) };
    const wanted = parseFilter(filter);
    const ids: string[] = [];
    for (const traits of this.traitsOf(service)) if (matchesFilter(traits, wanted)) ids.push(traits.id);
    return { count: ids.length, text: encodeList(service, ids) };
  }

  #dropLists(service: ServiceRecord): void {
    const lists = this.#lists.get(service);
    if (lists === undefined) return;
    for (const { text } of lists.values()) this.#characters -= text.length + entryCharacters;
    this.#lists.delete(service);
  }

  #dropApart(service: ServiceRecord): void {
    const apart = this.#apart.get(service);
    if (apart === undefined) return;
    this.#apartBytes -= apart.bytes;
    this.#apart.delete(service);
  }
}
