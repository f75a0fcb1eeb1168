import type { Logger } from 'pino';

import type { SlotTable } from '../slots/slot-table.ts';
import { slotCount } from '../slots/slot.ts';
import type { ServerConfig } from './config.ts';
import type { Counters } from './counters.ts';
import type { MailboxPort, PartitionLink } from './partition-link.ts';
import { rebuildPartition } from './rebuild.ts';
import type { Remains } from './rebuild.ts';
import type { Router } from './router.ts';
import type { SessionHost } from './session-host.ts';

/** What runs one partition: a thread, or in simulations its pure core. */
export interface Runner {
  start(table: SlotTable, versionFloor: number): Promise<void>;
  connect(host: number): MailboxPort;
  /** Rises while it lives. */
  readPulse(): number | undefined;
  kill(reason: string): void;
  stop(): Promise<void>;
}

export type PartitionState = 'starting' | 'ready' | 'rebuilding' | 'stopping';

type SupervisorConfig = Pick<
  ServerConfig,
  | 'partitionHeartbeatTimeoutMs'
  | 'partitionRestartsMax'
  | 'partitionRestartWindowMs'
  | 'partitionRestartBackoffMs'
  | 'restoreSliceRegistrations'
>;

export interface SupervisorOptions {
  readonly config: SupervisorConfig;
  readonly router: Router;
  readonly host: SessionHost;
  /** The number by which partitions address the session host. */
  readonly hostNumber: number;
  readonly counters: Counters;
  readonly log: Logger;
  readonly createRunner: (partition: number, onDeath: (partition: number, cause: Error) => void) => Runner;
  readonly createLink: (partition: number, port: MailboxPort) => PartitionLink;
  /** Resolves in a later turn. */
  readonly nextTurn: () => Promise<void>;
  readonly delay: (ms: number) => Promise<void>;
  readonly nowMs: number;
  readonly onFatal: (error: Error) => void;
  /** A partition died, or is rebuilt and serves again: for metrics. */
  readonly onTurnOfLife?: (partition: number, turn: 'died' | 'rebuilt') => void;
}

/** The longest wait before a restart, in milliseconds. */
const backoffMaxMs = 1000;
/** Gaps between ticks count for at most this long: after a suspension partitions get the time to show that they live. */
const tickGapMaxMs = 200;

class Ward {
  readonly partition: number;
  readonly runner: Runner;
  state: PartitionState = 'starting';
  /** Deaths so far; tells whether one came in between. */
  deaths = 0;
  isHealing = false;
  remains: Remains = { pending: [], touched: [], versionSeen: 0 };
  pulse = -1;
  silentMs = 0;

  constructor(partition: number, runner: Runner) {
    this.partition = partition;
    this.runner = runner;
  }
}

