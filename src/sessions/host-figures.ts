import type { MethodName, SubscribeMode } from '../protocol/types.ts';
import { Histogram } from '../runtime/histogram.ts';
import { HostMeter } from './host-meter.ts';
import type { KeyWatchFigures } from './key-watches.ts';
import type { SessionCore } from './session-core.ts';

/** What one session host holds and has done; figures of several hosts are added up. Plain, since a host may be on another thread. */
export interface HostFigures {
  readonly connected: number;
  readonly held: number;
  readonly leases: number;
  /** Of the life before of the process, and nobody has come back for them. */
  readonly unconfirmed: number;
  readonly registrations: number;
  readonly heldInstances: number;
  readonly subscriptions: Readonly<Record<SubscribeMode, number>>;
  /** Those that continue with what they knew before the registry started. */
  readonly subscriptionsWarming: number;
  readonly keyWatches: KeyWatchFigures;
  readonly pushes: Readonly<Record<SubscribeMode, number>>;
  readonly framesSent: Readonly<Record<SubscribeMode, number>>;
  readonly missed: Readonly<Record<'dropped' | 'gap', number>>;
  /** Cells of histograms with `timeBounds`. */
  readonly publishSeconds: Float64Array;
  readonly requestSeconds: ReadonlyMap<MethodName, Float64Array>;
}

export function readHostFigures(core: SessionCore): HostFigures {
  const { sessions, meter } = core;
  return {
    connected: sessions.connectedCount,
    held: sessions.heldCount,
    leases: sessions.leaseCount,
    unconfirmed: sessions.unconfirmedCount,
    registrations: sessions.registrationCount,
    heldInstances: sessions.heldRegistrationCount,
    subscriptions: core.subscriptionCounts,
    subscriptionsWarming: core.subscriptionsWarming,
    keyWatches: core.keyWatchFigures,
    pushes: meter.pushes,
    framesSent: core.framesSent,
    missed: meter.missed,
    publishSeconds: meter.publishSeconds.cells,
    requestSeconds: new Map([...meter.requestSeconds].map(([method, { cells }]) => [method, cells])),
  };
}

/** Of a host that holds nothing and has done nothing. */
export function emptyFigures(): HostFigures {
  const meter = new HostMeter();
  return {
    connected: 0,
    held: 0,
    leases: 0,
    unconfirmed: 0,
    registrations: 0,
    heldInstances: 0,
    subscriptions: { delta: 0, snapshot: 0 },
    subscriptionsWarming: 0,
    keyWatches: { watches: 0, changesSent: 0, resyncsSent: 0 },
    pushes: meter.pushes,
    framesSent: { delta: 0, snapshot: 0 },
    missed: meter.missed,
    publishSeconds: meter.publishSeconds.cells,
    requestSeconds: new Map([...meter.requestSeconds].map(([method, { cells }]) => [method, cells])),
  };
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** One histogram that holds what all of them do. */
export function sumHistograms(bounds: readonly number[], histograms: readonly Float64Array[]): Histogram {
  const total = new Histogram(bounds);
  for (const cells of histograms) total.add(cells);
  return total;
}
