import { readTraits } from '../protocol/instance-filter.ts';
import type { Traits } from '../protocol/instance-filter.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import { FilterView } from './filter-view.ts';
import type { VariantInterest } from './interest.ts';
import { encodeDifference, encodeList } from './push-encoding.ts';
import { readVariant } from './variant.ts';

/** One push: the same bytes for all subscribers of a variant, whichever host they are on. */
export interface Push {
  readonly key: string;
  /** The variant's text. */
  readonly variant: string;
  /** The version that the subscribers were brought to by the push before. */
  readonly from: number;
  readonly to: number;
  /** Instances in the list after it. */
  readonly count: number;
  /** Fields of a JSON object: `"put":[…],"remove":[…]` of a delta, `"instances":[…]` of a snapshot, and what else is to be said. */
  readonly body: string;
  /** When the oldest change in it was asked for, in milliseconds; 0: not known. */
  readonly changedAtMs: number;
  readonly hosts: readonly number[];
}

interface Round {
  readonly owed: VariantInterest[];
  during: Set<string> | undefined;
  isTurned: boolean;
  changedAtMs: number;
}

/** A service with subscriptions: who subscribes, what they have been sent, and what has changed since. */
export class WatchedService {
  readonly service: ServiceRecord;
  /** Of each host that the last push went to, how much had been emitted to it in all: it is behind until it has credited that. */
  marks: Map<number, number> | undefined;
  readonly #readAllTraits: () => Iterable<Traits>;
  /** Mostly one: most services are watched plainly, and there may be very many of them. So maps are made when something comes into them. */
  #variants: readonly VariantInterest[] = [];
  /** By the text of their filter. Two variants of one filter share a view. */
  #views: Map<string, FilterView> | undefined;
  /** Content at the last push of every instance that changed since; undefined: it was not there; null: unknown, so it is pushed. */
  #before: Map<string, string | undefined | null> | undefined;
  /** When the oldest change since the last push was asked for; 0: not known. */
  #changedAtMs = 0;
  #changeCount = 0;
  /** A round of pushes that has begun: the variants that are still to be pushed in it, the next one last, what changed meanwhile, and whether the service was closed or opened. */
  #round: Round | undefined;

  /** `readAllTraits`: of the service's instances as they are; whoever makes many views in a turn parses them only once. */
  constructor(service: ServiceRecord, readAllTraits: () => Iterable<Traits>) {
    this.service = service;
    this.#readAllTraits = readAllTraits;
  }

  get isDirty(): boolean {
    return this.#before !== undefined;
  }

  /** Whether a round of pushes has begun and not ended. */
  get isInRound(): boolean {
    return this.#round !== undefined;
  }

  /** Changes noted since the last push. */
  get changeCount(): number {
    return this.#changeCount;
  }

  /** Whether it has no subscribers. */
  get isUnwanted(): boolean {
    return this.#variants.length === 0;
  }

