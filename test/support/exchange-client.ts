import { WebSocket } from 'ws';

/** What never comes ends a test by this, with what came instead. */
const frameTimeoutMs = 30_000;

/** A client of the plain `ws` package: frames go out as they are given, and come back one by one. */
export class ExchangeClient {
  readonly socket: WebSocket;
  readonly #frames: string[] = [];
  #closeCode: number | undefined;
  #wake: () => void = () => undefined;

  constructor(url: string) {
    this.socket = new WebSocket(url);
    this.socket.on('message', (bytes: Buffer) => {
      this.#frames.push(bytes.toString());
      this.#wake();
    });
    this.socket.on('close', (code) => {
      this.#closeCode = code;
      this.#wake();
    });
  }

  opened(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.socket.once('open', resolve);
      this.socket.once('error', reject);
    });
  }

  async nextFrame(): Promise<string> {
    while (this.#frames.length === 0) {
      if (this.#closeCode !== undefined) return `closed ${this.#closeCode}`;
      await this.#woken();
    }
    return this.#frames.shift()!;
  }

  /** Takes the first frame that fits out of those that have come or will come, in whatever order they do. */
  async take(fits: (frame: string) => boolean): Promise<void> {
    for (;;) {
      const place = this.#frames.findIndex(fits);
      if (place >= 0) {
        this.#frames.splice(place, 1);
        return;
      }
      if (this.#closeCode !== undefined) throw new Error(`closed with ${this.#closeCode}; ${this.#describeUnread()}`);
      await this.#woken();
    }
  }

  /** The close code, or a frame that came before and that nobody expected. */
  async closed(): Promise<number | string> {
    while (this.#closeCode === undefined) await this.#woken();
    return this.#frames.shift() ?? this.#closeCode;
  }

  get unread(): readonly string[] {
    return this.#frames;
  }

  #describeUnread(): string {
    return `what came and was not expected: ${this.#frames.join('\n')}`;
  }

  #woken(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`nothing more comes; ${this.#describeUnread()}`));
      }, frameTimeoutMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
