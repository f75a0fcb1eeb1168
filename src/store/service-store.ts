import type { Failure } from '../protocol/errors.ts';
import { replaceHealth } from '../protocol/instance-encoding.ts';
import type { Health } from '../protocol/types.ts';
import { compareBytes } from './byte-order.ts';
import type { EncodedText, TextCodec } from './fragment-bytes.ts';
import { markInstance, readMark, takeMarkOff } from './instance-mark.ts';
import { InstanceTable } from './instance-table.ts';
import type { NamespaceQuota, NamespaceQuotas } from './namespace-quotas.ts';
import { persistentOwner } from './persistent-owner.ts';
import type { ServiceInstances, StoredInstance } from './service-instances.ts';
import type { ServiceOverlay } from './service-overlay.ts';
import { ServiceRecord } from './service-record.ts';
import { SortedKeys } from './sorted-keys.ts';

/** What became of a session's claim to an instance because of what another one did (SE7). */
export interface ClaimNotice {
  readonly owner: number;
  /** Of the registration that it is about. */
  readonly stamp: number;
  readonly state: ClaimState;
  /** If it was dropped: the bound that was met. */
  readonly limit: keyof StoreLimits | undefined;
}

/** `dropped`: there are too many claims, and it was the oldest. */
export type ClaimState = 'shown' | 'hidden' | 'dropped';

/** Which hosts have to be informed of what; nearly always nothing. */
const nothingTold: readonly ClaimNotice[] = [];

/** What subscribers see is as before. */
export interface Unchanged {
  readonly kind: 'unchanged';
  readonly service: ServiceRecord;
  readonly told: readonly ClaimNotice[];
}

export interface Changed {
  readonly kind: 'changed';
  readonly service: ServiceRecord;
  readonly told: readonly ClaimNotice[];
  /** The content before, or undefined if the instance is new. */
  readonly before: string | undefined;
}

export interface Refused {
  readonly kind: 'refused';
  readonly failure: Failure;
  /** The caller's claim that stands, if it has one. */
  readonly stands?: StandingClaim;
}

/** What is left of a session's claim when a newer one of its own has been refused. */
export interface StandingClaim {
  readonly fragment: string;
  /** The refused one's if it shows; else its own, since no claim may come before the one that hides it. */
  readonly stamp: number;
}

export type StoreOutcome = Unchanged | Changed | Refused;

export interface ListQuery {
  /** Empty: every namespace. */
  readonly namespace: string;
  readonly prefix: string;
  /** Only keys after this one; empty: from the start. */
  readonly after: string;
  readonly limit: number;
}

/** A page as far as it has come. */
export interface ListPage {
  readonly services: { readonly key: string; readonly instances: number }[];
  /** Where to continue; undefined: it is whole. */
  next: string | undefined;
}

/** The character that follows the one which ends the parts of a key. */
const afterSlash = '0';

export interface StoreLimits {
  /** Sessions that have registered one instance. */
  readonly claimsPerInstanceMax: number;
  readonly instancesPerServiceMax: number;
  readonly instancesPerPartitionMax: number;
  /** Of the texts of all instances. */
  readonly instanceBytesMax: number;
  /** Of the texts of one service's. A list must stay far below the longest text that there can be, 2^29 characters. */
  readonly serviceListBytesMax: number;
}

/**
 * The services and instances of the slots that one partition owns. Synchronous and pure: the clock comes in as an argument.
 * It knows owners, contents and versions; who is notified of changes is the push pipeline's business.
 */
export class ServiceStore {
  readonly #services: Map<string, ServiceRecord> = new Map();
  /** Of the services that have instances. */
  readonly #listed: SortedKeys = new SortedKeys();
  /** What operators have laid over services, whether they are here or not. */
  readonly #overlays: Map<string, ServiceOverlay> = new Map();
  /** What checks have found, by service and id, unless it is that all is well; of services that are here and of others. */
  readonly #found: Map<string, Map<string, Health>> = new Map();
  /** Health thresholds that services are declared with, whether they are here or not. */
  readonly #healthThresholds: Map<string, number> = new Map();
  readonly #limits: StoreLimits;
  readonly #quotas: NamespaceQuotas | undefined;
  readonly #table: InstanceTable;
  /** Claims that do not show. */
  #hiddenCount = 0;
  /** No service forgotten here ever had a version above this: what it starts with when it comes back. */
  #versionFloor: number;

