import { performance as nodePerformance } from 'node:perf_hooks';
import type { EventLoopUtilization } from 'node:perf_hooks';

import { nowMs } from './clock.ts';
import type { Beat, Tallies } from './load-orders.ts';
import type { LoadReaders } from './load-readers.ts';

export type PushCounts = Pick<Tallies, 'pushes' | 'pushBytes'>;

interface BeatMark extends PushCounts {
  readonly atMs: number;
  readonly cpu: NodeJS.CpuUsage;
  readonly loop: EventLoopUtilization;
  readonly sent: number;
  readonly acks: number;
}

/** What one load process counts: since its last beat, and since the last order that counts. */
export class LoadCounters {
  readonly #readers: LoadReaders;
  sent = 0;
  acks = 0;
  refusals = 0;
  busyAnswers = 0;
  lostConnections = 0;
  #mark: BeatMark;

  constructor(readers: LoadReaders) {
    this.#readers = readers;
    this.#mark = this.#readMark();
  }

  /** How long ago the last beat was: much more than a second if this process does not come round. */
  get sinceBeatMs(): number {
    return nowMs() - this.#mark.atMs;
  }

  /** What was done since the last beat. */
  beat(sessions: number): Beat {
    const before = this.#mark;
    const now = this.#readMark();
    const cpu = process.cpuUsage(before.cpu);
    this.#mark = now;
    return {
      elapsedMs: now.atMs - before.atMs,
      sent: now.sent - before.sent,
      acks: now.acks - before.acks,
      pushes: now.pushes - before.pushes,
      pushBytes: now.pushBytes - before.pushBytes,
      sessions,
      cpuMs: (cpu.user + cpu.system) / 1000,
      loopUtilization: nodePerformance.eventLoopUtilization(now.loop, before.loop).utilization,
      pushMaxMs: this.#readers.drainSlowestMs(),
    };
  }

  countPushes(): PushCounts {
    const { pushes, pushBytes } = this.#readers;
    return { pushes, pushBytes };
  }

  /** An order begins that counts; returns what its tallies are read against. */
  begin(): PushCounts {
    this.busyAnswers = 0;
    this.lostConnections = 0;
    this.#readers.forgetSightings();
    return this.countPushes();
  }

  readTallies(before: PushCounts): Tallies {
    const { pushes, pushBytes } = this.countPushes();
    return {
      ...this.#readers.sightings,
      busyAnswers: this.busyAnswers,
      lostConnections: this.lostConnections,
      pushes: pushes - before.pushes,
      pushBytes: pushBytes - before.pushBytes,
    };
  }

  #readMark(): BeatMark {
    return {
      ...this.countPushes(),
      atMs: nowMs(),
      cpu: process.cpuUsage(),
      loop: nodePerformance.eventLoopUtilization(),
      sent: this.sent,
      acks: this.acks,
    };
  }
}
