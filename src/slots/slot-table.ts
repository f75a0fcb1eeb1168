import { protocolLimits } from '../protocol/limits.ts';
import { slotCount } from './slot.ts';

/** Layout of the shared memory: epoch, number of partitions, then an owner for each slot, all unsigned 32-bit, 16-bit for owners. */
const headerBytes = 8;
const tableBytes = headerBytes + slotCount * 2;

/** The most partitions that a table can name. */
export const partitionsMax: number = protocolLimits.partitionsMax;

/**
 * Which partition owns which slot, at an epoch (SL2). An immutable value: every slot has exactly one owner, and a change makes a new
 * table with the next epoch. It lies in a SharedArrayBuffer, so that handing it to another thread copies nothing.
 */
export class SlotTable {
  readonly memory: SharedArrayBuffer;
  readonly epoch: number;
  readonly partitions: number;
  readonly #owners: Uint16Array;

  private constructor(memory: SharedArrayBuffer) {
    const header = new Uint32Array(memory, 0, 2);
    this.memory = memory;
    this.epoch = header[0]!;
    this.partitions = header[1]!;
    this.#owners = new Uint16Array(memory, headerBytes, slotCount);
  }

  /** Validates and builds a table. `owners` gives the owning partition of each of the 16384 slots. */
  static create(epoch: number, partitions: number, owners: ArrayLike<number>): SlotTable {
    if (!Number.isInteger(epoch) || epoch < 1 || epoch > 0xffff_ffff)
      throw new RangeError(`epoch out of range: ${epoch}`);
    if (!Number.isInteger(partitions) || partitions < 1 || partitions > partitionsMax) {
      throw new RangeError(`partitions must be 1 to ${partitionsMax}: ${partitions}`);
    }
    if (owners.length !== slotCount)
      throw new RangeError(`a slot table covers ${slotCount} slots, not ${owners.length}`);
    const memory = new SharedArrayBuffer(tableBytes);
    new Uint32Array(memory, 0, 2).set([epoch, partitions]);
    const stored = new Uint16Array(memory, headerBytes, slotCount);
    for (let slot = 0; slot < slotCount; slot++) {
      const owner = owners[slot]!;
      if (!Number.isInteger(owner) || owner < 0 || owner >= partitions) {
        throw new RangeError(`slot ${slot} has no such owner: ${owner}`);
      }
      stored[slot] = owner;
    }
    return new SlotTable(memory);
  }

  /** The first table: slots spread in equal, contiguous ranges. */
  static even(partitions: number): SlotTable {
    return SlotTable.create(
      1,
      partitions,
      Array.from({ length: slotCount }, (_, slot) => Math.floor((slot * partitions) / slotCount)),
    );
  }

  /** Reads a table that another thread built. */
  static attach(memory: SharedArrayBuffer): SlotTable {
    if (memory.byteLength !== tableBytes) throw new RangeError(`not a slot table: ${memory.byteLength} bytes`);
    return new SlotTable(memory);
  }

  /** A table of the next epoch in which some slots have other owners. */
  withOwners(changes: ReadonlyMap<number, number>, partitions: number = this.partitions): SlotTable {
    const owners = Array.from(this.#owners, (owner, slot) => changes.get(slot) ?? owner);
    return SlotTable.create(this.epoch + 1, partitions, owners);
  }

  ownerOf(slot: number): number {
    const owner = this.#owners[slot];
    if (owner === undefined) throw new RangeError(`no such slot: ${slot}`);
    return owner;
  }

  /** How many slots each partition owns. */
  slotsPerPartition(): number[] {
    const counts = Array.from({ length: this.partitions }, () => 0);
    for (const owner of this.#owners) counts[owner]! += 1;
    return counts;
  }
}