  /** `quotas`: of namespaces; without them there are none. */
  constructor(limits: StoreLimits, codec: TextCodec, versionFloor: number, quotas?: NamespaceQuotas) {
    this.#limits = limits;
    this.#quotas = quotas;
    this.#table = new InstanceTable(codec);
    this.#versionFloor = versionFloor;
  }

  get serviceCount(): number {
    return this.#services.size;
  }

  /** Instances, each once, however many sessions claim it. */
  get instanceCount(): number {
    return this.#table.count - this.#hiddenCount;
  }

  /** Claims, those that do not show among them, and the bytes of their texts. */
  get claimCount(): number {
    return this.#table.count;
  }

  get usedBytes(): number {
    return this.#table.usedBytes;
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
    const service = new ServiceRecord(key, version, this.#table, this.#overlays.get(key), this.#found.get(key));
    service.healthThreshold = this.#healthThresholds.get(key);
    return service;
  }

  overlayOf(key: string): ServiceOverlay | undefined {
    return this.#overlays.get(key);
  }

  /** Lays something over a service, here or elsewhere, without a change of version; undefined: nothing. */
  setOverlay(key: string, overlay: ServiceOverlay | undefined): void {
    if (overlay === undefined) this.#overlays.delete(key);
    else this.#overlays.set(key, overlay);
    this.#services.get(key)?.setOverlay(overlay);
  }

  /** What the check of an instance has found, here or elsewhere, without a change of version. */
  setFound(key: string, id: string, health: Health): void {
    const found = this.#found.get(key) ?? new Map<string, Health>();
    if (health === 'passing') found.delete(id);
    else found.set(id, health);
    if (found.size === 0) this.#found.delete(key);
    else this.#found.set(key, found);
    this.#services.get(key)?.setFound(this.#found.get(key), id);
  }

  /** `share`: 0 to 1; 0: the service is declared with none. What is seen of it changes when it is judged next. */
  setHealthThreshold(key: string, share: number): void {
    if (share === 0) this.#healthThresholds.delete(key);
    else this.#healthThresholds.set(key, share);
    const service = this.#services.get(key);
    if (service !== undefined) service.healthThreshold = this.#healthThresholds.get(key);
  }

  /** The services here that are declared with a health threshold. */
  *withHealthThreshold(): Generator<ServiceRecord, void, undefined> {
    for (const key of this.#healthThresholds.keys()) {
      const service = this.#services.get(key);
      if (service !== undefined) yield service;
    }
  }

  hasFound(key: string, id: string): boolean {
    return this.#found.get(key)?.has(id) === true;
  }

  /** Forgets a service that has no instances. Its version is remembered in the floor, so it can never go back. */
  forget(service: ServiceRecord): void {
    if (service.instances.size > 0) throw new Error(`service still has instances: ${service.key}`);
    this.#versionFloor = Math.max(this.#versionFloor, service.version);
    this.#services.delete(service.key);
  }

  /**
   * SE7: the claim with the highest stamp shows, in whatever order they come; a session has one claim to an instance, its newest. SE5: what is already
   * there changes nothing.
   */
  register(key: string, id: string, instance: StoredInstance, nowMicros: number): StoreOutcome {
    const service = this.#services.get(key);
    const row = service?.instances.find(id) ?? -1;
    if (service === undefined || row === -1) return this.#add(key, id, instance, nowMicros);
    const { instances } = service;
    const current = instances.read(row);
    let told = nothingTold;
    if (current.owner !== instance.owner) {
      if (current.stamp > instance.stamp)
        return { kind: 'unchanged', service, told: this.#hide(service, id, instance) };
      const refused = this.#refuseBytes(service, instance.fragment, instances.bytesOf(row));
      if (refused !== undefined) {
        const stands = instances.hidden?.get(id, instance.owner);
        return stands === undefined ? refused : { ...refused, stands };
      }
      this.#removeHidden(service, id, instance.owner);
      told = this.#hide(service, id, current);
    } else if (current.stamp > instance.stamp) {
      // Sent again after a rebuild that already brought back what the session registered later: it was overtaken, and changes nothing.
      return { kind: 'unchanged', service, told };
    } else if (current.fragment === instance.fragment) {
      instances.note(row, instance);
      return { kind: 'unchanged', service, told };
    } else {
      const refused = this.#refuseBytes(service, instance.fragment, instances.bytesOf(row));
      if (refused !== undefined) {
        instances.note(row, instance);
        return { ...refused, stands: { fragment: current.fragment, stamp: instance.stamp } };
      }
    }
    return this.#show(service, id, row, { before: current.fragment, instance, told }, nowMicros);
  }

  /** Changes the health of what a session claims; the claim's place among others stays. It is never refused for its size: a word is nothing that bounds need to know of. */
  reportHealth(key: string, id: string, owner: number, health: Health, nowMicros: number): StoreOutcome {
    const service = this.#services.get(key);
    const claim = service?.instances.claimOf(id, owner);
    if (service === undefined || claim === undefined) {
      return {
        kind: 'refused',
        failure: { code: 'not_found', message: `the session has no instance ${JSON.stringify(id)} in ${key}` },
      };
    }
    const { instances } = service;
    const plain = replaceHealth(takeMarkOff(claim.fragment), health);
    const instance = { fragment: markInstance(plain, readMark(claim.fragment)), owner, stamp: claim.stamp };
    if (claim.isShown) {
      return this.#show(
        service,
        id,
        instances.find(id),
        { before: claim.fragment, instance, told: nothingTold },
        nowMicros,
      );
    }
    instances.hidden?.remove(id, owner);
    instances.hide(id, instance);
    return { kind: 'unchanged', service, told: nothingTold };
  }

  /** Makes a claim the one that shows. */
  #show(
    service: ServiceRecord,
    id: string,
    row: number,
    { before, instance, told }: { before: string; instance: StoredInstance; told: readonly ClaimNotice[] },
    nowMicros: number,
  ): Unchanged | Changed {
    if (before === instance.fragment) {
      service.instances.note(row, instance);
      return { kind: 'unchanged', service, told };
    }
    service.instances.replace(row, instance);
    service.advance(id, nowMicros);
    return { kind: 'changed', service, told, before };
  }

