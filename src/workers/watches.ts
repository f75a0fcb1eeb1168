import type { ListCache } from '../push/list-cache.ts';
import { WatchedService } from '../push/watched-service.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceStore } from '../store/service-store.ts';
import type { HostFlows } from './host-flows.ts';
import { toFields } from './messages.ts';
import type { PartitionLimits, ToRecord } from './messages.ts';
import type { Pushes } from './pushes.ts';
import { lookWork } from './turn-work.ts';
import type { TurnWork } from './turn-work.ts';

export interface WatchesParts {
  readonly limits: PartitionLimits;
  readonly turn: TurnWork;
  readonly store: ServiceStore;
  readonly lists: ListCache;
  readonly flows: HostFlows;
  readonly pushes: Pushes;
}

/** Which services are watched, in which variants, and by which hosts. */
export class Watches {
  readonly #parts: WatchesParts;
  readonly #watched: Map<string, WatchedService> = new Map();
  /** Hosts whose interest is being forgotten: the services that are still to be looked at. */
  readonly #leaving: Map<number, Iterator<WatchedService>> = new Map();

  constructor(parts: WatchesParts) {
    this.#parts = parts;
  }

  /** A service, if it is watched. */
  readonly find = (key: string): WatchedService | undefined => this.#watched.get(key);

  obtain(key: string): WatchedService {
    const known = this.#watched.get(key);
    if (known !== undefined) return known;
    const { store, limits } = this.#parts;
    const service = store.obtain(key);
    service.keepLog(limits.changeLogEntriesMax);
    return this.watch(service);
  }

  /** From now on a service is watched, by nobody yet. */
  readonly watch = (service: ServiceRecord): WatchedService => {
    const watched = new WatchedService(service, () => this.#parts.lists.traitsOf(service));
    this.#watched.set(service.key, watched);
    return watched;
  };

  unwatch(watched: WatchedService): void {
    this.#watched.delete(watched.service.key);
    this.#parts.pushes.forget(watched);
  }

  dropInterest(host: number, key: string, variant: string): void {
    const watched = this.#watched.get(key);
    if (watched === undefined) return;
    watched.removeInterest(host, variant);
    this.#unwatchIfUnwanted(watched);
  }

  /** Rebuilding: a host has subscribers of a service. */
  restoreInterest(host: number, record: ToRecord<'restoreInterest'>): void {
    const at = toFields.restoreInterest;
    this.obtain(record[at.key]).resume(host, record[at.variant], record[at.from]);
  }

  /** A host has gone: over turns it is forgotten who subscribes there, as {@link hasLeft} is called. */
  detach(host: number): void {
    this.#leaving.set(host, this.#watched.values());
  }

  /** Goes on with forgetting who subscribes at a host that has gone; false: not all yet. */
  hasLeft(host: number): boolean {
    const rest = this.#leaving.get(host);
    if (rest === undefined) return true;
    const { turn, flows } = this.#parts;
    while (!turn.isOver()) {
      const next = rest.next();
      if (next.done === true) {
        this.#leaving.delete(host);
        flows.noteLeft(host);
        return true;
      }
      turn.spend(lookWork);
      this.#dropHost(next.value, host);
    }
    return false;
  }

  /** Every service that is watched: key, variant and host. */
  describe(): string[] {
    return [...this.#watched].flatMap(([key, watched]) =>
      [...watched.variants()].flatMap(({ variant, hosts }) => hosts.map((host) => `${key} ${variant.text} ${host}`)),
    );
  }

  #dropHost(watched: WatchedService, host: number): void {
    watched.marks?.delete(host);
    for (const { variant, hosts } of watched.variants()) {
      if (hosts.includes(host)) watched.removeInterest(host, variant.text);
    }
    this.#unwatchIfUnwanted(watched);
  }

  #unwatchIfUnwanted(watched: WatchedService): void {
    if (!watched.isUnwanted) return;
    this.unwatch(watched);
    if (watched.service.instances.size === 0) this.#parts.store.forget(watched.service);
  }
}
