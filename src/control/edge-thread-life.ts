import { carryOutCall } from '../runtime/thread-calls.ts';
import { within } from '../runtime/timing.ts';
import type { TlsMaterial } from '../tls/tls-material.ts';
import type { EdgeAddress, EdgeLife } from './edge-supervisor.ts';
import { HostThread } from './host-thread.ts';
import type { HostThreadIdentity, HostThreadOptions } from './host-thread.ts';
import type { MainCalls } from './main-calls.ts';
import type { HostPort } from './remote-host.ts';
import type { EdgeThreadStart, FromEdgeThread, HostThreadStart, ToEdgeThread } from './thread-messages.ts';

export interface EdgeThreadOptions extends HostThreadOptions {
  readonly sessionsBefore: number;
  readonly calls: MainCalls;
  /** What its connections are encrypted with at first; undefined: they are in the clear. */
  readonly tls: TlsMaterial | undefined;
}

/** How long a thread has to close its connections and to end, in milliseconds. */
const closeTimeoutMs = 1000;
/** How long a thread may take to be ready, in milliseconds. */
const startTimeoutMs = 30_000;

/** The life of a thread that serves HTTP. */
export class EdgeThreadLife implements EdgeLife {
  readonly port: HostPort;
  readonly ready: Promise<void>;
  readonly ended: Promise<Error>;
  readonly #thread: HostThread;
  readonly #calls: MainCalls;
  readonly #isShared: boolean;
  #cause: Error | undefined;
  #whenListening: { resolve: (port: number) => void; reject: (error: Error) => void } | undefined;

  constructor(identity: HostThreadIdentity, options: EdgeThreadOptions) {
    const { sessionsBefore, calls, config, tls } = options;
    this.#calls = calls;
    this.#isShared = config.edgeThreads > 1;
    const more: Omit<EdgeThreadStart, keyof HostThreadStart> = { sessionsBefore, tls };
    this.#thread = new HostThread(identity, options, more);
    this.port = this.#thread.port;
    const { worker } = this.#thread;
    worker.on('error', (error: Error) => {
      this.#cause ??= error;
    });
    const readCause = (): Error => this.#cause ?? new Error('it ended');
    this.ready = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.kill(`it was not ready within ${startTimeoutMs} ms`);
      }, startTimeoutMs);
      const settle = (run: () => void): void => {
        clearTimeout(timer);
        run();
      };
      worker.once('exit', () => {
        settle(() => {
          reject(readCause());
        });
      });
      worker.on('message', (message: FromEdgeThread) => {
        if (message.kind === 'ready') settle(resolve);
        else this.#handle(message);
      });
    });
    this.ended = this.#thread.ended.then(() => {
      this.#whenListening?.reject(readCause());
      return readCause();
    });
  }

  listen({ host, port }: EdgeAddress): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#whenListening = { resolve, reject };
      this.#tell({ kind: 'listen', host, port, isShared: this.#isShared });
    });
  }

  replaceTls(material: TlsMaterial): void {
    this.#tell({ kind: 'tls', material });
  }

  stopListening(): void {
    this.#tell({ kind: 'stop listening' });
  }

  async end(): Promise<void> {
    this.#tell({ kind: 'end' });
    await within(this.#thread.ended, closeTimeoutMs);
    await this.#thread.worker.terminate();
  }

  kill(reason: string): void {
    this.#cause ??= new Error(reason);
    void this.#thread.worker.terminate();
  }

  readPulse(): number {
    return this.#thread.readPulse();
  }

  #handle(message: Exclude<FromEdgeThread, { readonly kind: 'ready' }>): void {
    switch (message.kind) {
      case 'listening':
        this.#whenListening?.resolve(message.port);
        return;
      case 'cannot listen':
        this.#whenListening?.reject(new Error(message.message));
        return;
      case 'call':
        carryOutCall(this.#calls, message, (result) => {
          this.#tell({ kind: 'result', call: message.call, result });
        });
        return;
      default:
        message satisfies never;
    }
  }

  #tell(message: ToEdgeThread): void {
    this.#thread.worker.postMessage(message);
  }
}
