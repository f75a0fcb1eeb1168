import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import { Piscina } from 'piscina';

import type { SlotTable } from '../slots/slot-table.ts';
import type { Control, ControlReport, PartitionLimits, PartitionStart } from './messages.ts';

export interface PartitionPoolOptions {
  readonly table: SlotTable;
  readonly limits: PartitionLimits;
  readonly startTimeoutMs: number;
  /** A partition's thread ended without being told to. */
  readonly onDeath: (partition: number, cause: Error) => void;
}

/** Runs one partition to a thread. The only place that knows piscina. */
export class PartitionPool {
  readonly #pool: Piscina<PartitionStart, void>;
  readonly #options: PartitionPoolOptions;
  readonly #controls: MessagePort[] = [];
  readonly #ended: Promise<void>[] = [];
  #isStopping = false;

  constructor(options: PartitionPoolOptions) {
    this.#options = options;
    const threads = options.table.partitions;
    this.#pool = new Piscina<PartitionStart, void>({
      filename: new URL('partition-thread.js', import.meta.url).href,
      minThreads: threads,
      maxThreads: threads,
      idleTimeout: Number.POSITIVE_INFINITY,
      concurrentTasksPerWorker: 1,
      // An idle piscina thread would otherwise park in Atomics.wait, where neither timers nor ports run.
      atomics: 'disabled',
      recordTiming: false,
    });
  }

  /** Starts every partition and resolves when all are ready; rejects if one is not within `startTimeoutMs`. */
  async start(onReady: (partition: number) => void): Promise<void> {
    const partitions = Array.from({ length: this.#options.table.partitions }, (_, partition) => partition);
    await Promise.all(
      partitions.map(async (partition) => {
        await this.#startOne(partition);
        onReady(partition);
      }),
    );
  }

  /** Gives a session host its own mailbox to a partition; returns the host's end. */
  connect(partition: number, host: number): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#control(partition).postMessage({ kind: 'attach', host, port: port2 } satisfies Control, [port2]);
    return port1;
  }

  /** Lets every partition end by itself, then the threads. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    for (const control of this.#controls) control.postMessage({ kind: 'stop' } satisfies Control);
    await Promise.all(this.#ended);
    await this.#pool.destroy();
  }

  #control(partition: number): MessagePort {
    const control = this.#controls[partition];
    if (control === undefined) throw new Error(`no such partition: ${partition}`);
    return control;
  }

  #startOne(partition: number): Promise<void> {
    const { port1, port2 } = new MessageChannel();
    this.#controls[partition] = port1;
    const { table, limits, startTimeoutMs } = this.#options;
    const start: PartitionStart = { partition, table: table.memory, limits, control: port2 };
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`partition ${partition} was not ready within ${startTimeoutMs} ms`));
      }, startTimeoutMs);
      port1.on('message', (report: ControlReport) => {
        report.kind satisfies 'ready';
        clearTimeout(timer);
        resolve();
      });
      this.#ended[partition] = this.#pool.run(start, { transferList: [port2] }).then(
        () => {
          if (!this.#isStopping) this.#reportDeath(partition, new Error('the task ended by itself'));
        },
        (error: unknown) => {
          clearTimeout(timer);
          const cause = error instanceof Error ? error : new Error(String(error));
          reject(cause);
          this.#reportDeath(partition, cause);
        },
      );
    });
  }

  #reportDeath(partition: number, cause: Error): void {
    if (!this.#isStopping) this.#options.onDeath(partition, cause);
  }
}
