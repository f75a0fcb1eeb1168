import { MessageChannel, Worker } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import type { ServerConfig } from '../config/config.ts';
import { ThreadGauges } from '../runtime/thread-gauges.ts';
import type { LossReport } from '../sessions/loss-messages.ts';
import type { SessionEvent } from '../sessions/session-journal.ts';
import type { TransferEvent } from '../sessions/session-transfer.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import type { HttpAnswer, HttpCall } from '../transport/transport.ts';
import { RemoteUnit } from './remote-unit.ts';
import type { FromIoThread, IoThreadStart, ToIoThread } from './unit-messages.ts';

export interface IoThreadsOptions {
  /** The file that a thread runs. */
  readonly entry: URL;
  readonly config: ServerConfig;
  readonly table: SlotTable;
  readonly lastRequest: SharedArrayBuffer;
  readonly sessionCounts: SharedArrayBuffer;
  readonly arrivals: SharedArrayBuffer;
  readonly warmUp: SharedArrayBuffer;
  readonly descriptors: SharedArrayBuffer;
  readonly bornMicros: number;
  readonly registry: string;
  readonly onHttp: (call: HttpCall) => Promise<HttpAnswer>;
  readonly isVerbose: boolean;
  readonly onLosses: (report: LossReport) => void;
  readonly onSession: (event: SessionEvent) => void;
  /** A host's word about a session that goes on at another. */
  readonly onTransfer: (host: number, event: TransferEvent) => void;
  /** A bug in a thread, or its end without having been told to. */
  readonly onFailure: (error: Error) => void;
  /** A thread has shown no sign of life for so long, or shows one again. */
  readonly onSilence: (thread: number, silentMs: number) => void;
}

/** How long threads have to close their sockets and to end, in milliseconds. */
const closeTimeoutMs = 1000;
/** Gaps between ticks count for at most this long: after a suspension threads get the time to show that they live. */
const tickGapMaxMs = 200;

/**
 * The threads that hold sessions and their sockets, each for as long as the server runs. Not piscina's: it replaces threads that die and may end those that
 * idle, and neither must happen to one with sockets.
 */
export class IoThreads {
  readonly #threads: readonly IoThread[];
  readonly #onSilence: IoThreadsOptions['onSilence'];
  readonly #silentMaxMs: number;
  #exitHook: (() => void) | undefined;
  #clockMs = 0;

  constructor(options: IoThreadsOptions) {
    const { ioThreads, partitionHeartbeatTimeoutMs } = options.config;
    this.#onSilence = options.onSilence;
    this.#silentMaxMs = partitionHeartbeatTimeoutMs;
    this.#threads = Array.from({ length: ioThreads }, (_, i) => new IoThread(i + 1, options));
  }

  /** What each thread tells of itself, by name. */
  get gauges(): readonly (readonly [string, ThreadGauges])[] {
    return this.#threads.map(({ unit, gauges }) => [threadName(unit.number), gauges]);
  }

  get units(): readonly RemoteUnit[] {
    return this.#threads.map(({ unit }) => unit);
  }

  /** Resolves when all threads can take connections, to what connections are handed to them by. */
  async start(): Promise<unknown[]> {
    const hook = (): void => {
      this.#closeNow();
    };
    this.#exitHook = hook;
    if (this.#threads.length > 0) process.once('exit', hook);
    return Promise.all(this.#threads.map((thread) => thread.ready));
  }

  /** Closes the sockets of all threads. They must not be handed connections any more. */
  async close(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => within(thread.close(), closeTimeoutMs)));
  }