  /** How many variants with a filter there are. */
  get filteredCount(): number {
    let count = 0;
    for (const { view } of this.#variants) if (view !== undefined) count += 1;
    return count;
  }

  variants(): Iterable<VariantInterest> {
    return this.#variants;
  }

  has(variant: string): boolean {
    return this.#find(variant) !== undefined;
  }

  isWantedBy(host: number, variant: string): boolean {
    return this.#find(variant)?.hosts.includes(host) === true;
  }

  /** The view of a filter, if one of the variants has it. */
  findView(filter: string): FilterView | undefined {
    return this.#views?.get(filter);
  }

  /** A host has subscribers of a variant. Those that are new begin with the present state. */
  addInterest(host: number, text: string): VariantInterest {
    const known = this.#find(text);
    if (known !== undefined) {
      if (!known.hosts.includes(host)) known.hosts = [...known.hosts, host];
      return known;
    }
    const variant = readVariant(text);
    const view = variant.filter === '' ? undefined : this.#obtainView(variant.filter);
    const interest = {
      variant,
      view,
      hosts: [host],
      pushedVersion: this.service.version,
      wasReadBetween: false,
      knowsClosed: this.service.isClosed,
    };
    this.#variants = [...this.#variants, interest];
    return interest;
  }

  removeInterest(host: number, text: string): void {
    const interest = this.#find(text);
    if (interest === undefined) return;
    interest.hosts = interest.hosts.filter((other) => other !== host);
    if (interest.hosts.length > 0) return;
    this.#variants = this.#variants.filter((other) => other !== interest);
    const { filter } = interest.variant;
    for (const { variant } of this.#variants) if (variant.filter === filter) return;
    this.#views?.delete(filter);
  }

  #find(text: string): VariantInterest | undefined {
    for (const interest of this.#variants) if (interest.variant.text === text) return interest;
    return undefined;
  }

  /** A new subscriber is given the present state, which may lie between two pushes. */
  noteSnapshotTaken(interest: VariantInterest): void {
    if (!this.isDirty) return;
    interest.wasReadBetween = true;
    if (interest.knowsClosed !== this.service.isClosed) interest.knowsClosed = undefined;
  }

  /** An operator has closed the service, or opened it again; {@link noteChange} is told which instances come or go by that. */
  noteTurned(): void {
    this.#before ??= new Map();
    if (this.#round !== undefined) this.#round.isTurned = true;
  }

  /** After a rebuild: a host has subscribers of a variant who hold versions from `from` on. */
  resume(host: number, text: string, from: number): void {
    const interest = this.addInterest(host, text);
    interest.pushedVersion = Math.min(interest.pushedVersion, from);
  }

  /** After a rebuild: subscribers may not have received these, so they are pushed in any case. */
  resend(ids: Iterable<string>): void {
    this.#before ??= new Map();
    this.#doubt(ids);
    for (const interest of this.#variants) {
      // Subscribers at a version in between need it all the same.
      interest.wasReadBetween = true;
      interest.knowsClosed = undefined;
    }
  }

  /** `askedAtMs`: when the change was asked for; 0: not known. */
  noteChange(id: string, before: string | undefined, askedAtMs = 0): void {
    this.#changeCount += 1;
    if (this.#changedAtMs === 0) this.#changedAtMs = askedAtMs;
    this.#before ??= new Map();
    if (!this.#before.has(id)) this.#before.set(id, before);
    const round = this.#round;
    if (round !== undefined) {
      if (round.changedAtMs === 0) round.changedAtMs = askedAtMs;
      round.during ??= new Set();
      round.during.add(id);
    }
    if (this.#views === undefined) return;
    // Taken apart once, whatever the number of filters.
    const fragment = this.service.fragmentOf(id);
    const after = fragment === undefined ? undefined : readTraits(fragment);
    for (const view of this.#views.values()) view.noteChange(id, after);
  }

  /**
   * The next push of a round, which encodes what changed since the last round once for each variant for which something did (PU3); undefined at the end of the
   * round. Other things may happen between two pushes: what changes then is told to those that still wait, and again to all in the next round, since
   * those that did not wait have not seen it.
   */
  takePush(): Push | undefined {
    this.#round ??= { owed: this.#variants.toReversed(), during: undefined, isTurned: false, changedAtMs: 0 };
    for (let interest = this.#round.owed.pop(); interest !== undefined; interest = this.#round.owed.pop()) {
      // Nobody wants it any more.
      if (!this.#variants.includes(interest)) continue;
      const changed = this.#changedIds(interest);
      interest.wasReadBetween = false;
      if (changed.length === 0 && interest.knowsClosed === this.service.isClosed) continue;
      interest.knowsClosed = this.service.isClosed;
      const push = this.#encode(interest, changed);
      if (this.#round.owed.length === 0) this.#endRound(this.#round);
      return push;
    }
    this.#endRound(this.#round);
    return undefined;
  }

  #endRound({ during, isTurned, changedAtMs }: Round): void {
    this.#round = undefined;
    // Those that did not wait do not know yet.
    this.#before = isTurned ? new Map() : undefined;
    this.#changedAtMs = changedAtMs;
    this.#changeCount = during?.size ?? 0;
    for (const view of this.#views?.values() ?? []) view.settle();
    if (during !== undefined) this.#doubt(during);
  }

  /** It is not known who has received these, so they are pushed to all. */
  #doubt(ids: Iterable<string>): void {
    for (const id of ids) {
      this.#before ??= new Map();
      this.#before.set(id, null);
      for (const view of this.#views?.values() ?? []) view.noteDoubt(id);
    }
  }

  #encode(interest: VariantInterest, changed: readonly string[]): Push {
    const { service } = this;
    const { variant, view, pushedVersion: from, hosts } = interest;
    const { key, version: to } = service;
    interest.pushedVersion = to;
    const count = view === undefined ? service.instanceCount : view.count;
    const body = variant.mode === 'delta' ? encodeDifference(service, changed, view) : encodeList(service, view?.ids());
    return { key, variant: variant.text, from, to, count, body, changedAtMs: this.#changedAtMs, hosts };
  }

  #changedIds({ view, wasReadBetween }: VariantInterest): string[] {
    const ids = view === undefined ? [...(this.#before?.keys() ?? [])] : view.changedIds(wasReadBetween);
    if (wasReadBetween) return ids;
    return ids.filter((id) => view?.hasCrossed(id) === true || this.service.fragmentOf(id) !== this.#before?.get(id));
  }

  #obtainView(filter: string): FilterView {
    this.#views ??= new Map();
    let view = this.#views.get(filter);
    if (view === undefined) {
      view = new FilterView(filter, this.#readAllTraits());
      this.#views.set(filter, view);
    }
    return view;
  }
}
