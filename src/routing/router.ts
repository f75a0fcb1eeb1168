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

/** Finds the partition of a service (CRC16 → slot → owner) and numbers the requests under way. */
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

  /** Requests under way to all partitions. */
  get requestsInFlight(): number {
    let sum = 0;
    for (const link of this.#links) sum += link?.requestsInFlight ?? 0;
    return sum;
  }

  /** Whether a mailbox is more than half full: what is left is for those who ask for little. */
  get isCrowded(): boolean {
    for (const link of this.#links) if (link !== undefined && link.isHalfFull) return true;
    return false;
  }

  links(): PartitionLink[] {
    return this.#links.filter((link) => link !== undefined);
  }

  /** A request under way, by its number, wherever it was sent. */
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

  /** Swaps the table; a bearer tells every partition before anything that is routed by it. */
  setTable(table: SlotTable): void {
    if (table.epoch <= this.#table.epoch) throw new Error(`epoch ${table.epoch} is not after ${this.#table.epoch}`);
    for (const link of this.links()) link.flush();
    this.#table = table;
    if (!this.#isBearer) return;
    for (const link of this.links()) link.adoptTable(table);
  }

  isShut(key: string): boolean {
    return this.gate.isShut(key);
  }

  linkOf(key: string): PartitionLink {
    const link = this.#links[this.#table.ownerOf(slotOf(key))];
    if (link === undefined) throw new Error(`the owner of ${key} is not there, and its slot is not shut`);
    return link;
  }

  /**
   * The number of a request, drawn when it comes and kept while it waits: what has waited for its slot, or is sent again after a death, is no newer than what
   * came meanwhile.
   */
  drawNumber(): number {
    return this.#nextRequest();
  }

  /**
   * Asks the owner of a service, whose slot must be open. Returns the request's number, or a failure if the owner's mailbox is full:
   * then nothing was sent.
   */
  ask(pending: PendingRequest, request: number = this.#nextRequest()): number | Failure {
    const link = this.linkOf(pending.key);
    if (link.isFull) return refuseBusy(link);
    link.request(request, pending);
    return request;
  }

  askLink(link: PartitionLink, pending: PendingRequest): number {
    const request = this.#nextRequest();
    link.request(request, pending);
    return request;
  }

  /** Resolves when owners have applied all that they have been told of these services, whose slots must be open; or have died, and then nobody is told less. */
  async whenApplied(keys: Iterable<string>): Promise<void> {
    const owners = Array.from(keys, (key) => this.#links[this.#table.ownerOf(slotOf(key))]);
    // Without an owner the registry is stopping.
    const links = new Set(owners.filter((link) => link !== undefined));
    await Promise.all(
      Array.from(links, (link) => askApplied({ router: this, link }, (request) => [toPartition.fence, request])),
    );
  }

  /** Asks every partition; the request is settled once by each. Every slot must be open. */
  askAll(pending: PendingRequest): Failure | undefined {
    const links = this.links();
    const full = links.find((link) => link.isFull);
    if (full !== undefined) return refuseBusy(full);
    for (const link of links) this.askLink(link, pending);
    return undefined;
  }

  /** Tells the owner of a service, whose slot must be open. */
  tell(key: string, record: ToPartition): void {
    this.linkOf(key).tell(record);
  }

  /** SL2: a partition sent back a request that was routed by an older table; the present one says where to. */
  reroute(request: number, pending: PendingRequest): void {
    if (this.gate.isShut(pending.key)) {
      this.gate.defer(pending.key, () => {
        this.linkOf(pending.key).request(request, pending);
      });
    } else {
      this.linkOf(pending.key).request(request, pending);
    }
  }
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
    message: 'the partition has too much to do',
    limit: 'mailboxRequestsMax',
    max: requestsMax,
    retryAfterMs: busyRetryMs,
  };
}