  /** Ends the threads; their sockets are closed. */
  async end(): Promise<void> {
    if (this.#exitHook !== undefined) process.off('exit', this.#exitHook);
    await Promise.all(this.#threads.map((thread) => within(thread.end(), closeTimeoutMs)));
  }

  tick(nowMs: number): void {
    const elapsedMs = Math.min(nowMs - this.#clockMs, tickGapMaxMs);
    this.#clockMs = nowMs;
    for (const thread of this.#threads) {
      const wasSilent = thread.silentMs >= this.#silentMaxMs;
      thread.tick(elapsedMs);
      const isSilent = thread.silentMs >= this.#silentMaxMs;
      if (isSilent !== wasSilent) this.#onSilence(thread.unit.number, thread.silentMs);
    }
  }

  /** The process is about to end, whatever the reason: no turn will come in which to wait. */
  #closeNow(): void {
    for (const thread of this.#threads) thread.closeNow();
    for (const thread of this.#threads) thread.waitUntilClosed(closeTimeoutMs);
  }
}

class IoThread {
  readonly unit: RemoteUnit;
  readonly gauges: ThreadGauges = new ThreadGauges();
  /** Resolves to what connections are handed to it by. */
  readonly ready: Promise<unknown>;
  readonly #worker: Worker;
  readonly #unitPort: MessagePort;
  readonly #closed: Promise<void>;
  readonly #ended: Promise<void>;
  readonly #closedFlag: Int32Array = new Int32Array(new SharedArrayBuffer(4));
  readonly #pulse: Int32Array = new Int32Array(new SharedArrayBuffer(4));
  #lastPulse = -1;
  #isEnding = false;
  silentMs = 0;

  constructor(
    number: number,
    {
      entry,
      config,
      table,
      lastRequest,
      sessionCounts,
      arrivals,
      warmUp,
      descriptors,
      bornMicros,
      registry,
      isVerbose,
      ...events
    }: IoThreadsOptions,
  ) {
    const { port1, port2 } = new MessageChannel();
    this.#unitPort = port1;
    // What it transfers are MessagePorts indeed.
    const unitPort = port1 as object as ConstructorParameters<typeof RemoteUnit>[1];
    this.unit = new RemoteUnit(number, unitPort, events);
    this.#worker = new Worker(entry, {
      name: threadName(number),
      // A process that was given a text to run hands that on, too, and no thread would start.
      ...(process.execArgv.some((argument) => argument.startsWith('--input-type')) ? { execArgv: [] } : {}),
      transferList: [port2],
      workerData: {
        number,
        config,
        table: table.memory,
        lastRequest,
        sessionCounts,
        arrivals,
        warmUp,
        descriptors,
        bornMicros,
        registry,
        isVerbose,
        unit: port2,
        closed: this.#closedFlag.buffer as SharedArrayBuffer,
        pulse: this.#pulse.buffer as SharedArrayBuffer,
        gauges: this.gauges.memory,
      } satisfies IoThreadStart,
    });
    const fail = (error: Error): void => {
      if (!this.#isEnding) events.onFailure(error);
    };
    this.#ended = new Promise((resolve) => {
      this.#worker.once('exit', () => {
        this.#unitPort.close();
        resolve();
        fail(new Error(`I/O thread ${number} ended`));
      });
    });
    this.#closed = new Promise((resolve) => {
      this.#worker.on('message', (message: FromIoThread) => {
        if (message.kind === 'closed') resolve();
      });
    });
    this.ready = new Promise<unknown>((resolve, reject) => {
      this.#worker.on('error', (error) => {
        reject(error);
        fail(error);
      });
      this.#worker.on('message', (message: FromIoThread) => {
        switch (message.kind) {
          case 'ready':
            resolve(message.taker);
            return;
          case 'closed':
            return;
          case 'http':
            this.#answer(message.number, events.onHttp(message.call), fail);
            return;
          case 'failed': {
            const error = new Error(`I/O thread ${number} failed: ${message.message}`);
            error.stack = message.stack;
            reject(error);
            fail(error);
            return;
          }
          default:
            message satisfies never;
        }
      });
    });
    // Whoever waits for it hears; so does onFailure.
    this.ready.catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#tell({ kind: 'close' });
    await Promise.race([this.#closed, this.#ended]);
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    this.#tell({ kind: 'end' });
    await this.#ended;
  }

  closeNow(): void {
    this.#isEnding = true;
    this.#tell({ kind: 'close' });
  }

  waitUntilClosed(timeoutMs: number): void {
    Atomics.wait(this.#closedFlag, 0, 0, timeoutMs);
  }

  tick(elapsedMs: number): void {
    const pulse = Atomics.load(this.#pulse, 0);
    this.silentMs = pulse === this.#lastPulse ? this.silentMs + elapsedMs : 0;
    this.#lastPulse = pulse;
  }

  #answer(number: number, answered: Promise<HttpAnswer>, fail: (error: Error) => void): void {
    answered.then(
      (answer) => {
        this.#tell({ kind: 'httpAnswer', number, answer });
      },
      (error: unknown) => {
        fail(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  #tell(message: ToIoThread): void {
    this.#worker.postMessage(message);
  }
}

function threadName(number: number): string {
  return `io-${number}`;
}

async function within(event: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([event, over]);
  clearTimeout(timer);
}
