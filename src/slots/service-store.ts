import type { Failure } from '../protocol/errors.ts';
import { compareBytes } from './byte-order.ts';
import type { TextCodec } from './fragment-bytes.ts';
import { InstanceTable } from './instance-table.ts';
import type { StoredInstance } from './service-instances.ts';
import { ServiceRecord } from './service-record.ts';
import { SortedKeys } from './sorted-keys.ts';

/** Whose registration was replaced by another session's. */
export interface Takeover {
  readonly owner: number;
  readonly stamp: number;
}

export type RegisterOutcome =
  | { readonly kind: 'unchanged'; readonly service: ServiceRecord; readonly takeover: Takeover | undefined }
  | {
      readonly kind: 'changed';
      readonly service: ServiceRecord;
      readonly takeover: Takeover | undefined;
      /** The content before, or undefined if the instance is new. */
      readonly before: string | undefined;
    }
  | {
      readonly kind: 'refused';
      readonly failure: Failure;
      /** The content that stands, if the instance is there and the caller's own; its stamp is the refused one's. */
      readonly stands?: string;
    };

export type RemoveOutcome =
  | { readonly kind: 'removed'; readonly service: ServiceRecord; readonly before: string }
  | { readonly kind: 'refused'; readonly failure: Failure };

export interface ListQuery {
  /** Empty: every namespace. */
  readonly namespace: string;
  readonly prefix: string;
  /** Only keys after this one; empty: from the start. */
  readonly after: string;
  readonly limit: number;
}

export interface ListPage {
  readonly services: { readonly key: string; readonly instances: number }[];
  looked: number;
}

/** The character that follows the one which ends the parts of a key. */
const afterSlash = '0';

export interface StoreLimits {
  readonly instancesPerServiceMax: number;
  readonly instancesPerPartitionMax: number;
  /** Of the texts of all instances. */
  readonly instanceBytesMax: number;
  /** Of the texts of one service's. A list must stay far below the longest text that there can be, 2^29 characters. */
  readonly serviceListBytesMax: number;
}

/**
 * The services and instances of the slots that one partition owns. Synchronous and pure: the clock comes in as an argument.
 * It knows owners, contents and versions; who is told about changes is the push pipeline's business.
 */
export class ServiceStore {
  readonly #services: Map<string, ServiceRecord> = new Map();
  /** Of the services that have instances. */
  readonly #listed: SortedKeys = new SortedKeys();
  readonly #limits: StoreLimits;
  readonly #table: InstanceTable;
  /** No service forgotten here ever had a version above this: what it starts with when it comes back. */
  #versionFloor: number;

  constructor(limits: StoreLimits, codec: TextCodec, versionFloor: number) {
    this.#limits = limits;
    this.#table = new InstanceTable(codec);
    this.#versionFloor = versionFloor;
  }

  get serviceCount(): number {
    return this.#services.size;
  }

  get instanceCount(): number {
    return this.#table.count;
  }

  get(key: string): ServiceRecord | undefined {
    return this.#services.get(key);
  }

  /** The version that an unknown service answers with. */
  get versionFloor(): number {
    return this.#versionFloor;
  }

