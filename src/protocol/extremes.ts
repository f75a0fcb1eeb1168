/** The highest of any number of numbers: as arguments of `Math.max`, some 120,000 overflow the stack. -Infinity if there are none. */
export function highestOf(values: Iterable<number>): number {
  let highest = Number.NEGATIVE_INFINITY;
  for (const value of values) highest = Math.max(highest, value);
  return highest;
}

/** As {@link highestOf}; Infinity if there are none. */
export function lowestOf(values: Iterable<number>): number {
  let lowest = Number.POSITIVE_INFINITY;
  for (const value of values) lowest = Math.min(lowest, value);
  return lowest;
}
