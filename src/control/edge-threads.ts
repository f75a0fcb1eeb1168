import type { Logger } from 'pino';

import { carryOutCall } from '../runtime/thread-calls.ts';
import { ThreadGauges } from '../runtime/thread-gauges.ts';
import { HostThread, TickClock, within } from './host-thread.ts';
import type { HostThreadOptions } from './host-thread.ts';
import type { HostRecovery } from './host-recovery.ts';
import type { HostUnits } from './host-units.ts';
import type { LeaseLedger } from './lease-ledger.ts';
import type { MainCalls } from './main-calls.ts';
import { RemoteHost } from './remote-host.ts';
import type { HostEvents } from './remote-host.ts';
import type { EdgeThreadStart, FromEdgeThread, HostThreadStart, ToEdgeThread } from './thread-messages.ts';

/** Where a thread listens. */
export interface EdgeAddress {
  readonly host: string;
  readonly port: number;
}

export interface EdgeThreadsOptions extends HostThreadOptions, HostEvents {
  /** The file that a thread runs. */
  readonly entry: URL;
  /** Of the first of them; the others follow. */
  readonly firstNumber: number;
  readonly ledger: LeaseLedger;
  readonly calls: MainCalls;
  readonly log: Logger;
  /** A thread has died. */
  readonly onDeath: () => void;
  readonly lendDescriptors: (start: () => Promise<void>) => Promise<void>;
}

/** What a thread that has died is brought back with; it is not there yet when the threads are made. */
export interface EdgeSurroundings {
  readonly units: HostUnits;
  readonly recovery: HostRecovery;
}

/** How long threads have to close their connections and to end, in milliseconds. */
const closeTimeoutMs = 1000;
/** How long a thread may take to be ready, in milliseconds. */
const startTimeoutMs = 30_000;
/** The longest wait before a restart, in milliseconds; it doubles from the first with each death that follows soon. */
const backoffMaxMs = 10_000;
/** A thread that has lived for so long, in milliseconds, has outlived what made earlier ones die. */
const settledMs = 60_000;

/**
 * The threads that serve HTTP, each a session host whose leases live there. They have Node's sockets only, so one may die without the process: it is restarted,
 * and gets back from the partitions what they hold for its leases (RE4).
 */
export class EdgeThreads {
  readonly #threads: readonly EdgeThread[];
  readonly #clock: TickClock = new TickClock();
  readonly #heartbeatTimeoutMs: number;