  obtain(key: string): ServiceRecord {
    let service = this.#services.get(key);
    if (service === undefined) {
      service = this.create(key, this.#versionFloor);
      this.#services.set(key, service);
    }
    return service;
  }

  /** A service that is filled elsewhere, and then attached. */
  create(key: string, version: number): ServiceRecord {
    return new ServiceRecord(key, version, this.#table);
  }

  /** Forgets a service that has no instances. Its version is remembered in the floor, so it can never go back. */
  forget(service: ServiceRecord): void {
    if (service.instances.size > 0) throw new Error(`service still has instances: ${service.key}`);
    this.#versionFloor = Math.max(this.#versionFloor, service.version);
    this.#services.delete(service.key);
  }

  /**
   * SE1: the last to register owns. Of two sessions the last is the one whose request came here last, whatever their stamps. SE5: what is already
   * there changes nothing.
   */
  register(key: string, id: string, instance: StoredInstance, nowMicros: number): RegisterOutcome {
    const known = this.#services.get(key);
    const row = known?.instances.find(id) ?? -1;
    if (known === undefined || row === -1) return this.#add(key, id, instance, nowMicros);
    const current = known.instances.read(row);
    if (current.owner === instance.owner && current.stamp > instance.stamp) {
      // Sent again after a rebuild that already brought back what the session registered later: it was overtaken, and changes nothing.
      return { kind: 'unchanged', service: known, takeover: undefined };
    }
    const takeover = current.owner === instance.owner ? undefined : { owner: current.owner, stamp: current.stamp };
    if (current.fragment === instance.fragment) {
      known.instances.note(row, instance);
      return { kind: 'unchanged', service: known, takeover };
    }
    const refused = this.#refuseBytes(known, instance.fragment, known.instances.bytesOf(row));
    if (refused !== undefined) {
      if (takeover !== undefined) return refused;
      known.instances.note(row, instance);
      return { ...refused, stands: current.fragment };
    }
    known.instances.replace(row, instance);
    known.advance(id, nowMicros);
    return { kind: 'changed', service: known, takeover, before: current.fragment };
  }

  #add(key: string, id: string, instance: StoredInstance, nowMicros: number): RegisterOutcome {
    if (this.#table.count >= this.#limits.instancesPerPartitionMax) {
      return refuseBound('instancesPerPartitionMax', this.#limits.instancesPerPartitionMax);
    }
    if ((this.#services.get(key)?.instances.size ?? 0) >= this.#limits.instancesPerServiceMax) {
      return refuseBound('instancesPerServiceMax', this.#limits.instancesPerServiceMax);
    }
    const refused = this.#refuseBytes(this.#services.get(key), instance.fragment, 0);
    if (refused !== undefined) return refused;
    const service = this.obtain(key);
    service.instances.add(id, instance);
    service.advance(id, nowMicros);
    if (service.instances.size === 1) this.#listed.add(key);
    return { kind: 'changed', service, takeover: undefined, before: undefined };
  }

  /** Whether a text is too much, for its service or in all. One that takes the place of a text of at least its length never is. */
  #refuseBytes(service: ServiceRecord | undefined, fragment: string, oldBytes: number): RefusedOutcome | undefined {
    const { instanceBytesMax, serviceListBytesMax } = this.#limits;
    const bytes = this.#table.measure(fragment);
    if (oldBytes > 0 && bytes <= oldBytes) return undefined;
    if ((service?.instances.bytes ?? 0) - oldBytes + bytes + 1 > serviceListBytesMax) {
      return refuseBound('serviceListBytesMax', serviceListBytesMax);
    }
    return this.#table.hasRoom(fragment, instanceBytesMax)
      ? undefined
      : refuseBound('instanceBytesMax', instanceBytesMax);
  }

  /**
   * Rebuilding: puts back what a session holds, without a change of version. Of two sessions that hold the same instance the higher
   * stamp wins (SE1); the loser is returned. So is what a list cannot hold: beside what was acknowledged, sessions also hold what is under way, and all of it together
   * may be up to twice what a list may be.
   */
  restore(key: string, id: string, instance: StoredInstance): Takeover | undefined {
    const service = this.obtain(key);
    const row = service.instances.find(id);
    const oldBytes = row === -1 ? 0 : service.instances.bytesOf(row);
    const bytes = service.instances.bytes - oldBytes + this.#table.measure(instance.fragment);
    if (bytes > this.#limits.serviceListBytesMax * 2) return { owner: instance.owner, stamp: instance.stamp };
    if (row === -1) {
      service.instances.add(id, instance);
      if (service.instances.size === 1) this.#listed.add(key);
      return undefined;
    }
    const current = service.instances.read(row);
    if (current.stamp > instance.stamp) return { owner: instance.owner, stamp: instance.stamp };
    service.instances.replace(row, instance);
    return current.owner !== instance.owner ? { owner: current.owner, stamp: current.stamp } : undefined;
  }

  /** Takes a service out that another partition is given: its instances are forgotten. */
  detach(service: ServiceRecord): void {
    this.#services.delete(service.key);
    if (service.instances.size > 0) this.#listed.delete(service.key);
    service.instances.clear();
  }

  /** Takes in a service that another partition gave away. */
  attach(service: ServiceRecord): void {
    if (this.#services.has(service.key)) throw new Error(`service is here already: ${service.key}`);
    this.#services.set(service.key, service);
    if (service.instances.size > 0) this.#listed.add(service.key);
  }

  /** Services may come here that another partition forgot. */
  raiseVersionFloor(version: number): void {
    this.#versionFloor = Math.max(this.#versionFloor, version);
  }

  /** Removes what `owner` registered; refuses what is not there or is another's. */
  deregister(key: string, id: string, owner: number, nowMicros: number): RemoveOutcome {
    const service = this.#services.get(key);
    const row = service?.instances.find(id) ?? -1;
    if (service === undefined || row === -1) {
      return {
        kind: 'refused',
        failure: { code: 'not_found', message: `no instance ${JSON.stringify(id)} in ${key}` },
      };
    }
    const current = service.instances.read(row);
    if (current.owner !== owner) {
      const message = `instance ${JSON.stringify(id)} is registered by another session`;
      return { kind: 'refused', failure: { code: 'not_owner', message } };
    }
    service.instances.delete(id);
    service.advance(id, nowMicros);
    if (service.instances.size === 0) this.#listed.delete(key);
    return { kind: 'removed', service, before: current.fragment };
  }

  /**
   * One page, in the order of the keys' bytes, of the services that have instances. `looked`: how many keys were looked at for it, which with a prefix may be
   * more than were found: one or two in each group that has none with it.
   */
  list({ namespace, prefix, after, limit }: ListQuery): ListPage {
    const page: ListPage = { services: [], looked: 0 };
    let start = after;
    while (page.services.length < limit) {
      const next = this.#listFrom(start, { namespace, prefix, after, limit }, page);
      if (next === undefined) break;
      start = next;
    }
    return page;
  }

  /** Adds keys from `start` on, and returns where to go on after a gap; undefined at the end. */
  #listFrom(start: string, { namespace, prefix, after, limit }: ListQuery, page: ListPage): string | undefined {
    const first = namespace === '' ? start : laterOf(start, `${namespace}/`);
    for (const key of this.#listed.from(first)) {
      page.looked += 1;
      if (key === after) continue;
      if (namespace !== '' && !key.startsWith(`${namespace}/`)) return undefined;
      const nameAt = key.indexOf('/', key.indexOf('/') + 1) + 1;
      if (!key.startsWith(prefix, nameAt)) {
        const group = key.slice(0, nameAt);
        const wanted = group + prefix;
        // Those with the prefix come later in this group, or there are no more of them in it: on with the next group.
        return compareBytes(key, wanted) < 0 ? wanted : `${group.slice(0, -1)}${afterSlash}`;
      }
      page.services.push({ key, instances: this.#services.get(key)?.instanceCount ?? 0 });
      if (page.services.length >= limit) return undefined;
    }
    return undefined;
  }

  services(): IterableIterator<ServiceRecord> {
    return this.#services.values();
  }
}

type RefusedOutcome = Extract<RegisterOutcome, { readonly kind: 'refused' }>;

function refuseBound(limit: keyof StoreLimits, max: number): RefusedOutcome {
  return { kind: 'refused', failure: { code: 'limit_exceeded', message: `${limit} is ${max}`, limit, max } };
}

function laterOf(a: string, b: string): string {
  return compareBytes(a, b) < 0 ? b : a;
}
