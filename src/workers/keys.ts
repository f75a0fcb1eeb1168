import type { StoreReply, StoreRequest } from '../durable/commits.ts';
import { KeyDomain } from '../keys/key-domain.ts';
import type { KeyLoad } from '../keys/key-domain.ts';
import type { KeyAsker, KeyOutcome } from '../keys/key-operations.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { slotCount } from '../slots/slot.ts';
import type { HostFlows } from './host-flows.ts';
import { fromPartition, toFields } from './messages.ts';
import type { Emit, HolderParcel, PartitionLimits, ToRecord } from './messages.ts';
import type { PartitionClock } from './partition-clock.ts';
import type { TurnWork } from './turn-work.ts';

export interface KeysParts {
  readonly partition: number;
  readonly table: SlotTable;
  readonly limits: PartitionLimits;
  readonly emit: Emit;
  readonly turn: TurnWork;
  readonly flows: HostFlows;
  /** Asks the store. */
  readonly askStore: (request: StoreRequest) => void;
}

/** Keys as a domain of a partition: what hosts ask, what they say of sessions that hold keys, and which slots it has. */
export class Keys {
  readonly #parts: KeysParts;
  readonly #domain: KeyDomain;

  constructor(parts: KeysParts) {
    const { partition, table, limits, turn, askStore } = parts;
    this.#parts = parts;
    this.#domain = new KeyDomain({
      limits,
      ask: askStore,
      answer: (asker, outcome) => {
        this.#answer(asker, outcome);
      },
      spend: turn.spend,
    });
    this.#domain.begin(slotsOf(table, partition));
  }

  get load(): KeyLoad {
    return this.#domain.load;
  }

  /** Slots come, and are loaded, or go. */
  adoptTable(before: SlotTable, after: SlotTable): void {
    const { partition } = this.#parts;
    const gone = new Set<number>();
    const come: number[] = [];
    for (let slot = 0; slot < slotCount; slot++) {
      const [was, is] = [before.ownerOf(slot) === partition, after.ownerOf(slot) === partition];
      if (was && !is) gone.add(slot);
      else if (is && !was) come.push(slot);
    }
    if (gone.size > 0) this.#domain.lose(gone);
    if (come.length > 0) this.#domain.begin(come);
  }

  connectStore({ monotonicMs }: PartitionClock): void {
    this.#domain.connectStore(monotonicMs);
  }

  disconnectStore({ monotonicMs }: PartitionClock): void {
    this.#domain.disconnectStore(monotonicMs);
  }

  handleReply(reply: StoreReply, { monotonicMs }: PartitionClock): void {
    this.#domain.handleReply(reply, monotonicMs);
  }

  /** Whether there is room for an answer; it may come much later. */
  prepare(host: number): boolean {
    return this.#parts.flows.hasAnswerRoom(host);
  }

  handle(host: number, record: ToRecord<'keys'>, { monotonicMs }: PartitionClock): void {
    const request = record[toFields.keys.keyRequest];
    const room = request.kind === 'transaction' ? request.room : undefined;
    const asker = { host, request: record[toFields.keys.request], room };
    switch (request.kind) {
      case 'transaction':
        this.#domain.transact({ ...request, asker }, monotonicMs);
        return;
      case 'listing':
        this.#domain.list({ ...request, asker }, monotonicMs);
        return;
      case 'deletion':
        this.#domain.deletePrefix({ ...request, asker }, monotonicMs);
        return;
      default:
        request satisfies never;
    }
  }

  vouch(host: number, record: ToRecord<'vouch'>): void {
    this.#domain.vouch(record[toFields.vouch.holder], host);
  }

  endHolder(record: ToRecord<'endHolder'>, { monotonicMs }: PartitionClock): void {
    this.#domain.endHolder(record[toFields.endHolder.holder], monotonicMs);
  }

  releaseOrphans(host: number, { monotonicMs }: PartitionClock): void {
    this.#domain.releaseOrphans(host, monotonicMs);
  }

  /** A host's thread has died. Its answers go nowhere. */
  detach(host: number): void {
    this.#domain.doubt(host);
  }

  isDrained(slots: ReadonlySet<number>): boolean {
    return this.#domain.isDrained(slots);
  }

  /** Of slots that are drained, and about to be given away. */
  pack(slots: ReadonlySet<number>): HolderParcel {
    return { alive: [...this.#domain.prepareToLose(slots)], isEveryoneBack: this.#domain.isEveryoneBack };
  }

  /** The slots follow with the next table. */
  unpack({ alive, isEveryoneBack }: HolderParcel, { monotonicMs }: PartitionClock): void {
    for (const [holder, host] of alive) this.#domain.vouch(holder, host);
    if (isEveryoneBack && !this.#domain.isEveryoneBack) this.#domain.releaseOrphans(-1, monotonicMs);
  }

  tick({ monotonicMs }: PartitionClock): void {
    this.#domain.tick(monotonicMs);
  }

  nextDueAt(): number | undefined {
    return this.#domain.nextDueAt();
  }

  #answer({ host, request, room }: KeyAsker, outcome: KeyOutcome): void {
    const { emit, flows } = this.#parts;
    // Its thread has died since it asked.
    if (!flows.isThere(host)) return;
    if (outcome.kind === 'moved') {
      emit(host, fromPartition.moved, request, 0);
      return;
    }
    const characters = measureAnswer(outcome);
    if (room !== undefined && characters > room) {
      emit(host, fromPartition.oversize, request, characters);
      return;
    }
    if (characters > 0) flows.noteAnswer(host, characters);
    emit(host, fromPartition.keysAnswered, request, outcome);
  }
}

function slotsOf(table: SlotTable, partition: number): number[] {
  return Array.from({ length: slotCount }, (_, slot) => slot).filter((slot) => table.ownerOf(slot) === partition);
}

/** Characters of values and names. */
function measureAnswer(outcome: KeyOutcome): number {
  if (outcome.kind !== 'done' && outcome.kind !== 'listed') return 0;
  let characters = 0;
  for (const row of outcome.rows) characters += row?.value.length ?? 0;
  if (outcome.kind === 'listed') for (const name of outcome.names) characters += name.length;
  return characters;
}
