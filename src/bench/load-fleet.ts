import type { ChildProcess } from 'node:child_process';

import { endChild, startChild } from './child.ts';
import { InterruptedError, SetupError } from './failures.ts';
import type { Beat, FromLoad, LoadOrders, LoadPlan, OrderName } from './load-orders.ts';

interface Waiting {
  readonly id: number;
  readonly resolve: (result: LoadOrders[OrderName]['result']) => void;
  readonly reject: (error: Error) => void;
}

class LoadProcess {
  readonly #child: ChildProcess;
  #waiting: Waiting | undefined;
  #failure: Error | undefined;
  #orders = 0;

  constructor(cores: string | undefined, onBeat: (beat: Beat) => void) {
    this.#child = startChild('load-process.js', [], cores);
    this.#child.on('message', (message: FromLoad) => {
      if (message.kind === 'beat') onBeat(message.beat);
      else if (message.kind === 'failed') this.#fail(new SetupError(message.message));
      else if (message.id === this.#waiting?.id) this.#take()?.resolve(message.result);
    });
    this.#child.once('exit', (code, signal) =>
      this.#fail(new SetupError(`a load process ended: ${signal ?? `code ${code}`}`)),
    );
    this.#child.once('error', (error) => this.#fail(new SetupError(`a load process did not start: ${error.message}`)));
  }

  give<K extends OrderName>(order: K, params: LoadOrders[K]['params']): Promise<LoadOrders[K]['result']> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      // An order is answered by a result of its own kind.
      this.#orders += 1;
      this.#waiting = { id: this.#orders, resolve, reject };
      this.#child.send({ id: this.#orders, order, params });
    });
  }

  end(): Promise<void> {
    return endChild(this.#child);
  }

  #take(): Waiting | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#take()?.reject(error);
  }
}

/** All load processes of a run; each order goes to all of them, one order at a time. */
export class LoadFleet {
  readonly #processes: readonly LoadProcess[];
  readonly #broken: Promise<never>;

  constructor(
    count: number,
    options: {
      readonly cores: string | undefined;
      readonly onBeat: (part: number, beat: Beat) => void;
      readonly signal: AbortSignal;
      readonly died: Promise<never>;
    },
  ) {
    this.#processes = Array.from(
      { length: count },
      (_, part) => new LoadProcess(options.cores, (beat) => options.onBeat(part, beat)),
    );
    const interrupted = new Promise<never>((_, reject) => {
      const interrupt = (): void => reject(new InterruptedError('interrupted'));
      if (options.signal.aborted) interrupt();
      else options.signal.addEventListener('abort', interrupt, { once: true });
    });
    this.#broken = Promise.race([options.died, interrupted]);
    this.#broken.catch(() => {});
  }

  async prepare(plan: Omit<LoadPlan, 'part' | 'parts'>): Promise<void> {
    const parts = this.#processes.length;
    await this.#unlessBroken(this.#processes.map((process, part) => process.give('prepare', { ...plan, part, parts })));
  }

  /** The results, one of each process. */
  give<K extends OrderName>(order: K, params: LoadOrders[K]['params']): Promise<LoadOrders[K]['result'][]> {
    return this.#unlessBroken(this.#processes.map((process) => process.give(order, params)));
  }

  /** Lets time pass, unless something happens. */
  async idle(ms: number): Promise<void> {
    await this.#unlessBroken([
      new Promise((resolve) => {
        setTimeout(resolve, ms);
      }),
    ]);
  }

  /** Leaves a server that continues running as it was found, also in the middle of something. */
  async closeSessions(timeoutMs: number): Promise<void> {
    const closed = Promise.allSettled(this.#processes.map((process) => process.give('close', null)));
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise((resolve) => {
      timer = setTimeout(resolve, timeoutMs);
    });
    await Promise.race([closed, late]);
    clearTimeout(timer);
  }

  async end(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.end()));
  }

  #unlessBroken<T>(work: readonly Promise<T>[]): Promise<T[]> {
    return Promise.race([Promise.all(work), this.#broken]);
  }
}
