import type { Fault } from '../src/main/testing.ts';

/** The registry's: short times and small bounds, so that they are met. */
export const settings = {
  partitions: 3,
  logLevel: 'fatal',
  disconnectGraceMs: 500,
  heartbeatTimeoutMs: 3000,
  warmUpMs: 3000,
  warmUpMaxMs: 30_000,
  drainTimeoutMs: 400,
  reconnectSpreadMs: 200,
  partitionHeartbeatTimeoutMs: 3000,
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

/** Of a registry whose door is narrow: those who come back together are let in over seconds. */
export const narrowDoor = { sessionsPerSecondMax: 10, sessionsBurstMax: 5 } as const;

/** So long after the last refusal of those who come all at once, in milliseconds, nothing of broken sessions is removed (LI2). */
export const throttleSettleMs = 10_000;

/** How long after its grace an instance whose session has ended may still be seen, in milliseconds. */
export const goneWithinMs = 4000;

export type SettingValues = Readonly<Record<string, string | number>>;

/** Settings as the command line has them. */
export function formatFlags(values: SettingValues): string[] {
  return Object.entries(values).flatMap(([name, value]) => [
    `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
    String(value),
  ]);
}

/** What the checker asks of the registry's process, beside what clients and operators ask. */
export type Order =
  | { readonly kind: 'inflict'; readonly partition: number; readonly fault: Fault }
  | { readonly kind: 'killEdge' }
  | { readonly kind: 'killStore' }
  | { readonly kind: 'resize'; readonly partitions: number }
  | { readonly kind: 'inspect' };

/** What comes back. */
export type Report =
  /** The server is about to start; on the clock that all processes have in common. */
  | { readonly kind: 'starting'; readonly atNs: string }
  | { readonly kind: 'done'; readonly number: number; readonly result: unknown }
  | { readonly kind: 'failed'; readonly number: number; readonly message: string };
