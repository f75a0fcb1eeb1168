import type { ServerConfig } from '../config/config.ts';
import type { WarmStart } from '../control/warm-start.ts';
import type { ThreadStore } from '../durable/thread-store.ts';
import type { ThreadGauges } from '../runtime/thread-gauges.ts';
import type { Fault } from '../workers/messages.ts';
import { PartitionRunner } from '../workers/partition-runner.ts';
import type { PartitionRunnerOptions } from '../workers/partition-runner.ts';

/** What partitions need besides settings. */
export interface PartitionSurroundings extends Pick<PartitionRunnerOptions, 'origins' | 'quotas' | 'readVersionFloor'> {
  readonly store: Pick<ThreadStore, 'connect'>;
  /** Undefined: nothing outlives the process. */
  readonly warmStart: Pick<WarmStart, 'journalOf' | 'handle'> | undefined;
}

/** The threads of partitions, as the supervisor has asked for them. */
export class PartitionRunners {
  readonly #config: ServerConfig;
  readonly #surroundings: PartitionSurroundings;
  /** By partition; one that has been ended and is wanted again gets a new one. */
  readonly #runners: Map<number, PartitionRunner> = new Map();

  constructor(config: ServerConfig, surroundings: PartitionSurroundings) {
    this.#config = config;
    this.#surroundings = surroundings;
  }

  create(partition: number, onDeath: (partition: number, cause: Error) => void): PartitionRunner {
    const { partitionStartTimeoutMs: startTimeoutMs, partitionHeapMaxMb: heapMaxMb } = this.#config;
    const { origins, quotas, warmStart, store, readVersionFloor } = this.#surroundings;
    let lives = 0;
    const runner = new PartitionRunner({
      partition,
      limits: this.#config,
      startTimeoutMs,
      heapMaxMb,
      origins,
      quotas,
      readVersionFloor,
      connectStore: (hand) => store.connect(hand, partition),
      readJournal: () => {
        lives += 1;
        return warmStart?.journalOf(partition, lives === 1);
      },
      onJournal: (from, report) => {
        warmStart?.handle(from, report);
      },
      onDeath,
    });
    this.#runners.set(partition, runner);
    return runner;
  }

  gaugesOf(partition: number): ThreadGauges | undefined {
    return this.#runners.get(partition)?.gauges;
  }

  /** For tests: makes a partition's thread fail. */
  inflict(partition: number, fault: Fault): void {
    this.#runners.get(partition)?.inflict(fault);
  }
}
