import fc from 'fast-check';
import { expect, test } from 'vitest';

import { planEvenLoad, planEvenSlots } from '../../src/slots/slot-planner.ts';
import { SlotTable } from '../../src/slots/slot-table.ts';
import { slotCount } from '../../src/slots/slot.ts';

const partitions = fc.integer({ min: 1, max: 20 });

/** The table after the moves. */
function carryOut(table: SlotTable, moves: ReadonlyMap<number, number>, count: number): SlotTable {
  const wide = table.withOwners(new Map(), Math.max(count, table.partitions));
  return wide.withOwners(moves).withOwners(new Map(), count);
}

test('[SL3] a change of the number of partitions balances them with the fewest moves', () => {
  fc.assert(
    fc.property(fc.array(partitions, { minLength: 2, maxLength: 5 }), (counts) => {
      let table = SlotTable.even(counts[0]!);
      for (const count of counts.slice(1)) {
        const before = table.slotsPerPartition();
        const moves = planEvenSlots(table, count);
        table = carryOut(table, moves, count);
        const after = table.slotsPerPartition();
        expect(Math.max(...after) - Math.min(...after)).toBeLessThanOrEqual(1);
        // What a partition ends up with below what it had is the least that had to leave.
        const least = before.reduce((sum, slots, partition) => sum + Math.max(0, slots - (after[partition] ?? 0)), 0);
        expect(moves.size).toBe(least);
      }
    }),
    { numRuns: 40 },
  );
});

test('[SL3] a plan for a balanced table moves nothing', () => {
  expect(planEvenSlots(SlotTable.even(7), 7).size).toBe(0);
  expect(
    planEvenLoad(
      SlotTable.even(3),
      Array.from({ length: slotCount }, () => 1),
    ).size,
  ).toBe(0);
});

test('[SL3] evening out load never makes it worse, moves no empty slot, and moves each slot once at most', () => {
  const loads = fc.array(fc.tuple(fc.nat({ max: slotCount - 1 }), fc.integer({ min: 1, max: 1000 })), {
    maxLength: 200,
  });
  fc.assert(
    fc.property(partitions, loads, (count, pairs) => {
      const table = SlotTable.even(count);
      const bySlot = Array.from({ length: slotCount }, () => 0);
      for (const [slot, load] of pairs) bySlot[slot]! += load;
      const moves = planEvenLoad(table, bySlot);
      const total = (at: SlotTable): number[] => {
        const totals = Array.from({ length: count }, () => 0);
        for (const [slot, load] of bySlot.entries()) totals[at.ownerOf(slot)]! += load;
        return totals;
      };
      const after = total(table.withOwners(moves));
      expect(Math.max(...after)).toBeLessThanOrEqual(Math.max(...total(table)));
      for (const [slot, to] of moves) {
        expect(bySlot[slot]).toBeGreaterThan(0);
        expect(to).not.toBe(table.ownerOf(slot));
      }
      // Within 5 % of the mean, or else no slot that is left fits.
      const mean = after.reduce((sum, load) => sum + load, 0) / count;
      const heaviest = Math.max(0, ...bySlot);
      expect(Math.max(...after)).toBeLessThanOrEqual(Math.max(mean * 1.05, mean + heaviest));
    }),
    { numRuns: 60 },
  );
});

test('[SL3] ten hot slots on one of five partitions end up two on each', () => {
  const table = SlotTable.even(5);
  const loads = Array.from({ length: slotCount }, (_, slot) => (slot < 10 ? 100 : 0));
  const moves = planEvenLoad(table, loads);
  expect(moves.size).toBe(8);
});
