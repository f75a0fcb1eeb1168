import { performance } from 'node:perf_hooks';

import { methodSchemas } from '../protocol/schemas.ts';
import type { MethodName, SubscribeMode } from '../protocol/types.ts';
import { Histogram, timeBounds } from '../runtime/histogram.ts';

export const methodNames: readonly MethodName[] = Object.keys(methodSchemas) as MethodName[];

/** The monotonic clock that all threads of the process share, in milliseconds; `performance.now` counts from each thread's own start. */
const clockOffsetMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
export function readSharedMs(): number {
  return performance.now() + clockOffsetMs;
}

/** What one session host counts of its own work: plain numbers on the hot path, read when metrics are asked for. */
export class HostMeter {
  readonly requestSeconds: ReadonlyMap<MethodName, Histogram> = new Map(
    methodNames.map((method) => [method, new Histogram(timeBounds)]),
  );
  readonly publishSeconds: Histogram = new Histogram(timeBounds);
  /** Pushes of which every member of the audience has been served. */
  readonly pushes: Record<SubscribeMode, number> = { delta: 0, snapshot: 0 };
  readonly missed: Record<'dropped' | 'gap', number> = { dropped: 0, gap: 0 };

  /** A request came; returns when, for {@link noteAnswer}. */
  noteRequest(): number {
    return performance.now();
  }

  noteAnswer(method: MethodName, sinceMs: number): void {
    this.requestSeconds.get(method)?.observe((performance.now() - sinceMs) / 1000);
  }

  /** The last member of a push's audience has been served. `changedAtMs`: of its oldest change, by {@link readSharedMs}; 0 if not known. */
  notePush(variant: SubscribeMode, changedAtMs: number): void {
    this.pushes[variant] += 1;
    if (changedAtMs > 0) this.publishSeconds.observe(Math.max(0, readSharedMs() - changedAtMs) / 1000);
  }
}
