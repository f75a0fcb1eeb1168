import type { Failure } from '../protocol/errors.ts';
import { encodeFilter, matchesFilter } from '../protocol/instance-filter.ts';
import type { Instance, InstanceFilter, InstanceInput, ServiceName, SubscribeMode } from '../protocol/types.ts';
import type { RegistrationPhase } from './registration-phase.ts';
import { covers } from './selection.ts';
import type { SubscriptionPhase } from './subscription-phase.ts';
import type { Difference, Span, View } from './view.ts';

/** Names a call of the user that waits to be settled. */
export type Ticket = number;

/** An instance that is to be registered whenever there is a connection, or to be taken away. One request at a time is about it. */
export interface RegistrationEntry {
  readonly kind: 'registration';
  readonly key: string;
  readonly service: ServiceName;
  readonly id: string;
  /** What is wanted; undefined: that it goes. It is forgotten once the server holds nothing of it. */
  wanted: InstanceInput | undefined;
  /** What a server last said yes to: what is fallen back to when a later content is refused. */
  accepted: InstanceInput | undefined;
  /** What the present session, or the one to be resumed, has acknowledged to hold. */
  held: InstanceInput | undefined;
  /** The weight that the service gave it, since it has none. */
  givenWeight: number | undefined;
  /** A request whose outcome is not known has been sent since, so the session may hold something else. */
  isUnsure: boolean;
  phase: RegistrationPhase;
  /** What the last request was put off with; the next answer replaces it. */
  postponement: Failure | undefined;
  version: number;
  /** It is kept although no call waits for it and no server has accepted it yet. */
  isStanding: boolean;
  /** Whether it is what subscribers see: another session may have registered the same instance later. */
  isShown: boolean;
  /** Tickets whose content has not been sent. */
  waitingCalls: Ticket[];
  /** Tickets that the request in flight will settle. */
  inFlightCalls: Ticket[];
  /** Tickets of those who took it away. */
  deregisterCalls: Ticket[];
}

interface Retention {
  readonly untilMs: number;
  /** As many instances as were known when it began: once the registry has so many, the others have gone. */
  readonly count: number;
}

/** A service that is subscribed whenever there is a connection, and what is known of it. A session has one subscription to a service. */
export interface SubscriptionEntry {
  readonly kind: 'subscription';
  readonly key: string;
  readonly service: ServiceName;
  readonly mode: SubscribeMode;
  /** What is asked for: what all who look have in common. As it is sent: without what lets everything through. */
  filter: InstanceFilter;
  readonly view: View;
  /** The filter that the view was answered with. */
  viewFilter: InstanceFilter;
  /** What users see, by the text of their filter. */
  readonly filtered: Map<string, FilteredView>;
  phase: SubscriptionPhase;
  /**
   * Whether the server can say what has changed since the view's version. `foreign`: the version is of another registry, and means
   * nothing to this one. `broken`: a change has been missed, so the next request asks for the whole list.
   */
  chain: 'intact' | 'foreign' | 'broken';
  /** The present session has answered it before. */
  isAnswered: boolean;
  /** The registry that answered has just started. */
  isWarming: boolean;
  /** An operator has switched the service off. */
  isSwitchedOff: boolean;
  /** Instances stay that are known from before and that the registry has not reported. */
  retention: Retention | undefined;
  /** The cache is being read. */
  isLoading: boolean;
  /** Until then those who subscribed wait for a registry, although the cache may have a list. */
  cacheDueAtMs: number | undefined;
  /** The view is as the cache had it, since no registry has reported anything of it: the registry that the cached list is of. */
  cached: { readonly registry: string | undefined } | undefined;
  /** When the list, which has changed since it was saved, is saved. */
  saveAtMs: number | undefined;
  /** Tickets of those who need not wait for a list. */
  readonly standing: Set<Ticket>;
  /** Whether the list was last reported as stale. */
  isReportedStale: boolean;
}

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
  waitingCalls: Ticket[] = [];
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

  /** Those of `instances` that the registry has not reported since the client connected to it, or since its restart. */
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

/** Whether what a subscription shows may be behind. */
export function isBehind({ phase, view }: SubscriptionEntry): boolean {
  return phase.kind !== 'live' || view.unconfirmedCount > 0;
}
