import type { Failure } from '../protocol/errors.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotOf } from '../slots/slot.ts';
import { toPartition } from '../workers/messages.ts';
import type { ToPartition } from '../workers/messages.ts';
import type { PartitionLink, PendingRequest } from './partition-link.ts';
import type { SlotGate } from './slot-gate.ts';

/** How long a caller is asked to wait when a partition's mailbox is full. */
const busyRetryMs = 200;

export interface RouterOptions {
  readonly table: SlotTable;
  readonly gate: SlotGate;
  /**
   * Numbers requests. Of several sessions that registered the same instance the registration with the highest number shows (SE7), so all hosts of a process
   * draw from one sequence.
   */
  readonly nextRequest: () => number;
  /** Whether its mailboxes bring new tables to partitions; those of one host do. */
  readonly isBearer: boolean;
}

/** Finds the partition of a service (CRC16 → slot → owner) and numbers the requests in flight. */
export class Router {
  readonly gate: SlotGate;
  readonly #nextRequest: () => number;
  readonly #isBearer: boolean;
  readonly #links: (PartitionLink | undefined)[] = [];
  #table: SlotTable;

  constructor({ table, gate, nextRequest, isBearer }: RouterOptions) {
    this.#table = table;
    this.gate = gate;
    this.#nextRequest = nextRequest;
    this.#isBearer = isBearer;
  }

  get table(): SlotTable {
    return this.#table;
  }

  /** The mailbox of a partition; undefined while it has none. */
  link(partition: number): PartitionLink | undefined {
    return this.#links[partition];
  }

