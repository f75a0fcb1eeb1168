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
  readonly hosts: ReadonlySet<number>;
}

/** A service that somebody subscribes: who, what they have been told, and what has changed since. */
export class WatchedService {
  readonly service: ServiceRecord;
  readonly interest: Interest = new Interest();
  /** Of each host that the last push went to, how much had been emitted to it in all: it is behind until it has credited that. */
  marks: Map<number, number> | undefined;
  #pushedVersion: number;
  /** Content at the last push of every instance that changed since; undefined: it was not there; null: not known, so it is told. */
  #before: Map<string, string | undefined | null> = new Map();
  /** Whether somebody was given a state from in between, so that changes that cancel out must still be told. */
  #wasReadBetween = false;

  /** `pushedVersion`: what its subscribers have been brought to. */
  constructor(service: ServiceRecord, pushedVersion: number = service.version) {
    this.service = service;
    this.#pushedVersion = pushedVersion;
  }

  get pushedVersion(): number {
    return this.#pushedVersion;
  }

  /** After a rebuild: subscribers hold versions from `from` on, and may not have been told of what is `touched`. */
  resume(from: number, touched: readonly string[]): void {
    this.#pushedVersion = Math.min(this.#pushedVersion, from);
    for (const id of touched) this.#before.set(id, null);
    // Whoever holds a version in between must be told all the same.
    if (touched.length > 0) this.#wasReadBetween = true;
  }

  get isDirty(): boolean {
    return this.#before.size > 0;
  }

  noteChange(id: string, before: string | undefined): void {
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
    if (changed.length === 0) return [];
    const { key, version: to, instances } = this.service;
    const from = this.#pushedVersion;
    this.#pushedVersion = to;
    return variants
      .map((variant) => ({ variant, hosts: this.interest.hosts(variant) }))
      .filter(({ hosts }) => hosts.size > 0)
      .map(({ variant, hosts }) => {
        const body = variant === 'delta' ? encodeDifference(this.service, changed) : encodeInstances(this.service);
        return { key, variant, from, to, count: instances.size, body, hosts };
      });
  }

  #changedIds(): string[] {
    if (this.#wasReadBetween) return [...this.#before.keys()];
    const changed: string[] = [];
    for (const [id, before] of this.#before) {
      if (this.service.instances.get(id)?.fragment !== before) changed.push(id);
    }
    return changed;
  }
}
