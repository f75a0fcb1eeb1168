import { MessageChannel, Worker } from 'node:worker_threads';

import type { ServerConfig } from '../config/config.ts';
import type { ThreadGauges } from '../runtime/thread-gauges.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import type { HostPort } from './remote-host.ts';
import type { HostThreadStart } from './thread-messages.ts';

/** What every thread that holds sessions shares with the rest of the process. */
export interface HostThreadOptions {
  readonly config: ServerConfig;
  readonly lastRequest: SharedArrayBuffer;
  readonly storeVersion: SharedArrayBuffer;
  readonly warmUp: SharedArrayBuffer;
  readonly origins: SharedArrayBuffer;
  readonly namespaceLimits: SharedArrayBuffer;
  readonly audit: SharedArrayBuffer | undefined;
  readonly isKept: boolean;
  readonly startedAtMicros: number;
  readonly registry: string;
  readonly isVerbose: boolean;
}

export interface HostThreadIdentity {
  readonly number: number;
  readonly name: string;
  /** The file that the thread runs. */
  readonly entry: URL;
  readonly table: SlotTable;
  readonly gauges: ThreadGauges;
}

/** One life of a thread that holds sessions: the thread, the way to its session host, and its sign of life. */
export class HostThread {
  readonly worker: Worker;
  /** To its session host. */
  readonly port: HostPort;
  /** Resolves when the thread has ended, and all that its session host had said has been heard. */
  readonly ended: Promise<void>;
  readonly #pulse: Int32Array = new Int32Array(new SharedArrayBuffer(4));

  /** `more`: what a thread of its kind is started with in addition to that. */
  constructor({ number, name, entry, table, gauges }: HostThreadIdentity, options: HostThreadOptions, more: object) {
    const { config, lastRequest, storeVersion, warmUp, origins, namespaceLimits } = options;
    const { audit, isKept, startedAtMicros, registry, isVerbose } = options;
    const { port1, port2 } = new MessageChannel();
    // What it transfers are MessagePorts indeed.
    this.port = port1 as object as HostPort;
    const start: HostThreadStart = {
      number,
      config,
      table: table.memory,
      lastRequest,
      storeVersion,
      warmUp,
      origins,
      namespaceLimits,
      audit,
      isKept,
      startedAtMicros,
      registry,
      isVerbose,
      hostPort: port2,
      pulse: this.#pulse.buffer as SharedArrayBuffer,
      gauges: gauges.memory,
    };
    this.worker = new Worker(entry, {
      name,
      // A process that was given a text to run hands that on, too, and no thread would start.
      ...(process.execArgv.some((argument) => argument.startsWith('--input-type')) ? { execArgv: [] } : {}),
      transferList: [port2],
      workerData: { ...start, ...more },
    });
    const isOver = new Promise<void>((resolve) => {
      this.worker.once('exit', () => {
        resolve();
      });
    });
    const isHeard = new Promise<void>((resolve) => {
      port1.once('close', () => {
        resolve();
      });
    });
    this.ended = Promise.all([isOver, isHeard]).then(() => undefined);
  }

  /** Rises while it lives. */
  readPulse(): number {
    return Atomics.load(this.#pulse, 0);
  }
}
