import type { MethodName, SubscribeMode } from '../protocol/types.ts';
import { Histogram, timeBounds } from '../workers/histogram.ts';
import type { SessionHost } from './session-host.ts';

/** What one session host holds and has done; figures of several hosts are added up. */
export interface HostFigures {
  readonly connected: number;
  readonly held: number;
  readonly leases: number;
  readonly registrations: number;
  readonly heldInstances: number;
  /** Guards that hold back now. */
  readonly guardsHolding: { readonly registry: number; readonly service: number };
  readonly subscriptions: Readonly<Record<SubscribeMode, number>>;
  readonly pushes: Readonly<Record<SubscribeMode, number>>;
  readonly framesSent: Readonly<Record<SubscribeMode, number>>;
  readonly missed: Readonly<Record<'dropped' | 'gap', number>>;
  readonly publishSeconds: Histogram;
  readonly requestSeconds: ReadonlyMap<MethodName, Histogram>;
}

export function readHostFigures(host: SessionHost): HostFigures {
  const { sessions, meter } = host;
  const guard = host.describeGuard();
  return {
    connected: sessions.connectedCount,
    held: guard.heldSessions,
    leases: sessions.leaseCount,
    registrations: sessions.registrationCount,
    heldInstances: guard.heldInstances,
    guardsHolding: { registry: guard.isHolding ? 1 : 0, service: guard.services.length },
    subscriptions: host.subscriptionCounts,
    pushes: meter.pushes,
    framesSent: host.framesSent,
    missed: meter.missed,
    publishSeconds: meter.publishSeconds,
    requestSeconds: meter.requestSeconds,
  };
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** One histogram that holds what all of them do; their bounds are the same. */
export function sumHistograms(histograms: readonly Histogram[]): Histogram {
  const total = new Histogram(histograms[0]?.bounds ?? timeBounds);
  for (const histogram of histograms) total.add(histogram);
  return total;
}
