import type { Logger } from 'pino';

import type { ServerConfig } from '../config/config.ts';
import type { PartitionState } from '../protocol/http-results.ts';
import type { Counters } from '../runtime/counters.ts';
import { createDeferred } from '../runtime/deferred.ts';
import type { Deferred } from '../runtime/deferred.ts';
import { isDescriptorShortage } from '../runtime/descriptors.ts';
import { slotCount } from '../slots/slot.ts';
import { toPartition } from '../workers/messages.ts';
import type { MailboxPort, Runner } from '../workers/runner.ts';
import type { Hosts } from './hosts.ts';

type SupervisorConfig = Pick<
  ServerConfig,
  'partitionHeartbeatTimeoutMs' | 'partitionRestartsMax' | 'partitionRestartWindowMs' | 'partitionRestartBackoffMs'
>;

export interface SupervisorOptions {
  readonly config: SupervisorConfig;
  readonly hosts: Hosts;
  readonly counters: Counters;
  readonly log: Logger;
  readonly createRunner: (partition: number, onDeath: (partition: number, cause: Error) => void) => Runner;
  readonly delay: (ms: number) => Promise<void>;
  readonly nowMs: number;
  /** Runs the start of a thread with the descriptors that are held for it. */
  readonly lendDescriptors?: (start: () => Promise<void>) => Promise<void>;
  /** A partition died, or is rebuilt and serves again: for metrics. */
  readonly onTurnOfLife?: (partition: number, turn: 'died' | 'rebuilt') => void;
}

/** The longest wait before a restart, in milliseconds. */
const backoffMaxMs = 1000;
/** Gaps between ticks count for at most this long: after a suspension partitions get the time to show that they live. */
const tickGapMaxMs = 200;

class SupervisedPartition {
  readonly partition: number;
  readonly runner: Runner;
  state: PartitionState = 'starting';
  /** Deaths so far; shows whether there was one in between. */
  deaths = 0;
  /** Starts that failed, one after the other, because the process had no descriptors left. */
  starved = 0;
  isHealing = false;
  /** The highest version that any host has received, once all have read the last messages of the previous life. */
  versionSeen: Promise<number> = Promise.resolve(0);
  pulse = -1;
  silentMs = 0;

  constructor(
    partition: number,
    createRunner: SupervisorOptions['createRunner'],
    onDeath: (partition: SupervisedPartition, cause: Error) => void,
  ) {
    this.partition = partition;
    this.runner = createRunner(partition, (_, cause) => {
      onDeath(this, cause);
    });
  }
}