  /** Gives a session's claim another mark, without a bound: it is as long as the others. Undefined: it is not there any more, has been made again, or has that mark. */
  remark(key: string, id: string, claim: StoredInstance, nowMicros: number): Unchanged | Changed | undefined {
    const service = this.#services.get(key);
    const known = service?.instances.claimOf(id, claim.owner);
    if (service === undefined || known?.stamp !== claim.stamp || known.fragment === claim.fragment) return undefined;
    const { instances } = service;
    if (known.isShown) {
      const before = known.fragment;
      return this.#show(service, id, instances.find(id), { before, instance: claim, told: nothingTold }, nowMicros);
    }
    instances.hidden?.remove(id, claim.owner);
    instances.hide(id, claim);
    return { kind: 'unchanged', service, told: nothingTold };
  }

  /** Keeps a claim behind the one that shows; without room the oldest goes that a session has. One that is put back found room before. */
  #hide(service: ServiceRecord, id: string, claim: StoredInstance, isPutBack = false): readonly ClaimNotice[] {
    const { instances } = service;
    const { owner, stamp } = claim;
    const known = instances.hidden?.stampOf(id, owner);
    if (known !== undefined) {
      if (known > stamp) return nothingTold;
      this.#removeHidden(service, id, owner);
    }
    instances.hide(id, claim);
    this.#hiddenCount += 1;
    const limit = this.#findFullBound(instances, id, isPutBack);
    const dropped = limit === undefined ? undefined : instances.hidden!.takeOldest(id);
    if (dropped === undefined) return [{ owner, stamp, state: 'hidden', limit: undefined }];
    this.#hiddenCount -= 1;
    const loss: ClaimNotice = { owner: dropped.owner, stamp: dropped.stamp, state: 'dropped', limit };
    return dropped.owner === owner ? [loss] : [{ owner, stamp, state: 'hidden', limit: undefined }, loss];
  }

  /** The bound that this number of hidden claims to an instance would exceed. */
  #findFullBound(instances: ServiceInstances, id: string, isPutBack: boolean): keyof StoreLimits | undefined {
    const { claimsPerInstanceMax, instancesPerPartitionMax, instanceBytesMax, serviceListBytesMax } = this.#limits;
    if ((instances.hidden?.count(id) ?? 0) >= claimsPerInstanceMax) return 'claimsPerInstanceMax';
    if (isPutBack) return undefined;
    if (this.#table.count > instancesPerPartitionMax) return 'instancesPerPartitionMax';
    // What does not show may show again.
    if (instances.bytes > serviceListBytesMax) return 'serviceListBytesMax';
    return this.#table.usedBytes > instanceBytesMax ? 'instanceBytesMax' : undefined;
  }

  #removeHidden({ instances }: ServiceRecord, id: string, owner: number): boolean {
    if (instances.hidden?.remove(id, owner) !== true) return false;
    this.#hiddenCount -= 1;
    return true;
  }

  #add(key: string, id: string, instance: StoredInstance, nowMicros: number): StoreOutcome {
    if (this.#table.count >= this.#limits.instancesPerPartitionMax) {
      return refuseBound('instancesPerPartitionMax', this.#limits.instancesPerPartitionMax);
    }
    if ((this.#services.get(key)?.instances.size ?? 0) >= this.#limits.instancesPerServiceMax) {
      return refuseBound('instancesPerServiceMax', this.#limits.instancesPerServiceMax);
    }
    const refused = this.#refuseBytes(this.#services.get(key), instance.fragment, 0);
    if (refused !== undefined) return refused;
    const failure = this.#quotas?.take(key, (this.#services.get(key)?.instances.size ?? 0) === 0);
    if (failure !== undefined) return { kind: 'refused', failure };
    const service = this.obtain(key);
    service.instances.add(id, instance);
    service.advance(id, nowMicros);
    if (service.instances.size === 1) this.#listed.add(key);
    return { kind: 'changed', service, told: nothingTold, before: undefined };
  }

  /** Whether a text is too much, for its service or in all. One that takes the place of a text of at least its length never is. */
  #refuseBytes(service: ServiceRecord | undefined, fragment: string, oldBytes: number): Refused | undefined {
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
   * Rebuilding, or moving: puts back what a session holds, without a change of version, in whatever order. Returns which claims found no room; where the
   * others stand is known when all are back. Beside what was acknowledged, sessions also hold what is in flight, and all of it together may be up to twice what
   * a list may be.
   */
  restore(service: ServiceRecord, id: string, instance: StoredInstance): readonly ClaimNotice[] {
    const { instances } = service;
    const row = instances.find(id);
    const { owner, stamp, fragment } = instance;
    const isTooMuch = instances.bytes + this.#table.measure(fragment) > this.#limits.serviceListBytesMax * 2;
    if (isTooMuch && owner !== persistentOwner) {
      return [{ owner, stamp, state: 'dropped', limit: 'serviceListBytesMax' }];
    }
    if (row === -1) {
      instances.add(id, instance);
      this.#noteAdded(service);
      return nothingTold;
    }
    const current = instances.read(row);
    if (current.owner === instance.owner) {
      if (current.stamp <= instance.stamp) instances.replace(row, instance);
      return nothingTold;
    }
    if (current.stamp > instance.stamp) return this.#hide(service, id, instance, true).filter(isDrop);
    this.#removeHidden(service, id, instance.owner);
    instances.replace(row, instance);
    return this.#hide(service, id, current, true).filter(isDrop);
  }

  /** As {@link restore} does, from the bytes of the content; nobody is told of what found no room. Returns the id. */
  restoreEncoded(service: ServiceRecord, text: EncodedText, claim: Omit<StoredInstance, 'fragment'>): string {
    const { instances } = service;
    const id = this.#table.readId(text);
    const isTooMuch = instances.bytes + text.end - text.start > this.#limits.serviceListBytesMax * 2;
    if (isTooMuch || instances.find(id) !== -1) {
      this.restore(service, id, { ...claim, fragment: this.#table.decode(text) });
      return id;
    }
    instances.addEncoded(id, text, claim);
    this.#noteAdded(service);
    return id;
  }

  /** One that is filled elsewhere is listed when it is attached. */
  #noteAdded(service: ServiceRecord): void {
    const { key, instances } = service;
    if (this.#quotas?.isEmpty !== false && instances.size > 1) return;
    if (this.#services.get(key) !== service) return;
    if (instances.size === 1) this.#listed.add(key);
    this.#quotas?.note(key, 1, instances.size === 1 ? 1 : 0);
  }

  #noteRemoved({ key, instances }: ServiceRecord): void {
    if (instances.size === 0) this.#listed.delete(key);
    this.#quotas?.note(key, -1, instances.size === 0 ? -1 : 0);
  }

  /** From now on namespaces may hold so much. */
  limitNamespaces(quotas: readonly NamespaceQuota[]): void {
    const sizes = [...this.#services.values()].map(({ key, instances }) => [key, instances.size] as const);
    this.#quotas?.set(quotas, sizes);
  }

  /** It holds all that it is to hold, so other partitions may count on that. */
  shareQuotas(): void {
    this.#quotas?.share();
  }

  /** Restoring: a session's claim had ended, unless it is newer than `stamp`; without a change of version. */
  unrestore(service: ServiceRecord, id: string, owner: number, stamp: number): void {
    const { instances } = service;
    const claim = instances.claimOf(id, owner);
    if (claim === undefined || claim.stamp > stamp) return;
    if (!claim.isShown) {
      instances.hidden?.remove(id, owner);
      this.#hiddenCount -= 1;
      return;
    }
    const next = instances.hidden?.takeNewest(id);
    if (next !== undefined) {
      this.#hiddenCount -= 1;
      instances.replace(instances.find(id), next);
      return;
    }
    instances.delete(id);
    this.#noteRemoved(service);
  }

  /** Takes a service out that another partition is given: its instances are forgotten. */
  detach(service: ServiceRecord): void {
    this.#services.delete(service.key);
    const { size } = service.instances;
    if (size > 0) {
      this.#listed.delete(service.key);
      this.#quotas?.note(service.key, -size, -1);
    }
    this.discard(service);
  }

  /** Forgets the instances of a service that was made and is not attached. */
  discard({ instances }: ServiceRecord): void {
    this.#hiddenCount -= instances.hiddenCount;
    instances.clear();
  }

  /** Takes in a service that another partition gave away. */
  attach(service: ServiceRecord): void {
    if (this.#services.has(service.key)) throw new Error(`service is here already: ${service.key}`);
    this.#services.set(service.key, service);
    const { size } = service.instances;
    if (size === 0) return;
    this.#listed.add(service.key);
    this.#quotas?.note(service.key, size, 1);
  }

  /** Begins a life above the versions of the one before: see {@link ServiceRecord.continueAbove}. */
  continueAbove(version: number): void {
    this.raiseVersionFloor(version);
    for (const service of this.#services.values()) service.continueAbove(version);
  }

  /** Services may come here that another partition forgot. */
  raiseVersionFloor(version: number): void {
    this.#versionFloor = Math.max(this.#versionFloor, version);
  }

  /**
   * Ends a session's claim; refuses what is not there, or only others'. If it shows, the next newest does from now on. What the session has registered after
   * `stamp` stays.
   */
  deregister(key: string, id: string, owner: number, stamp: number, nowMicros: number): StoreOutcome {
    const service = this.#services.get(key);
    const row = service?.instances.find(id) ?? -1;
    if (service === undefined || row === -1) {
      return {
        kind: 'refused',
        failure: { code: 'not_found', message: `no instance ${JSON.stringify(id)} in ${key}` },
      };
    }
    const { instances } = service;
    const current = instances.read(row);
    if (current.owner !== owner) return this.#endHidden(service, id, owner, stamp);
    if (current.stamp > stamp) return { kind: 'unchanged', service, told: nothingTold };
    const next = instances.hidden?.takeNewest(id);
    if (next === undefined) {
      instances.delete(id);
      service.advance(id, nowMicros);
      this.#noteRemoved(service);
      return { kind: 'changed', service, told: nothingTold, before: current.fragment };
    }
    this.#hiddenCount -= 1;
    const told: readonly ClaimNotice[] = [{ owner: next.owner, stamp: next.stamp, state: 'shown', limit: undefined }];
    return this.#show(service, id, row, { before: current.fragment, instance: next, told }, nowMicros);
  }

  /** Ends a session's claim if it does not show, as {@link deregister} does; returns whether there was one. */
  giveUp(key: string, id: string, owner: number, stamp: number): boolean {
    const service = this.#services.get(key);
    return service !== undefined && this.#endHidden(service, id, owner, stamp).kind !== 'refused';
  }

  #endHidden(service: ServiceRecord, id: string, owner: number, stamp: number): StoreOutcome {
    const known = service.instances.hidden?.stampOf(id, owner);
    if (known === undefined) {
      const message = `instance ${JSON.stringify(id)} is registered by another session`;
      return { kind: 'refused', failure: { code: 'not_owner', message } };
    }
    if (known <= stamp) this.#removeHidden(service, id, owner);
    return { kind: 'unchanged', service, told: nothingTold };
  }

  /** Begins a page, in the order of the keys' bytes, of the services that have instances. */
  beginPage({ after }: ListQuery): ListPage {
    return { services: [], next: after };
  }

  /**
   * Goes on with a page until it is whole, or `mayLook` says no, which is asked before each key that is looked at: with a prefix those may be more than are found,
   * one or two in each group that has none with it.
   */
  fillPage(page: ListPage, query: ListQuery, mayLook: () => boolean): void {
    while (page.next !== undefined && mayLook()) this.#fillFrom(page.next, page, query, mayLook);
  }

  /** Adds keys from `start` on, up to the next gap, or until `mayLook` says no for another. */
  #fillFrom(
    start: string,
    page: ListPage,
    { namespace, prefix, after, limit }: ListQuery,
    mayLook: () => boolean,
  ): void {
    const first = namespace === '' ? start : laterOf(start, `${namespace}/`);
    let isFirst = true;
    for (const key of this.#listed.from(first)) {
      page.next = key;
      if (!isFirst && !mayLook()) return;
      isFirst = false;
      if (key === after) continue;
      if (namespace !== '' && !key.startsWith(`${namespace}/`)) break;
      const nameAt = key.indexOf('/', key.indexOf('/') + 1) + 1;
      if (!key.startsWith(prefix, nameAt)) {
        const group = key.slice(0, nameAt);
        const wanted = group + prefix;
        // Those with the prefix come later in this group, or there are no more of them in it: on with the next group.
        page.next = compareBytes(key, wanted) < 0 ? wanted : `${group.slice(0, -1)}${afterSlash}`;
        return;
      }
      page.services.push({ key, instances: this.#services.get(key)?.instanceCount ?? 0 });
      if (page.services.length >= limit) break;
    }
    page.next = undefined;
  }

  /** The services that have instances, in the order of their keys' bytes, after a key. They must not come and go meanwhile. */
  *listedAfter(after: string): Generator<ServiceRecord, void, undefined> {
    for (const key of this.#listed.from(after)) if (key !== after) yield this.#services.get(key)!;
  }

  services(): IterableIterator<ServiceRecord> {
    return this.#services.values();
  }
}

function isDrop({ state }: ClaimNotice): boolean {
  return state === 'dropped';
}

function refuseBound(limit: keyof StoreLimits, max: number): Refused {
  return { kind: 'refused', failure: { code: 'limit_exceeded', message: `${limit} is ${max}`, limit, max } };
}

function laterOf(a: string, b: string): string {
  return compareBytes(a, b) < 0 ? b : a;
}
