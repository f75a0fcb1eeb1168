/** Both clocks, read once a turn: wall clock in µs for versions, monotonic milliseconds for windows. */
export interface PartitionClock {
  readonly wallMicros: number;
  readonly monotonicMs: number;
}
