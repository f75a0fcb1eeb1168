import type { Instance, InstanceFilter, ServiceChanged, SubscribeResult } from '../../src/protocol/types.ts';

/** What a subscriber holds of one service, built by the rules of the protocol and nothing else; throws where they are broken. */
export class SubscriberView {
  version = -1;
  /** Which instances were asked for. */
  readonly filter: InstanceFilter;
  readonly instances: Map<string, Instance> = new Map();
  /** It was told that an operator has switched the service off. */
  isClosed = false;
  /** Snapshots and deltas taken so far. */
  pushes = 0;

  constructor(filter: InstanceFilter = {}) {
    this.filter = filter;
  }

  /** What somebody takes along who resumes from it. */
  copy(): SubscriberView {
    const copy = new SubscriberView(this.filter);
    copy.version = this.version;
    copy.isClosed = this.isClosed;
    for (const [id, instance] of this.instances) copy.instances.set(id, instance);
    return copy;
  }

  begin(result: SubscribeResult): void {
    if ('instances' in result) {
      this.#checkRise(result.version);
      this.#replace(result.instances);
    } else {
      if (result.from !== this.version) throw new Error(`[PU1] resumed from ${result.from}, held ${this.version}`);
      this.#checkRise(result.version);
      this.#apply(result.put, result.remove);
    }
    this.version = result.version;
    this.#note(result);
  }

  take(change: ServiceChanged): void {
    this.pushes += 1;
    if (change.to <= this.version) throw new Error(`[PU1] pushed version ${change.to}, held ${this.version}`);
    if ('snapshot' in change) {
      this.#replace(change.instances);
    } else {
      if (change.from !== this.version) throw new Error(`[PU1] delta from ${change.from}, held ${this.version}`);
      this.#apply(change.put, change.remove);
    }
    this.version = change.to;
    this.#note(change);
    if (this.instances.size !== change.count)
      throw new Error(`count is ${change.count}, the view has ${this.instances.size}`);
  }

  #note({ closed }: { readonly closed?: true }): void {
    this.isClosed = closed === true;
    if (this.isClosed && this.instances.size > 0) throw new Error('[SW2] a list that is closed has instances');
  }

  #checkRise(version: number): void {
    if (version < this.version) throw new Error(`version went back from ${this.version} to ${version}`);
  }

  #replace(instances: readonly Instance[]): void {
    this.instances.clear();
    for (const instance of instances) this.instances.set(instance.id, instance);
    if (this.instances.size !== instances.length) throw new Error('an instance stands twice in a list');
  }

  #apply(put: readonly Instance[], remove: readonly string[]): void {
    for (const instance of put) this.instances.set(instance.id, instance);
    for (const id of remove) this.instances.delete(id);
  }
}
