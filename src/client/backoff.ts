/** Bounds of the wait between two tries to connect. */
export interface BackoffBounds {
  readonly backoffMinMs: number;
  readonly backoffMaxMs: number;
}

/**
 * How long to wait before the next try: doubles with each round over the servers up to `backoffMaxMs`, and lies anywhere in the
 * upper half of that, so that clients cut off together do not come back together. `random` is in [0, 1).
 */
export function backoffMs(bounds: BackoffBounds, round: number, random: number): number {
  // Past 2^30 the product would only be cut to the maximum anyway.
  const ceiling = Math.min(bounds.backoffMaxMs, bounds.backoffMinMs * 2 ** Math.min(round, 30));
  return Math.round(ceiling / 2 + (random * ceiling) / 2);
}
