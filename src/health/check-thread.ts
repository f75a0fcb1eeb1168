import { Worker } from 'node:worker_threads';

import { ThreadGauges } from '../runtime/thread-gauges.ts';
import { delay } from '../runtime/timing.ts';
import type { CheckSettings, HealthReport, HealthThreadStart, ToHealthThread } from './health-messages.ts';

export interface CheckThreadOptions {
  readonly settings: CheckSettings;
  readonly onReport: (report: HealthReport) => void;
  /** The thread has died, and another begins, which knows of no checks. */
  readonly onRestart: () => void;
  readonly onDeath: (cause: Error) => void;
}

/** The first wait before a restart, and the longest, in milliseconds. */
const backoffMinMs = 100;
const backoffMaxMs = 10_000;

/** The thread that makes checks, as the main thread has it: it begins with the first check, and is started again if it dies. */
export class CheckThread {
  readonly gauges: ThreadGauges = new ThreadGauges();
  readonly #options: CheckThreadOptions;
  #worker: Worker | undefined;
  #unsent: ToHealthThread[] = [];
  #deaths = 0;
  #hasBegun = false;
  #isEnding = false;

  constructor(options: CheckThreadOptions) {
    this.#options = options;
  }

  /** Messages of one turn go together. */
  tell(message: ToHealthThread): void {
    if (this.#isEnding) return;
    if (!this.#hasBegun) {
      this.#hasBegun = true;
      this.#begin();
    }
    this.#unsent.push(message);
    if (this.#unsent.length === 1) setImmediate(() => this.#flush());
  }

  /** Resolves when it has ended. */
  async stop(): Promise<void> {
    this.#isEnding = true;
    await this.#worker?.terminate();
  }

  /** For tests: ends the thread, as a bug would. */
  kill(): void {
    void this.#worker?.terminate();
  }

  #flush(): void {
    const messages = this.#unsent;
    this.#unsent = [];
    this.#worker?.postMessage(messages);
  }

  #begin(): void {
    const { settings, onReport, onDeath } = this.#options;
    const workerData: HealthThreadStart = { settings, gauges: this.gauges.memory };
    const worker = new Worker(new URL('health-thread.js', import.meta.url), {
      name: 'health',
      // A process that was given a text to run hands that on, too, and no thread would start.
      ...(process.execArgv.some((argument) => argument.startsWith('--input-type')) ? { execArgv: [] } : {}),
      workerData,
    });
    this.#worker = worker;
    let cause = new Error('the thread of checks ended');
    worker.on('error', (error: Error) => {
      cause = error;
    });
    worker.on('message', onReport);
    worker.once('exit', () => {
      this.#worker = undefined;
      if (this.#isEnding) return;
      this.#deaths += 1;
      onDeath(cause);
      void this.#restart();
    });
  }

  async #restart(): Promise<void> {
    await delay(Math.min(backoffMaxMs, backoffMinMs * 2 ** Math.min(10, this.#deaths - 1)));
    if (this.#isEnding) return;
    // What was told meanwhile is among what is told now.
    this.#unsent = [];
    this.#begin();
    this.#options.onRestart();
  }
}