  /** Requests in flight to all partitions. */
  get requestsInFlight(): number {
    let sum = 0;
    for (const link of this.#links) sum += link?.requestsInFlight ?? 0;
    return sum;
  }

  /** Whether any mailbox is more than half full: the rest is reserved for sessions with few requests in flight. */
  get hasBusyPartition(): boolean {
    for (const link of this.#links) if (link !== undefined && link.isHalfFull) return true;
    return false;
  }

  links(): PartitionLink[] {
    return this.#links.filter((link) => link !== undefined);
  }

  /** A request in flight, by its number, wherever it was sent. */
  findRequest(request: number): PendingRequest | undefined {
    for (const link of this.#links) {
      const pending = link?.find(request);
      if (pending !== undefined) return pending;
    }
    return undefined;
  }

  setLink(partition: number, link: PartitionLink | undefined): void {
    this.#links[partition] = link;
  }

  /** Swaps the table; a bearer sends it to every partition before anything that is routed by it. */
  setTable(table: SlotTable): void {
    if (table.epoch <= this.#table.epoch) throw new Error(`epoch ${table.epoch} is not after ${this.#table.epoch}`);
    for (const link of this.links()) link.flush();
    this.#table = table;
    if (!this.#isBearer) return;
    for (const link of this.links()) link.adoptTable(table);
  }

  isFrozen(key: string): boolean {
    return this.gate.isFrozen(key);
  }

  /**
   * Runs a task once none of the slots of these services is frozen, or no slot at all; at once if none is. Refused like a request; without `refuse` it waits as long as it
   * takes. Requests and notifications do not need this: they wait for their slots by themselves.
   */
  whenThawed(keys: readonly string[] | 'all', run: () => void, refuse?: (failure: Failure) => void): void {
    this.gate.wait(keys === 'all' ? keys : keys.map((key) => slotOf(key)), run, refuse);
  }

  /** Runs a task when slots thaw next, whichever they are; at once if none is frozen. */
  whenSomeThawed(run: () => void): void {
    this.gate.wait('next', run);
  }

  /**
   * Asks the owner of a service. While its slot is frozen the request waits, behind what waits already; if it must not wait, or the owner's mailbox is full, it is
   * refused and not sent. Its number is drawn now and kept: what has waited for its slot, or is sent again after a death, is no newer than what came meanwhile.
   */
  ask(pending: PendingRequest): void {
    const slot = slotOf(pending.key);
    const request = this.#nextRequest();
    if (!this.gate.isSlotFrozen(slot)) {
      this.#begin(this.#linkOf(slot), request, pending);
      return;
    }
    const run = (): void => {
      this.#begin(this.#linkOf(slot), request, pending);
    };
    this.gate.wait(slot, run, refuserOf(pending));
  }

  #begin(link: PartitionLink, request: number, pending: PendingRequest): void {
    if (link.isFull && isRefusable(pending)) pending.refuse?.(refuseBusy(link));
    else if (pending.begin?.(request) !== false) link.request(request, pending);
  }

  askLink(link: PartitionLink, pending: PendingRequest): number {
    const request = this.#nextRequest();
    link.request(request, pending);
    return request;
  }

  /** Resolves when owners have applied everything that they have been sent about these services, whose slots must not be frozen; or have died, and then nothing is lost. */
  async whenApplied(keys: Iterable<string>): Promise<void> {
    const owners = Array.from(keys, (key) => this.#links[this.#table.ownerOf(slotOf(key))]);
    // Without an owner the registry is stopping.
    const links = new Set(owners.filter((link) => link !== undefined));
    await Promise.all(
      Array.from(links, (link) => askApplied({ router: this, link }, (request) => [toPartition.fence, request])),
    );
  }

  /** Asks every partition, once no slot is frozen: one on its way would be answered for by neither owner. The request is settled once by each. */
  askAll(pending: PendingRequest): void {
    const request = this.#nextRequest();
    const run = (): void => {
      const links = this.links();
      const full = links.find((link) => link.isFull);
      if (full !== undefined && pending.refuse !== undefined) pending.refuse(refuseBusy(full));
      else if (pending.begin?.(request) !== false) for (const link of links) link.request(request, pending);
    };
    this.gate.wait('all', run, refuserOf(pending));
  }

  /** Sends the owner of a service a notification, in order with requests; `isDue`: whether it is still to be sent when its turn comes. */
  tell(key: string, record: ToPartition, isDue?: () => boolean): void {
    const slot = slotOf(key);
    if (!this.gate.isSlotFrozen(slot)) {
      if (isDue?.() !== false) this.#linkOf(slot).tell(record);
      return;
    }
    this.gate.wait(slot, () => {
      if (isDue?.() !== false) this.#linkOf(slot).tell(record);
    });
  }

  /** SL2: a partition sent back a request that was routed by an older table; the present one says where to. */
  reroute(request: number, pending: PendingRequest): void {
    if (pending.reroute !== undefined) {
      pending.reroute();
      return;
    }
    const slot = slotOf(pending.key);
    this.gate.wait(slot, () => {
      this.#linkOf(slot).request(request, pending);
    });
  }

  #linkOf(slot: number): PartitionLink {
    const link = this.#links[this.#table.ownerOf(slot)];
    if (link === undefined) throw new Error(`the owner of slot ${slot} is not there, and the slot is not frozen`);
    return link;
  }
}

/** Called when a request no longer waits for its slot; undefined: it waits as long as it takes. */
function refuserOf(pending: PendingRequest): ((failure: Failure) => void) | undefined {
  if (pending.isPatient === true || !isRefusable(pending)) return undefined;
  return (failure) => {
    pending.refuse?.(failure);
  };
}

function isRefusable(pending: PendingRequest): boolean {
  return pending.refuse !== undefined && pending.isDurable !== true;
}

/** Resolves when the partition has applied a record and all that was sent before it; false if it died first. */
export function askApplied(
  { router, link }: { readonly router: Router; readonly link: PartitionLink },
  build: (request: number) => ToPartition,
): Promise<boolean> {
  if (link.isClosed) return Promise.resolve(false);
  return new Promise((resolve) => {
    router.askLink(link, {
      key: '',
      build,
      settle: () => {
        resolve(true);
      },
      abandon: () => {
        resolve(false);
      },
    });
  });
}

function refuseBusy({ requestsMax }: PartitionLink): Failure {
  return {
    code: 'busy',
    message: 'the partition is overloaded',
    limit: 'mailboxRequestsMax',
    max: requestsMax,
    retryAfterMs: busyRetryMs,
  };
}
