import fc from 'fast-check';
import { expect, test } from 'vitest';

import { partitionsMax, SlotTable } from '../../src/slots/slot-table.ts';
import { slotCount } from '../../src/slots/slot.ts';

const partitionCounts = fc.integer({ min: 1, max: partitionsMax });

test('[SL2] the first table gives every slot one owner and no partition more than one slot above another', () => {
  fc.assert(
    fc.property(partitionCounts, (partitions) => {
      const counts = SlotTable.even(partitions).slotsPerPartition();
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(slotCount);
      expect(counts).toHaveLength(partitions);
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }),
    { numRuns: 50 },
  );
});

test('[SL2] a change makes a new table with a higher epoch and leaves the old one as it was', () => {
  const before = SlotTable.even(4);
  const owner = before.ownerOf(100);
  const after = before.withOwners(new Map([[100, 3]]));
  expect(after.epoch).toBe(before.epoch + 1);
  expect(after.ownerOf(100)).toBe(3);
  expect(before.ownerOf(100)).toBe(owner);
  expect(after.ownerOf(101)).toBe(before.ownerOf(101));
});

test('[SL2] another thread reads the same table from the shared memory', () => {
  const table = SlotTable.even(3).withOwners(new Map([[7, 2]]));
  const attached = SlotTable.attach(table.memory);
  expect(attached.epoch).toBe(table.epoch);
  expect(attached.slotsPerPartition()).toEqual(table.slotsPerPartition());
  expect(attached.ownerOf(7)).toBe(2);
});

const owners = Array.from({ length: slotCount }, () => 0);
test.each([
  ['too few slots', () => SlotTable.create(1, 1, owners.slice(1))],
  ['an owner that does not exist', () => SlotTable.create(1, 1, owners.with(5, 1))],
  ['a negative owner', () => SlotTable.create(1, 1, owners.with(5, -1))],
  ['half an owner', () => SlotTable.create(1, 2, owners.with(5, 0.5))],
  ['epoch 0', () => SlotTable.create(0, 1, owners)],
  ['no partitions', () => SlotTable.create(1, 0, owners)],
  ['too many partitions', () => SlotTable.create(1, partitionsMax + 1, owners)],
  ['memory of another size', () => SlotTable.attach(new SharedArrayBuffer(8))],
])('[SL2] a table with %s is refused', (_, build) => {
  expect(build).toThrow(RangeError);
});

test('[SL2] asking for a slot that does not exist is a bug', () => {
  expect(() => SlotTable.even(1).ownerOf(slotCount)).toThrow(RangeError);
});
