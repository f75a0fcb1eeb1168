import { MessageChannel } from 'node:worker_threads';
import type { MessagePort } from 'node:worker_threads';

import { Piscina } from 'piscina';

import type { StoreConnection } from '../durable/thread-store.ts';
import { ThreadGauges } from '../runtime/thread-gauges.ts';
import { partitionsMax } from '../slots/slot-table.ts';
import type { SlotTable } from '../slots/slot-table.ts';
import { quotaBytes } from '../store/namespace-quotas.ts';
import type { JournalReport, JournalStart } from './journal-start.ts';
import type { Control, ControlReport, Fault, PartitionEnd, PartitionLimits, PartitionStart } from './messages.ts';
import type { Runner } from './runner.ts';

export interface PartitionRunnerOptions {
  readonly partition: number;
  readonly limits: PartitionLimits;
  readonly startTimeoutMs: number;
  /** The thread's heap, in MiB; 0: Node's own default. It does not cover ArrayBuffers. */
  readonly heapMaxMb: number;
  /** No version of the registry's lives before has reached it. */
  readonly readVersionFloor: () => number;
  /** Connects a life of the partition to the store: `hand` is given a port, and another whenever the store's thread has been started again. */
  readonly connectStore: (hand: (port: MessagePort) => void) => StoreConnection;
  /** See `SessionOrigins`. */
  readonly origins: SharedArrayBuffer;
  /** See `NamespaceQuotas`. */
  readonly quotas: SharedArrayBuffer;
  /** With what the next life keeps its journal; undefined: it keeps none. */
  readonly readJournal: () => JournalStart | undefined;
  readonly onJournal: (partition: number, report: JournalReport) => void;
  /** The thread ended without being told to. */
  readonly onDeath: (partition: number, cause: Error) => void;
}

/**
 * Runs one partition on a thread of its own, a piscina pool of one: when the thread dies its pool goes with it, and a new life begins with
 * a new pool. The only place that knows piscina.
 */
export class PartitionRunner implements Runner {
  readonly #options: PartitionRunnerOptions;
  /** The thread's gauges; counts continue from one life to the next. */
  readonly gauges: ThreadGauges = new ThreadGauges();
  #life: Life | undefined;

  constructor(options: PartitionRunnerOptions) {
    this.#options = options;
  }

