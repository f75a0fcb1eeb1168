import type { Fault } from '../src/main/testing.ts';

/** The server's: short times and small bounds, so that they are met. */
export const settings = {
  port: 0,
  partitions: 3,
  logLevel: 'silent',
  disconnectGraceMs: 500,
  heartbeatTimeoutMs: 3000,
  warmUpMs: 0,
  drainTimeoutMs: 0,
  partitionHeartbeatTimeoutMs: 1000,
  partitionHeapMaxMb: 48,
  partitionRestartsMax: 1000,
  partitionRestartWindowMs: 2000,
  slotWaitTimeoutMs: 4000,
  moveSlots: 512,
  restoreSliceRegistrations: 20,
  changeLogEntriesMax: 16,
  sessionBacklogBytesMax: 65_536,
  pushCharactersInFlightMax: 262_144,
  fanOutSliceMembers: 8,
  // Here connections break all the time; what holds back removals has tests of its own.
  lossSessionsPercent: 101,
  lossServicePercent: 101,
} as const;

/** How long after its grace an instance whose session has ended may still be seen, in milliseconds. */
export const goneWithinMs = 1000;

/** What the checker asks of the server's process, beside what clients ask. */
export type Order =
  | { readonly kind: 'inflict'; readonly partition: number; readonly fault: Fault }
  | { readonly kind: 'resize'; readonly partitions: number }
  | { readonly kind: 'inspect' }
  | { readonly kind: 'stop' };

/** What the server's process says. */
export type Report =
  | { readonly kind: 'ready'; readonly port: number }
  | { readonly kind: 'fatal'; readonly message: string }
  | { readonly kind: 'done'; readonly number: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly number: number; readonly message: string };