/** Starts partitions, watches over them, and heals those that die (RE1). */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #router: Router;
  readonly #wards: Ward[] = [];
  #recentDeathsMs: number[] = [];
  #clockMs: number;
  #isStopping = false;
  #waiting: (() => void)[] = [];

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#router = options.router;
    this.#clockMs = options.nowMs;
  }

  /** What each partition is doing. */
  states(): PartitionState[] {
    return this.#wards.map(({ state }) => state);
  }

  isReady(partition: number): boolean {
    return this.#wards[partition]?.state === 'ready';
  }

  /** Resolves once all of these partitions are ready, or at once when the server stops; then with false. */
  async whenReady(partitions: readonly number[]): Promise<boolean> {
    while (!this.#isStopping && !partitions.every((partition) => this.isReady(partition))) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return !this.#isStopping;
  }

  runner(partition: number): Runner | undefined {
    return this.#wards[partition]?.runner;
  }

  /** Starts partitions up to, not including, `count`; those that run already go on. Rejects, and leaves none of the new ones, if one fails. */
  async startUpTo(count: number): Promise<void> {
    const added: Ward[] = [];
    while (this.#wards.length < count) {
      const partition = this.#wards.length;
      const ward = new Ward(
        partition,
        this.#options.createRunner(partition, (_, cause) => {
          this.#onDeath(ward, cause);
        }),
      );
      this.#wards.push(ward);
      added.push(ward);
    }
    try {
      await Promise.all(added.map((ward) => this.#start(ward)));
    } catch (error) {
      await this.stopFrom(count - added.length);
      throw error;
    }
  }

  /** Ends the partitions from `count` on, which own no slots any more. */
  async stopFrom(count: number): Promise<void> {
    const leaving = this.#wards.splice(count);
    await Promise.all(
      leaving.map(async (ward) => {
        ward.state = 'stopping';
        this.#router.link(ward.partition)?.close();
        this.#router.setLink(ward.partition, undefined);
        await ward.runner.stop();
      }),
    );
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    await this.stopFrom(0);
  }

  /** Ends partitions that show no sign of life. */
  tick(nowMs: number): void {
    const elapsedMs = Math.min(nowMs - this.#clockMs, tickGapMaxMs);
    this.#clockMs = nowMs;
    for (const ward of this.#wards) {
      const pulse = ward.runner.readPulse();
      if (pulse === undefined || pulse !== ward.pulse) {
        ward.pulse = pulse ?? -1;
        ward.silentMs = 0;
        continue;
      }
      ward.silentMs += elapsedMs;
      if (ward.silentMs < this.#options.config.partitionHeartbeatTimeoutMs) continue;
      ward.silentMs = 0;
      ward.runner.kill(`it showed no sign of life for ${this.#options.config.partitionHeartbeatTimeoutMs} ms`);
    }
  }

  async #start(ward: Ward): Promise<void> {
    let deaths: number;
    let { table } = this.#router;
    do {
      ({ deaths } = ward);
      ({ table } = this.#router);
      await ward.runner.start(table, 0);
      // It owns nothing yet, so one that died at once is just started again, as often as deaths are healed.
    } while (ward.deaths !== deaths && !this.#isStopping);
    this.#router.setLink(ward.partition, this.#connect(ward, table.epoch));
    ward.state = 'ready';
    this.#options.log.debug({ partition: ward.partition }, 'partition ready');
  }

  /** `epoch`: of the table that the partition was started with. */
  #connect(ward: Ward, epoch: number): PartitionLink {
    const link = this.#options.createLink(ward.partition, ward.runner.connect(this.#options.hostNumber));
    if (epoch !== this.#router.table.epoch) link.adoptTable(this.#router.table);
    return link;
  }

  #onDeath(ward: Ward, cause: Error): void {
    const { partition } = ward;
    if (this.#isStopping || ward.state === 'stopping') return;
    this.#options.counters.count('partition_died');
    this.#options.onTurnOfLife?.(partition, 'died');
    this.#options.log.error({ partition, err: cause }, `partition ${partition} died: ${cause.message}`);
    ward.deaths += 1;
    this.#takeRemains(ward);
    const isHopeless = this.#countDeath() > this.#options.config.partitionRestartsMax;
    const isFirst = !ward.isHealing && ward.state !== 'starting';
    const slots = isFirst ? this.#slotsOf(partition) : [];
    if (isFirst) {
      ward.isHealing = true;
      ward.state = 'rebuilding';
      this.#router.gate.shut(slots);
    }
    if (isHopeless) this.#fail(partition, cause);
    if (isHopeless || !isFirst) return;
    this.#heal(ward, slots).catch((error: unknown) => {
      this.#fail(partition, error instanceof Error ? error : new Error(String(error)));
    });
  }

  #fail(partition: number, cause: Error): void {
    this.#isStopping = true;
    this.#wake();
    const message = `partition ${partition} died: ${cause.message}; partitions keep dying, and the server cannot go on without their slots`;
    this.#options.onFatal(new Error(message, { cause }));
  }

  /** Deaths in the window, this one included. */
  #countDeath(): number {
    const sinceMs = this.#clockMs - this.#options.config.partitionRestartWindowMs;
    this.#recentDeathsMs = [...this.#recentDeathsMs.filter((atMs) => atMs > sinceMs), this.#clockMs];
    return this.#recentDeathsMs.length;
  }

  #takeRemains(ward: Ward): void {
    const link = this.#router.link(ward.partition);
    if (link === undefined) return;
    const { remains } = ward;
    const touched = link.touched();
    for (const [request, pending] of link.close()) {
      // What only made sense in that life ends with it; everything else goes on in the next.
      if (pending.session === undefined && pending.abandon !== undefined) pending.abandon();
      else remains.pending.push([request, pending]);
    }
    remains.touched.push(...touched);
    remains.versionSeen = Math.max(remains.versionSeen, link.versionSeen);
    this.#router.setLink(ward.partition, undefined);
  }

  async #heal(ward: Ward, slots: readonly number[]): Promise<void> {
    while (this.#isWanted(ward) && !(await this.#tryHeal(ward)));
    // A server that stops answers nothing any more; its slots stay shut.
    if (this.#isStopping) return;
    this.#options.log.info({ partition: ward.partition, slots: slots.length, state: ward.state }, 'partition rebuilt');
    this.#router.gate.open(slots);
    this.#options.onTurnOfLife?.(ward.partition, 'rebuilt');
    this.#wake();
  }

  /** Not when the server stops, nor when the partition itself is being ended, for which it must have given away its slots. */
  #isWanted(ward: Ward): boolean {
    return !this.#isStopping && ward.state !== 'stopping';
  }

  async #tryHeal(ward: Ward): Promise<boolean> {
    const { config, host, nextTurn } = this.#options;
    await this.#options.delay(
      Math.min(backoffMaxMs, config.partitionRestartBackoffMs * 2 ** (this.#recentDeathsMs.length - 1)),
    );
    if (!this.#isWanted(ward)) return false;
    const { deaths, remains } = ward;
    const { table } = this.#router;
    try {
      await ward.runner.start(table, remains.versionSeen + 1);
    } catch (error) {
      // A death that was reported is counted already.
      if (ward.deaths === deaths) this.#onDeath(ward, error instanceof Error ? error : new Error(String(error)));
      return false;
    }
    if (!this.#isWanted(ward) || ward.deaths !== deaths) return false;
    const link = this.#connect(ward, table.epoch);
    this.#router.setLink(ward.partition, link);
    const sliceRegistrations = config.restoreSliceRegistrations;
    if (!(await rebuildPartition({ host, router: this.#router, link, sliceRegistrations, nextTurn }, remains)))
      return false;
    // The last answer and the death, or the end, may come in one turn.
    if (!this.#isWanted(ward) || ward.deaths !== deaths) return false;
    ward.isHealing = false;
    ward.state = 'ready';
    ward.remains = { pending: [], touched: [], versionSeen: remains.versionSeen };
    return true;
  }

  #slotsOf(partition: number): number[] {
    const { table } = this.#router;
    return Array.from({ length: slotCount }, (_, slot) => slot).filter((slot) => table.ownerOf(slot) === partition);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
