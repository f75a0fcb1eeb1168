import type { SlotTable } from './slot-table.ts';
import { slotCount } from './slot.ts';

/** Where slots are to go: slot → partition. */
export type Moves = ReadonlyMap<number, number>;

/**
 * The fewest moves after which `partitions` partitions own equally many slots, give or take one. Slots of partitions that are to go all
 * move; of the others only what is above their share does.
 */
export function planEvenSlots(table: SlotTable, partitions: number): Moves {
  const owned: number[][] = Array.from({ length: Math.max(partitions, table.partitions) }, () => []);
  for (let slot = 0; slot < slotCount; slot++) owned[table.ownerOf(slot)]!.push(slot);
  const share = Math.floor(slotCount / partitions);
  const withOneMore = slotCount % partitions;
  // Those that have the most keep one more: what stays does not move.
  const ranked = Array.from({ length: partitions }, (_, partition) => partition).sort(
    (a, b) => owned[b]!.length - owned[a]!.length || a - b,
  );
  const targets = new Map(ranked.map((partition, rank) => [partition, rank < withOneMore ? share + 1 : share]));
  const homeless = owned.flatMap((slots, partition) => slots.slice(targets.get(partition) ?? 0));
  const moves = new Map<number, number>();
  for (const [partition, target] of targets) {
    for (let have = owned[partition]!.length; have < target; have++) moves.set(homeless.pop()!, partition);
  }
  return moves;
}

/** How far above the mean a partition's load may stay, as a share of the mean: evening out the last of it costs more than it gives. */
const loadTolerance = 0.05;

/**
 * Moves that even out load, the heaviest that fit first, so that they are few. `loads` gives each slot's load, in any unit; slots without
 * load stay where they are.
 */
export function planEvenLoad(table: SlotTable, loads: ArrayLike<number>): Moves {
  const { partitions } = table;
  const totals = Array.from({ length: partitions }, () => 0);
  const owned: number[][] = Array.from({ length: partitions }, () => []);
  for (let slot = 0; slot < slotCount; slot++) {
    const owner = table.ownerOf(slot);
    const load = loads[slot] ?? 0;
    totals[owner]! += load;
    if (load > 0) owned[owner]!.push(slot);
  }
  for (const slots of owned) slots.sort((a, b) => (loads[b] ?? 0) - (loads[a] ?? 0));
  const mean = totals.reduce((sum, total) => sum + total, 0) / partitions;
  const moves = new Map<number, number>();
  for (;;) {
    const from = indexOfExtreme(totals, (a, b) => a > b);
    const to = indexOfExtreme(totals, (a, b) => a < b);
    if (totals[from]! <= mean * (1 + loadTolerance)) return moves;
    // The heaviest slot that does not overshoot on either side; failing that, none would help.
    const room = Math.min(totals[from]! - mean, mean - totals[to]!);
    const slots = owned[from]!;
    let place = slots.findIndex((slot) => (loads[slot] ?? 0) <= room);
    if (place < 0) {
      place = slots.length - 1;
      const lightest = loads[slots[place] ?? -1] ?? Number.POSITIVE_INFINITY;
      if (totals[to]! + lightest >= totals[from]!) return moves;
    }
    const [slot] = slots.splice(place, 1);
    if (slot === undefined) return moves;
    const load = loads[slot] ?? 0;
    totals[from]! -= load;
    totals[to]! += load;
    // It is not looked at again: a slot moves once.
    moves.set(slot, to);
  }
}

function indexOfExtreme(values: readonly number[], isBetter: (a: number, b: number) => boolean): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (isBetter(values[i]!, values[best]!)) best = i;
  return best;
}