/** Starts partitions, watches over them, and heals those that die (RE1). */
export class Supervisor {
  /** Resolves, to why, when partitions keep dying, and the registry cannot continue. */
  readonly failed: Promise<Error>;
  readonly #failure: Deferred<Error> = createDeferred();
  readonly #options: SupervisorOptions;
  readonly #hosts: Hosts;
  readonly #partitions: SupervisedPartition[] = [];
  #recentDeathsMs: number[] = [];
  #clockMs: number;
  #isStopping = false;
  #waiting: (() => void)[] = [];

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#hosts = options.hosts;
    this.#clockMs = options.nowMs;
    this.failed = this.#failure.promise;
  }

  /** What each partition is doing. */
  states(): PartitionState[] {
    return this.#partitions.map(({ state }) => state);
  }

  /** Of each partition, how often it has died; one that is not ready counts as if it were about to. */
  deaths(): number[] {
    return this.#partitions.map(({ deaths, state }) => (state === 'ready' ? deaths : deaths - 1));
  }

  isReady(partition: number): boolean {
    return this.#partitions[partition]?.state === 'ready';
  }

  /** Resolves once all of these partitions are ready, or at once when the server stops; then with false. */
  async whenReady(partitions: readonly number[]): Promise<boolean> {
    while (!this.#isStopping && !partitions.every((partition) => this.isReady(partition))) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return !this.#isStopping;
  }

  /** Resolves once every partition is ready; with false when the server stops. */
  async whenAllReady(): Promise<boolean> {
    while (!this.#isStopping && !this.#partitions.every(({ state }) => state === 'ready')) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return !this.#isStopping;
  }

  /** Leads a host, whose thread is new, to every partition; all are ready. */
  connectHost(host: number, connect: (partition: number, port: MailboxPort) => void): void {
    this.detachHost(host);
    for (const { partition, runner } of this.#partitions) connect(partition, runner.connect(host));
  }

  /** Starts partitions up to, not including, `count`; those that already run are left alone. Rejects, and leaves none of the new ones, if one fails. */
  async startUpTo(count: number): Promise<void> {
    const added: SupervisedPartition[] = [];
    while (this.#partitions.length < count) {
      const partition = this.#partitions.length;
      const supervised = new SupervisedPartition(partition, this.#options.createRunner, (died, cause) => {
        this.#onDeath(died, cause);
      });
      this.#partitions.push(supervised);
      added.push(supervised);
    }
    try {
      await Promise.all(added.map((partition) => this.#start(partition)));
    } catch (error) {
      await this.stopFrom(count - added.length);
      throw error;
    }
  }

  /** Ends the partitions from `count` on, which own no slots any more. */
  async stopFrom(count: number): Promise<void> {
    const leaving = this.#partitions.splice(count);
    await Promise.all(
      leaving.map(async (partition) => {
        partition.state = 'stopping';
        await this.#hosts.disconnect(partition.partition);
        await partition.runner.stop();
      }),
    );
  }

  /** The thread of a session host has died: partitions forget what was in flight to it and who subscribed there, and keep what its sessions registered. */
  detachHost(host: number): void {
    for (const { runner } of this.#partitions) runner.detach(host);
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    // What an answer makes be asked again finds no partition any more: it waits for a slot that does not open.
    this.#hosts.freeze(Array.from({ length: slotCount }, (_, slot) => slot));
    await this.stopFrom(0);
  }

  /** Ends partitions that show no sign of life. */
  tick(nowMs: number): void {
    const elapsedMs = Math.min(nowMs - this.#clockMs, tickGapMaxMs);
    this.#clockMs = nowMs;
    for (const partition of this.#partitions) {
      const pulse = partition.runner.readPulse();
      if (pulse === undefined || pulse !== partition.pulse) {
        partition.pulse = pulse ?? -1;
        partition.silentMs = 0;
        continue;
      }
      partition.silentMs += elapsedMs;
      if (partition.silentMs < this.#options.config.partitionHeartbeatTimeoutMs) continue;
      partition.silentMs = 0;
      partition.runner.kill(`it showed no sign of life for ${this.#options.config.partitionHeartbeatTimeoutMs} ms`);
    }
  }

  async #start(partition: SupervisedPartition): Promise<void> {
    let deaths: number;
    let { table } = this.#hosts;
    do {
      ({ deaths } = partition);
      ({ table } = this.#hosts);
      await partition.runner.start(table, 0);
      // It owns nothing yet, so one that died at once is just started again, as often as deaths are healed.
    } while (partition.deaths !== deaths && this.#isWanted(partition));
    // Another one that was to start with it has failed, so all of them are being ended: nobody may be led to this one.
    if (!this.#isWanted(partition)) return;
    this.#connect(partition, table.epoch);
    partition.state = 'ready';
    this.#options.log.debug({ partition: partition.partition }, 'partition ready');
    this.#wake();
  }

  /** `epoch`: of the table that the partition was started with. */
  #connect({ partition, runner }: SupervisedPartition, epoch: number): void {
    this.#hosts.connect(partition, epoch, (host) => runner.connect(host));
  }

  #onDeath(supervised: SupervisedPartition, cause: Error): void {
    const { partition } = supervised;
    if (this.#isStopping || supervised.state === 'stopping') return;
    supervised.deaths += 1;
    if (supervised.isHealing && isDescriptorShortage(cause)) {
      this.#noteStarved(supervised, cause);
      return;
    }
    this.#options.counters.count('partition_died');
    this.#options.onTurnOfLife?.(partition, 'died');
    this.#options.log.error({ partition, err: cause }, `partition ${partition} died: ${cause.message}`);
    const isHopeless = this.#countDeath() > this.#options.config.partitionRestartsMax;
    const isFirst = !supervised.isHealing && supervised.state !== 'starting';
    const slots = isFirst ? this.#slotsOf(partition) : [];
    if (isFirst) {
      supervised.isHealing = true;
      supervised.state = 'rebuilding';
      this.#hosts.freeze(slots);
    }
    supervised.versionSeen = this.#hosts.lose(partition);
    if (isHopeless) this.#fail(partition, cause);
    if (isHopeless || !isFirst) return;
    this.#heal(supervised, slots).catch((error: unknown) => {
      this.#fail(partition, error instanceof Error ? error : new Error(String(error)));
    });
  }

  /** It could not begin: that says nothing about it, and ends when others have closed what they hold. */
  #noteStarved(supervised: SupervisedPartition, cause: Error): void {
    this.#options.counters.count('partition_start_starved');
    if (supervised.starved === 0) {
      const { partition } = supervised;
      this.#options.log.error({ partition, err: cause }, `partition ${partition} cannot start: no file descriptors`);
    }
    supervised.starved += 1;
  }

  #fail(partition: number, cause: Error): void {
    this.#isStopping = true;
    this.#wake();
    const message = `partition ${partition} died: ${cause.message}; partitions keep dying, and the server cannot go on without their slots`;
    this.#failure.resolve(new Error(message, { cause }));
  }

  /** Deaths in the window, this one included. */
  #countDeath(): number {
    const sinceMs = this.#clockMs - this.#options.config.partitionRestartWindowMs;
    this.#recentDeathsMs = [...this.#recentDeathsMs.filter((atMs) => atMs > sinceMs), this.#clockMs];
    return this.#recentDeathsMs.length;
  }

  async #heal(partition: SupervisedPartition, slots: readonly number[]): Promise<void> {
    while (this.#isWanted(partition) && !(await this.#tryHeal(partition)));
    // A server that stops answers nothing any more; its slots stay frozen.
    if (this.#isStopping) return;
    this.#options.log.info(
      { partition: partition.partition, slots: slots.length, state: partition.state },
      'partition rebuilt',
    );
    this.#hosts.thaw(slots);
    this.#options.onTurnOfLife?.(partition.partition, 'rebuilt');
    this.#wake();
  }

  /** Not when the server stops, nor when the partition itself is being ended, for which it must have given away its slots. */
  #isWanted(partition: SupervisedPartition): boolean {
    return !this.#isStopping && partition.state !== 'stopping';
  }

  async #tryHeal(partition: SupervisedPartition): Promise<boolean> {
    const { partitionRestartBackoffMs } = this.#options.config;
    await this.#options.delay(
      Math.min(backoffMaxMs, partitionRestartBackoffMs * 2 ** (this.#recentDeathsMs.length - 1 + partition.starved)),
    );
    const versionSeen = await partition.versionSeen;
    if (!this.#isWanted(partition)) return false;
    const { deaths } = partition;
    const { table } = this.#hosts;
    try {
      const { lendDescriptors = (start) => start() } = this.#options;
      await lendDescriptors(() => partition.runner.start(table, versionSeen + 1));
      partition.starved = 0;
    } catch (error) {
      // A death that was reported is counted already.
      if (partition.deaths === deaths)
        this.#onDeath(partition, error instanceof Error ? error : new Error(String(error)));
      return false;
    }
    if (!this.#isWanted(partition) || partition.deaths !== deaths) return false;
    this.#connect(partition, table.epoch);
    if (!(await this.#rebuild(partition.partition))) return false;
    // The last answer and the death, or the end, may come in one turn.
    if (!this.#isWanted(partition) || partition.deaths !== deaths) return false;
    partition.isHealing = false;
    partition.state = 'ready';
    return true;
  }

  /**
   * All hosts are waited for after each part: what the first brings is partial until the last host is through, reads that were answered before all
   * changes are back would go back in time, and pushes that began before all have said who subscribes would pass some by. False if the partition died.
   */
  async #rebuild(partition: number): Promise<boolean> {
    const hosts = this.#hosts;
    const link = hosts.link(partition);
    if (link === undefined || !(await hosts.restore(partition)) || !(await hosts.resume(partition))) return false;
    if (!(await hosts.resumeReads(partition))) return false;
    return hosts.ask(link, (request) => [toPartition.resumePushes, request]);
  }

  #slotsOf(partition: number): number[] {
    const { table } = this.#hosts;
    return Array.from({ length: slotCount }, (_, slot) => slot).filter((slot) => table.ownerOf(slot) === partition);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
