import { createDeferred } from '../runtime/deferred.ts';
import { carryOutCall } from '../runtime/thread-calls.ts';
import type { CallMessage } from '../runtime/thread-calls.ts';
import type { ThreadGauges } from '../runtime/thread-gauges.ts';
import { within } from '../runtime/timing.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import type { TlsMaterial } from '../tls/tls-material.ts';
import { HostThread } from './host-thread.ts';
import type { HostThreadOptions } from './host-thread.ts';
import type { MainCalls } from './main-calls.ts';
import type { RemoteHost } from './remote-host.ts';
import type { FromIoThread, HostThreadStart, IoThreadStart, ToIoThread } from './thread-messages.ts';

/** An I/O thread, as it is known before it runs. */
export interface IoThreadIdentity {
  /** By which the main thread knows its session host. */
  readonly host: RemoteHost;
  readonly name: string;
  readonly gauges: ThreadGauges;
}

export interface IoThreadsOptions extends HostThreadOptions {
  readonly threads: readonly IoThreadIdentity[];
  /** The file that a thread runs. */
  readonly entry: URL;
  readonly table: SlotTable;
  readonly sessionCounts: SharedArrayBuffer;
  readonly admissionRate: SharedArrayBuffer;
  readonly descriptors: SharedArrayBuffer;
  readonly httpPort: SharedArrayBuffer;
  /** What their connections are encrypted with at first; undefined: they are in the clear. */
  readonly tls: TlsMaterial | undefined;
  readonly calls: MainCalls;
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
  /** Resolves when a thread has failed: to an exception in it, or to its unexpected end. */
  readonly failed: Promise<Error>;
  readonly #threads: readonly IoThread[];
  readonly #onSilence: IoThreadsOptions['onSilence'];
  readonly #silentMaxMs: number;
  #exitHook: (() => void) | undefined;
  #lastTickMs = 0;

  constructor(options: IoThreadsOptions) {
    this.#onSilence = options.onSilence;
    this.#silentMaxMs = options.config.partitionHeartbeatTimeoutMs;
    const failure = createDeferred<Error>();
    this.failed = failure.promise;
    this.#threads = options.threads.map((identity) => new IoThread(identity, options, failure.resolve));
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

  /** Connections from now on are encrypted with this. */
  replaceTls(material: TlsMaterial): void {
    for (const thread of this.#threads) thread.replaceTls(material);
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
    const elapsedMs = Math.min(nowMs - this.#lastTickMs, tickGapMaxMs);
    this.#lastTickMs = nowMs;
    for (const thread of this.#threads) {
      const wasSilent = thread.silentMs >= this.#silentMaxMs;
      thread.tick(elapsedMs);
      const isSilent = thread.silentMs >= this.#silentMaxMs;
      if (isSilent !== wasSilent) this.#onSilence(thread.number, thread.silentMs);
    }
  }

  /** The process is about to end, whatever the reason: no turn will come in which to wait. */
  #closeNow(): void {
    for (const thread of this.#threads) thread.closeNow();
    for (const thread of this.#threads) thread.waitUntilClosed(closeTimeoutMs);
  }
}

class IoThread {
  readonly number: number;
  /** Resolves to what connections are handed to it by. */
  readonly ready: Promise<unknown>;
  readonly #thread: HostThread;
  readonly #calls: MainCalls;
  readonly #closed: Promise<void>;
  readonly #closedFlag: Int32Array = new Int32Array(new SharedArrayBuffer(4));
  #isEnding = false;
  #lastPulse = -1;
  /** How long it has shown no sign of life, in milliseconds. */
  silentMs = 0;

  constructor({ host, name, gauges }: IoThreadIdentity, options: IoThreadsOptions, onFailure: (error: Error) => void) {
    const { number } = host;
    const { entry, table, sessionCounts, admissionRate, descriptors, httpPort, tls, calls } = options;
    this.number = number;
    this.#calls = calls;
    const closed = this.#closedFlag.buffer as SharedArrayBuffer;
    const memory = { sessionCounts, admissionRate, descriptors, httpPort };
    const more: Omit<IoThreadStart, keyof HostThreadStart> = { ...memory, tls, closed };
    this.#thread = new HostThread({ number, name, entry, table, gauges }, options, more);
    host.attach(this.#thread.port);
    const { worker } = this.#thread;
    const fail = (error: Error): void => {
      if (!this.#isEnding) onFailure(error);
    };
    worker.once('exit', () => {
      fail(new Error(`I/O thread ${number} ended`));
    });
    this.#closed = new Promise((resolve) => {
      worker.on('message', (message: FromIoThread) => {
        if (message.kind === 'closed') resolve();
      });
    });
    this.ready = new Promise<unknown>((resolve, reject) => {
      worker.on('error', (error: Error) => {
        reject(error);
        fail(error);
      });
      worker.on('message', (message: FromIoThread) => {
        switch (message.kind) {
          case 'ready':
            resolve(message.taker);
            return;
          case 'closed':
            return;
          case 'call':
            this.#carryOut(message);
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

  replaceTls(material: TlsMaterial): void {
    this.#tell({ kind: 'tls', material });
  }

  async close(): Promise<void> {
    this.#tell({ kind: 'close' });
    await Promise.race([this.#closed, this.#thread.ended]);
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    this.#tell({ kind: 'end' });
    await this.#thread.ended;
  }

  closeNow(): void {
    this.#isEnding = true;
    this.#tell({ kind: 'close' });
  }

  waitUntilClosed(timeoutMs: number): void {
    Atomics.wait(this.#closedFlag, 0, 0, timeoutMs);
  }

  tick(elapsedMs: number): void {
    const pulse = this.#thread.readPulse();
    this.silentMs = pulse === this.#lastPulse ? this.silentMs + elapsedMs : 0;
    this.#lastPulse = pulse;
  }

  #carryOut(message: CallMessage): void {
    carryOutCall(this.#calls, message, (result) => {
      this.#tell({ kind: 'result', call: message.call, result });
    });
  }

  #tell(message: ToIoThread): void {
    this.#thread.worker.postMessage(message);
  }
}