  /** Starts the thread; resolves when it is ready, rejects if it is not within `startTimeoutMs`. */
  async start(table: SlotTable, versionFloor: number): Promise<void> {
    const floor = Math.max(versionFloor, this.#options.readVersionFloor());
    const life = new Life(
      this.#options,
      this.gauges,
      table,
      { versionFloor: floor, isRebuilt: versionFloor > 0 },
      (cause) => {
        if (this.#life !== life) return;
        this.#life = undefined;
        this.#options.onDeath(this.#options.partition, cause);
      },
    );
    this.#life = life;
    try {
      await life.ready;
      life.connectStore(this.#options.connectStore);
    } catch (error) {
      this.#life = undefined;
      await life.end();
      throw error;
    }
  }

  /** Gives a session host its own mailbox; returns the host's end. */
  connect(host: number): MessagePort {
    const { port1, port2 } = new MessageChannel();
    this.#require().control.postMessage({ kind: 'attach', host, port: port2 } satisfies Control, [port2]);
    return port1;
  }

  /** A session host's thread has died. A partition that does not run knows nothing of it. */
  detach(host: number): void {
    this.#life?.control.postMessage({ kind: 'detach', host } satisfies Control);
  }

  /** Rises while the thread lives; undefined while there is none. */
  readPulse(): number | undefined {
    return this.#life?.readPulse();
  }

  /** Ends a thread that no longer answers; its death is reported as any other. */
  kill(reason: string): void {
    this.#life?.kill(reason);
  }

  /** For tests. */
  inflict(fault: Fault): void {
    this.#life?.control.postMessage({ kind: 'fault', fault } satisfies Control);
  }

  /** Lets the partition end by itself, then the thread. */
  async stop(): Promise<void> {
    const life = this.#life;
    this.#life = undefined;
    const end = await life?.stop();
    const { partition, onJournal } = this.#options;
    onJournal(partition, { kind: 'ended', isWhole: end?.isJournalWhole === true });
  }

  #require(): Life {
    if (this.#life === undefined) throw new Error(`partition ${this.#options.partition} is not running`);
    return this.#life;
  }
}

/** How long a thread that was told to stop has to do so, in milliseconds: it also writes what it still has to write. */
const stopTimeoutMs = 2000;
/** Half of Node's: instances live outside the heap, so little survives a collection, and the longest pause gets shorter. */
const maxYoungGenerationSizeMb = 24;

/** One thread, from its start to its end. */
class Life {
  readonly control: MessagePort;
  readonly ready: Promise<void>;
  readonly #pool: Piscina<PartitionStart, PartitionEnd>;
  readonly #abort = new AbortController();
  readonly #pulse: Int32Array = new Int32Array(new SharedArrayBuffer(4));
  /** Undefined: it did not end by itself. */
  readonly #over: Promise<PartitionEnd | undefined>;
  #killed: string | undefined;
  #store: StoreConnection | undefined;
  #isOver = false;

  constructor(
    options: PartitionRunnerOptions,
    { memory: gauges }: ThreadGauges,
    table: SlotTable,
    { versionFloor, isRebuilt }: Pick<PartitionStart, 'versionFloor' | 'isRebuilt'>,
    onEnd: (cause: Error) => void,
  ) {
    const { partition, limits, startTimeoutMs, heapMaxMb, origins, quotas, readJournal, onJournal } = options;
    this.#pool = new Piscina<PartitionStart, PartitionEnd>({
      filename: new URL('partition-thread.js', import.meta.url).href,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      concurrentTasksPerWorker: 1,
      // Piscina tries `require` first, and Node aborts the process when a thread is ended while that loads an ES module; `import` can be interrupted.
      execArgv: [...process.execArgv, '--no-experimental-require-module'],
      // An idle piscina thread would otherwise park in Atomics.wait, where neither timers nor ports run.
      atomics: 'disabled',
      recordTiming: false,
      resourceLimits: {
        maxYoungGenerationSizeMb,
        ...(heapMaxMb === 0 ? {} : { maxOldGenerationSizeMb: heapMaxMb }),
      },
    });
    // A thread that is being ended may still fail in its own way, a full heap for example. Its task is over by then, so piscina says it here; if
    // nobody listened, it would end the process.
    this.#pool.on('error', () => undefined);
    const { port1, port2 } = new MessageChannel();
    this.control = port1;
    const pulse = this.#pulse.buffer as SharedArrayBuffer;
    const start: PartitionStart = {
      partition,
      table: table.memory,
      limits,
      control: port2,
      versionFloor,
      isRebuilt,
      pulse,
      gauges,
      origins,
      quotas,
      journal: readJournal(),
    };
    const task = this.#pool.run(start, { transferList: [port2], signal: this.#abort.signal });
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`partition ${partition} was not ready within ${startTimeoutMs} ms`));
      }, startTimeoutMs);
      const settle = (error?: Error): void => {
        clearTimeout(timer);
        if (error === undefined) resolve();
        else reject(error);
      };
      port1.on('message', (report: ControlReport) => {
        if (report.kind === 'ready') settle();
        else onJournal(partition, report);
        // While a journal is read, that it goes on is enough.
        if (report.kind === 'loading') timer.refresh();
      });
      task.catch((error: unknown) => {
        settle(toError(error));
      });
    });
    this.#over = task.then(
      (end) => {
        this.#disconnectStore();
        onEnd(new Error('the task ended by itself'));
        return end;
      },
      (error: unknown) => {
        this.#close();
        onEnd(this.#killed === undefined ? toError(error) : new Error(this.#killed));
        return undefined;
      },
    );
  }

  /** From then on keys are loaded; whoever asks for some before waits. */
  connectStore(connect: PartitionRunnerOptions['connectStore']): void {
    if (this.#isOver) return;
    this.#store = connect((port) => {
      this.control.postMessage({ kind: 'store', port } satisfies Control, [port]);
    });
  }

  readPulse(): number {
    return Atomics.load(this.#pulse, 0);
  }

  kill(reason: string): void {
    this.#killed = reason;
    this.#abort.abort();
  }

  async stop(): Promise<PartitionEnd | undefined> {
    this.control.postMessage({ kind: 'stop' } satisfies Control);
    const timer = setTimeout(() => {
      this.kill('it did not stop');
    }, stopTimeoutMs);
    const end = await this.#over;
    clearTimeout(timer);
    await this.end();
    return end;
  }

  async end(): Promise<void> {
    this.#disconnectStore();
    this.control.close();
    await this.#pool.destroy();
  }

  #disconnectStore(): void {
    this.#isOver = true;
    this.#store?.close();
  }

  #close(): void {
    this.#disconnectStore();
    this.control.close();
    // A pool whose thread died has already started another; destroying it leaves nothing behind, and its result does not matter.
    void this.#pool.destroy();
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** For `NamespaceQuotas` of all partitions that there may be. */
export function createQuotaMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(quotaBytes(partitionsMax));
}
