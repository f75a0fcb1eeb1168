import type { MessagePort } from 'node:worker_threads';

import type { ServerConfig } from '../config/config.ts';
import type { StoreConnection, ThreadStore } from '../durable/thread-store.ts';
import type { ThreadGauges } from '../runtime/thread-gauges.ts';
import type { Fault } from '../workers/messages.ts';
import { PartitionRunner } from '../workers/partition-runner.ts';

/** The threads of partitions, as the supervisor has asked for them. */
export class PartitionRunners {
  readonly #config: ServerConfig;
  readonly #readVersionFloor: () => number;
  readonly #store: Pick<ThreadStore, 'connect'>;
  /** By partition; one that has been ended and is wanted again gets a new one. */
  readonly #runners: Map<number, PartitionRunner> = new Map();

  /** `readVersionFloor`: no version of lives before has reached it. */
  constructor(config: ServerConfig, store: Pick<ThreadStore, 'connect'>, readVersionFloor: () => number) {
    this.#store = store;
    this.#config = config;
    this.#readVersionFloor = readVersionFloor;
  }

  create(partition: number, onDeath: (partition: number, cause: Error) => void): PartitionRunner {
    const { partitionStartTimeoutMs: startTimeoutMs, partitionHeapMaxMb: heapMaxMb } = this.#config;
    const readVersionFloor = this.#readVersionFloor;
    const connectStore = (hand: (port: MessagePort) => void): StoreConnection => this.#store.connect(hand, partition);
    const limits = this.#config;
    const options = { partition, limits, startTimeoutMs, heapMaxMb, readVersionFloor, connectStore, onDeath };
    const runner = new PartitionRunner(options);
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
