import type { WatchedService } from '../push/watched-service.ts';
import type { StoredInstance } from '../store/service-instances.ts';
import type { ServiceRecord } from '../store/service-record.ts';
import type { ServiceParcel } from './messages.ts';
import { claimWork } from './turn-work.ts';

/** The owner of slots that are given away, as far as this needs it. */
export interface HandoverOwner {
  /** The next service, or that there is none; undefined: not in this turn. */
  readonly nextService: () => IteratorResult<ServiceRecord, unknown> | undefined;
  readonly isTurnOver: () => boolean;
  readonly spend: (work: number) => void;
  /** This owner pushes everything that has changed here, so that the next one starts without pending changes; false: not all of it in this turn. */
  readonly settle: (service: ServiceRecord) => boolean;
  readonly watchOf: (service: ServiceRecord) => WatchedService | undefined;
}

/** A service that is being packed. */
interface Packing {
  readonly service: ServiceRecord;
  readonly claims: Iterator<[id: string, claim: StoredInstance]>;
  isFirst: boolean;
}

/**
 * Packs what some slots hold, in parts of what one turn has room for; of a large service each part has some. The slots are frozen, so what is packed stays as it is,
 * and its owner keeps it until it is asked to forget it.
 */
export class SlotHandover {
  readonly #slots: ReadonlySet<number>;
  readonly #owner: HandoverOwner;
  /** Of the slots, and not begun yet. */
  #next: ServiceRecord | undefined;
  #packing: Packing | undefined;
  #parcels: ServiceParcel[] = [];
  #isWhole = false;

  constructor(slots: readonly number[], owner: HandoverOwner) {
    this.#slots = new Set(slots);
    this.#owner = owner;
  }

  /** Packs until the turn is over, or all is packed; false if there is nothing yet to be taken. */
  fill(): boolean {
    while (!this.#isWhole && !this.#owner.isTurnOver()) {
      this.#packing ??= this.#begin();
      if (this.#packing !== undefined) this.#pack(this.#packing);
      else if (this.#next !== undefined) break;
    }
    return this.#isWhole || this.#parcels.length > 0;
  }

  take(): { readonly parcels: readonly ServiceParcel[]; readonly isLast: boolean } {
    const parcels = this.#parcels;
    this.#parcels = [];
    return { parcels, isLast: this.#isWhole };
  }

  /** The next service of the slots; undefined: there is none so far, or it cannot be packed yet. */
  #begin(): Packing | undefined {
    while (this.#next === undefined) {
      const next = this.#owner.nextService();
      if (next === undefined) return undefined;
      if (next.done === true) {
        this.#isWhole = true;
        return undefined;
      }
      if (this.#slots.has(next.value.slot)) this.#next = next.value;
    }
    const service = this.#next;
    if (!this.#owner.settle(service)) return undefined;
    this.#next = undefined;
    return { service, claims: claimsOf(service), isFirst: true };
  }

  #pack(packing: Packing): void {
    const { service, claims, isFirst } = packing;
    const { key, version, log } = service;
    const instances: (string | number)[] = [];
    let isLast = false;
    while (!isLast && !this.#owner.isTurnOver()) {
      const next = claims.next();
      if (next.done === true) {
        isLast = true;
        continue;
      }
      const [id, { fragment, owner, stamp }] = next.value;
      instances.push(id, fragment, owner, stamp);
      this.#owner.spend(claimWork + fragment.length);
    }
    const watch = isLast ? packWatch(this.#owner.watchOf(service)) : undefined;
    const packedLog = isLast && log !== undefined ? { base: log.base, entries: log.entries() } : undefined;
    this.#owner.spend(claimWork + (packedLog?.entries.length ?? 0));
    this.#parcels.push({ key, version, isFirst, isLast, instances, log: packedLog, watch });
    packing.isFirst = false;
    if (isLast) this.#packing = undefined;
  }
}

function* claimsOf({ instances }: ServiceRecord): Generator<[id: string, claim: StoredInstance], void, undefined> {
  yield* instances;
  if (instances.hidden !== undefined) yield* instances.hidden;
}

function packWatch(watched: WatchedService | undefined): ServiceParcel['watch'] {
  if (watched === undefined) return undefined;
  return [...watched.variants()].map(({ variant, pushedVersion, hosts }) => ({
    variant: variant.text,
    pushedVersion,
    hosts,
  }));
}
