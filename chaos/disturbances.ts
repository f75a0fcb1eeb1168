import { setTimeout as delay } from 'node:timers/promises';

import type { Fault } from '../src/main/testing.ts';
import type { Random } from '../test/support/random.ts';
import type { Chronicle } from './chronicle.ts';
import type { Crowd } from './crowd.ts';
import { canFillDisk } from './full-disk.ts';
import type { FullDisk } from './full-disk.ts';
import type { RegistryProcess, Stats } from './registry-process.ts';
import { settings } from './settings.ts';
import type { SteadyClock } from './steady-clock.ts';
import type { Tally } from './tally.ts';

export interface DisturbancesOptions {
  readonly registry: RegistryProcess;
  readonly crowd: Crowd;
  readonly random: Random;
  readonly tally: Tally;
  readonly clock: SteadyClock;
  readonly chronicle: Chronicle;
  readonly latestStats: () => Stats | undefined;
  /** Undefined: it always has room. */
  readonly disk: FullDisk | undefined;
}

const deaths: readonly Fault[] = ['throw', 'exit', 'hang', 'memory'];
/** Between most deaths the registry is given so long to do its work, in milliseconds: where it takes long to be whole again, nothing but that would be seen. */
const wholeMs = 200;
/** How long is waited for a moment without another fault, in milliseconds. */
const steadyWithinMs = 5000;

/** Faults within one life of the registry, and what operators and slow clients do: each kind comes about every so often. */
export class Disturbances {
  readonly #options: DisturbancesOptions;
  readonly #random: Random;
  readonly #tasks: Set<Promise<void>> = new Set();
  /** Each kind of fault comes next at, in milliseconds. */
  readonly #due: Map<string, number> = new Map();
  #isSuspended = false;
  #isResizing = false;
  #isEdgeDown = false;
  #deathsAsked = 0;
  /** The next death, but for some, comes after this, on the steady clock. */
  #wholeUntilMs = 0;

  constructor(options: DisturbancesOptions) {
    this.#options = options;
    this.#random = options.random;
  }

  /** Begins what is due. */
  tick(): void {
    const { registry, crowd, disk } = this.#options;
    this.#when('death', 1100, () => this.#kill());
    this.#when('edge thread', 2200, () => this.#killEdge());
    this.#when('store thread', 3000, () => {
      this.#fault('store thread', 'the thread of the store dies');
      return registry.killStore();
    });
    this.#when('resize', 1300, () => this.#resize());
    this.#when('slow reader', 4500, () => crowd.slowDown(800));
    this.#when('frozen client', 4000, () => {
      crowd.freezeOne();
      return Promise.resolve();
    });
    this.#when('asked to go', 2500, () => {
      this.#fault('asked to go', 'some are asked to reconnect');
      return registry.requestReconnect(20, 300);
    });
    if (disk !== undefined && canFillDisk) {
      this.#when('full disk', 5000, () => {
        this.#fault('full disk', 'the disk has no room');
        return disk.fill();
      });
    }
    this.#when('suspended process', 8000, () => this.#suspend());
  }

  /** Ends with the last of what has begun. */
  async settle(): Promise<void> {
    this.#due.clear();
    await Promise.all(this.#tasks);
  }

  /** About every so many milliseconds, one at a time of its kind. */
  #when(kind: string, everyMs: number, disturb: () => Promise<void>): void {
    const nowMs = performance.now();
    const dueMs = this.#due.get(kind) ?? nowMs + this.#random.below(everyMs);
    if (nowMs < dueMs) {
      this.#due.set(kind, dueMs);
      return;
    }
    this.#due.set(kind, Number.POSITIVE_INFINITY);
    const { registry } = this.#options;
    const { life } = registry;
    const task = disturb()
      .catch((error: unknown) => {
        // The registry was ended meanwhile.
        if (registry.isUp && registry.life === life) throw error;
      })
      .then(() => {
        this.#due.set(kind, performance.now() + everyMs / 3 + this.#random.below(everyMs));
        this.#tasks.delete(task);
      });
    this.#tasks.add(task);
  }

  async #kill(): Promise<void> {
    // If both die before either knows what the other held, that is lost.
    if (this.#isSuspended || this.#isEdgeDown) return;
    const { registry, clock, latestStats } = this.#options;
    if (clock.nowMs < this.#wholeUntilMs && this.#random.below(3) > 0) return;
    this.#wholeUntilMs = clock.nowMs + wholeMs;
    const partitions = latestStats()?.partitions.length ?? settings.partitions;
    // Kinds take turns; now and then two partitions die at once.
    for (let dying = this.#random.below(5) === 0 ? 2 : 1; dying > 0; dying--) {
      const fault = deaths[this.#deathsAsked % deaths.length]!;
      this.#deathsAsked += 1;
      const partition = this.#random.below(partitions);
      this.#fault(`partition ${fault}`, `partition ${partition} dies: ${fault}`);
      clock.expectFault();
      await registry.inflict(partition, fault);
    }
  }

  async #killEdge(): Promise<void> {
    const { registry, clock } = this.#options;
    if (this.#isSuspended || !clock.isSteady) return;
    this.#isEdgeDown = true;
    try {
      this.#fault('edge thread', 'the thread that serves HTTP dies');
      await registry.killEdge();
    } finally {
      this.#isEdgeDown = false;
    }
  }

  async #resize(): Promise<void> {
    if (this.#isSuspended) return;
    const { registry, chronicle } = this.#options;
    const partitions = 2 + this.#random.below(4);
    this.#fault('resize', `resize to ${partitions}`);
    this.#isResizing = true;
    await registry.resize(partitions).catch((error: unknown) => {
      chronicle.note(`the resize ended early: ${String(error)}`, true);
    });
    this.#isResizing = false;
  }

  async #suspend(): Promise<void> {
    const { registry, clock, chronicle } = this.#options;
    const { life } = registry;
    // Longer than the grace and the heartbeat timeout together: nobody may be taken for dead when it wakes.
    const ms = settings.disconnectGraceMs + settings.heartbeatTimeoutMs + 500;
    // Not while slots are frozen: how long they do not answer is to be the registry's own doing.
    const untilMs = performance.now() + steadyWithinMs;
    while (this.#isResizing || this.#isEdgeDown || !clock.isSteady) {
      if (performance.now() > untilMs) return;
      await delay(1);
    }
    if (!registry.isUp || registry.life !== life) return;
    this.#fault('suspended process', `the registry stands still for ${ms} ms`);
    this.#isSuspended = true;
    registry.suspend();
    const wakeAtMs = performance.now() + ms;
    // Whoever ends it wakes it.
    while (performance.now() < wakeAtMs && registry.isUp && registry.life === life) await delay(20);
    if (registry.life === life) registry.wake();
    this.#isSuspended = false;
    chronicle.note('the registry goes on', true);
  }

  #fault(kind: string, text: string): void {
    const { tally, chronicle } = this.#options;
    tally.countFault(kind);
    chronicle.note(text, true);
  }
}