  constructor(options: EdgeThreadsOptions) {
    const { edgeThreads, partitionHeartbeatTimeoutMs } = options.config;
    this.#heartbeatTimeoutMs = partitionHeartbeatTimeoutMs;
    const isShared = edgeThreads > 1;
    this.#threads = Array.from(
      { length: edgeThreads },
      (_, i) => new EdgeThread(options.firstNumber + i, `edge-${i + 1}`, isShared, options),
    );
  }

  get gauges(): readonly (readonly [string, ThreadGauges])[] {
    return this.#threads.map(({ name, gauges }) => [name, gauges]);
  }

  get hosts(): readonly RemoteHost[] {
    return this.#threads.map(({ host }) => host);
  }

  /** Resolves when all threads are ready. */
  async start(surroundings: EdgeSurroundings): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.start(surroundings)));
  }

  /** Resolves to where they listen; rejects if the port is in use, or the address is not this machine's. */
  async listen(address: EdgeAddress): Promise<EdgeAddress | undefined> {
    const [first, ...others] = this.#threads;
    if (first === undefined) return undefined;
    // The first says whether the port is free, or which one it is.
    const bound = await first.listen(address);
    await Promise.all(others.map((thread) => thread.listen(bound)));
    return bound;
  }

  stopListening(): void {
    for (const thread of this.#threads) thread.stopListening();
  }

  /** Closes all connections, and ends the threads. */
  async end(): Promise<void> {
    await Promise.all(this.#threads.map((thread) => thread.end()));
  }

  tick(nowMs: number): void {
    const elapsedMs = this.#clock.advance(nowMs);
    for (const thread of this.#threads) thread.tick(elapsedMs, this.#heartbeatTimeoutMs);
  }

  /** For tests: makes a thread fail. */
  kill(index: number): void {
    this.#threads[index]?.kill('asked to');
  }
}

class EdgeThread {
  readonly name: string;
  readonly host: RemoteHost;
  readonly gauges: ThreadGauges = new ThreadGauges();
  readonly #options: EdgeThreadsOptions;
  readonly #isShared: boolean;
  #surroundings: EdgeSurroundings | undefined;
  #life: HostThread | undefined;
  /** What waits for the present life to listen. */
  #listening: ((outcome: number | Error) => void) | undefined;
  /** Where it is to listen, in this life and the next. */
  #address: EdgeAddress | undefined;
  #isEnding = false;
  #deaths = 0;
  #livedMs = 0;

  constructor(number: number, name: string, isShared: boolean, options: EdgeThreadsOptions) {
    this.name = name;
    this.#isShared = isShared;
    this.#options = options;
    this.host = new RemoteHost(number, options);
  }

  async start(surroundings: EdgeSurroundings): Promise<void> {
    this.#surroundings = surroundings;
    const { units } = surroundings;
    const { life, ready } = this.#begin(units);
    this.host.attach(life.port);
    await ready;
  }

  async listen(address: EdgeAddress): Promise<EdgeAddress> {
    const { host, port } = address;
    const outcome = await new Promise<number | Error>((resolve) => {
      this.#listening = resolve;
      this.#tell({ kind: 'listen', host, port, isShared: this.#isShared });
    });
    if (typeof outcome !== 'number') throw outcome;
    this.#address = { host, port: outcome };
    return this.#address;
  }

  stopListening(): void {
    this.#address = undefined;
    this.#tell({ kind: 'stop listening' });
  }

  async end(): Promise<void> {
    this.#isEnding = true;
    const life = this.#life;
    if (life === undefined) return;
    this.#tell({ kind: 'end' });
    await within(life.ended, closeTimeoutMs);
    await life.worker.terminate();
  }

  tick(elapsedMs: number, heartbeatTimeoutMs: number): void {
    const life = this.#life;
    if (life === undefined) return;
    this.#livedMs += elapsedMs;
    if (this.#livedMs >= settledMs) this.#deaths = 0;
    life.tick(elapsedMs);
    if (life.silentMs < heartbeatTimeoutMs) return;
    life.silentMs = 0;
    this.kill(`it showed no sign of life for ${heartbeatTimeoutMs} ms`);
  }

  kill(reason: string): void {
    this.#options.log.error({ thread: this.name }, `${this.name} is ended: ${reason}`);
    void this.#life?.worker.terminate();
  }

  /** Begins a life. `ready` rejects if it ends before it is. */
  #begin(units: HostUnits): { readonly life: HostThread; readonly ready: Promise<void> } {
    const { entry, ledger, calls } = this.#options;
    const { number } = this.host;
    const more: Omit<EdgeThreadStart, keyof HostThreadStart> = { sessionsBefore: ledger.sessionsOf(number) };
    const identity = { number, name: this.name, entry, table: units.table, gauges: this.gauges };
    const life = new HostThread(identity, this.#options, more);
    const { worker } = life;
    this.#life = life;
    this.#livedMs = 0;
    let cause = new Error(`${this.name} ended`);
    const ready = new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.kill(`it was not ready within ${startTimeoutMs} ms`);
      }, startTimeoutMs);
      worker.on('error', (error: Error) => {
        cause = error;
      });
      worker.once('exit', () => {
        clearTimeout(timer);
        reject(cause);
      });
      worker.on('message', (message: FromEdgeThread) => {
        switch (message.kind) {
          case 'ready':
            clearTimeout(timer);
            resolve();
            return;
          case 'listening':
            this.#listening?.(message.port);
            return;
          case 'cannot listen':
            this.#listening?.(new Error(message.message));
            return;
          case 'call':
            carryOutCall(calls, message, (result) => {
              worker.postMessage({ kind: 'result', call: message.call, result } satisfies ToEdgeThread);
            });
            return;
          default:
            message satisfies never;
        }
      });
    });
    // Whoever waits for it hears.
    ready.catch(() => undefined);
    void life.ended.then(() => this.#onEnd(life, cause));
    return { life, ready };
  }

  async #onEnd(life: HostThread, cause: Error): Promise<void> {
    if (this.#life !== life) return;
    this.#life = undefined;
    this.host.detach();
    this.#listening?.(cause);
    if (this.#isEnding || this.#surroundings === undefined) return;
    const { log, onDeath } = this.#options;
    this.#deaths += 1;
    onDeath();
    log.error({ thread: this.name, err: cause }, `${this.name} died: ${cause.message}`);
    await this.#revive(this.#surroundings);
  }

  /** Brings the thread back. One that dies on the way begins this anew by its own end. */
  async #revive({ units, recovery }: EdgeSurroundings): Promise<void> {
    const { config, log, ledger, lendDescriptors } = this.#options;
    const { number } = this.host;
    recovery.forget(number);
    await recovery.wait(Math.min(backoffMaxMs, config.partitionRestartBackoffMs * 2 ** (this.#deaths - 1)));
    if (this.#isEnding) return;
    const { life, ready } = this.#begin(units);
    try {
      await lendDescriptors(() => ready);
    } catch {
      return;
    }
    const leases = ledger.leasesOf(number);
    const isBack = await recovery.recover(number, leases, () => {
      if (this.#life === life) this.host.attach(life.port);
      return this.#life === life;
    });
    if (!isBack) {
      // Partitions died while they told what they hold: from the beginning.
      if (this.#life === life && !this.#isEnding) this.kill('it could not be told what it had held');
      return;
    }
    await this.#listenAgain(life);
    log.warn({ thread: this.name, leases: leases.length }, `${this.name} is back`);
  }

  async #listenAgain(life: HostThread): Promise<void> {
    while (this.#address !== undefined && this.#life === life) {
      try {
        await this.listen(this.#address);
        return;
      } catch (error) {
        this.#options.log.error({ thread: this.name, err: error }, `${this.name} cannot listen, and tries again`);
        await this.#surroundings?.recovery.wait(backoffMaxMs / 10);
      }
    }
  }

  #tell(message: ToEdgeThread): void {
    this.#life?.worker.postMessage(message);
  }
}
