import type { SubscribeMode } from '../protocol/types.ts';
import type { ServiceRecord } from '../slots/service-record.ts';
import { Interest, variants } from './interest.ts';
import { encodeDifference, encodeInstances } from './push-encoding.ts';

/** One push: the same bytes for all subscribers of a variant, whichever host they are on. */
export interface Push {
  readonly key: string;
  readonly variant: SubscribeMode;
  /** The version that the subscribers were brought to by the push before. */
  readonly from: number;
  readonly to: number;
  /** Instances after it. */
  readonly count: number;
  /** `"put":[…],"remove":[…]` of a delta; the JSON array of instances of a snapshot. */
  readonly body: string;
  /** When the oldest change in it was asked for, in milliseconds; 0: not known. */
  readonly changedAtMs: number;
  readonly hosts: ReadonlySet<number>;
}

/** A service that somebody subscribes: who, what they have been told, and what has changed since. */
export class WatchedService {
  readonly service: ServiceRecord;
  readonly interest: Interest = new Interest();
  /** Until when changes are gathered; set by the coalescer. Milliseconds, monotonic. */
  windowEndsAt: number = Number.NEGATIVE_INFINITY;
  #pushedVersion: number;
  /** Content at the last push of every instance that changed since; undefined: it was not there; null: not known, so it is told. */
  #before: Map<string, string | undefined | null> = new Map();
  /** Whether somebody was given a state from in between, so that changes that cancel out must still be told. */
  #wasReadBetween = false;
  /** When the oldest change since the last push was asked for; 0: not known. */
  #changedAtMs = 0;
  #changeCount = 0;

  /** `pushedVersion`: what its subscribers have been brought to. */
  constructor(service: ServiceRecord, pushedVersion: number = service.version) {
    this.service = service;
    this.#pushedVersion = pushedVersion;
  }

  get pushedVersion(): number {
    return this.#pushedVersion;
  }

  /** After a rebuild: there are subscribers who hold versions from `from` on. */
  resume(from: number): void {
    this.#pushedVersion = Math.min(this.#pushedVersion, from);
  }

  /** After a rebuild: subscribers may not have been told of these, and are told whatever they hold. */
  retell(ids: Iterable<string>): void {
    for (const id of ids) this.#before.set(id, null);
    // Whoever holds a version in between must be told all the same.
    this.#wasReadBetween = true;
  }

  get isDirty(): boolean {
    return this.#before.size > 0;
  }

  /** Changes noted since the last push. */
  get changeCount(): number {
    return this.#changeCount;
  }

  /** `askedAtMs`: when the change was asked for; 0: not known. */
  noteChange(id: string, before: string | undefined, askedAtMs = 0): void {
    this.#changeCount += 1;
    if (this.#changedAtMs === 0) this.#changedAtMs = askedAtMs;
    if (!this.#before.has(id)) this.#before.set(id, before);
  }

  /** A new subscriber was given the present state, which may lie between two pushes. */
  noteSnapshotTaken(): void {
    if (this.isDirty) this.#wasReadBetween = true;
  }

  /** Encodes what changed since the last push, once per variant that is wanted (PU3). Empty when the changes cancelled out. */
  takePushes(): Push[] {
    const changed = this.#changedIds();
    this.#before.clear();
    this.#wasReadBetween = false;
    const changedAtMs = this.#changedAtMs;
    this.#changedAtMs = 0;
    this.#changeCount = 0;
    if (changed.length === 0) return [];
    const { key, version: to, instances } = this.service;
    const from = this.#pushedVersion;
    this.#pushedVersion = to;
    return variants
      .map((variant) => ({ variant, hosts: this.interest.hosts(variant) }))
      .filter(({ hosts }) => hosts.size > 0)
      .map(({ variant, hosts }) => {
        const body = variant === 'delta' ? encodeDifference(this.service, changed) : encodeInstances(this.service);
        return { key, variant, from, to, count: instances.size, body, changedAtMs, hosts };
      });
  }

  #changedIds(): string[] {
    if (this.#wasReadBetween) return [...this.#before.keys()];
    const changed: string[] = [];
    for (const [id, before] of this.#before) {
      if (this.service.fragmentOf(id) !== before) changed.push(id);
    }
    return changed;
  }
}
