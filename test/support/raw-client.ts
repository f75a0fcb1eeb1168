import { WebSocket } from 'ws';
import type { ClientOptions } from 'ws';

/** An error answer, as it came. */
class RawError extends Error {
  readonly code: number;
  readonly data: Readonly<Record<string, unknown>>;

  constructor(code: number, message: string, data: Readonly<Record<string, unknown>>) {
    super(message);
    this.name = 'RawError';
    this.code = code;
    this.data = data;
  }
}

export interface RawNotification {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
}

export interface RawClose {
  readonly code: number;
  readonly reason: string;
}

interface Answer {
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: Error) => void;
}

interface Waiter<T> {
  readonly accepts: (value: T) => boolean;
  readonly resolve: (value: T) => void;
}

export interface RawClientOptions extends ClientOptions {
  readonly protocols?: string[];
}

/**
 * A client made of the plain `ws` package and raw JSON: none of the project's code is on this side. Nothing is handled behind
 * the test's back, save that `ws` answers pings.
 */
export class RawClient {
  readonly socket: WebSocket;
  /** Settles when the connection is over, however it ended; 1006 is a connection cut without a close frame. */
  readonly closed: Promise<RawClose>;
  /** Called for every notification as it comes; {@link nextNotification} still gives it. */
  onNotification: ((method: string, params: RawNotification['params']) => void) | undefined;
  readonly #answers: Map<number, Answer> = new Map();
  readonly #notifications = new Inbox<RawNotification>('notification');
  readonly #frames = new Inbox<string>('frame');
  #nextId = 1;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => {
      socket.once('close', (code, reason) => {
        resolve({ code, reason: reason.toString() });
        for (const { reject } of this.#answers.values()) {
          reject(new Error(`closed with ${code} before the answer`));
        }
        this.#answers.clear();
      });
    });
    // `close` always follows, and says how it ended.
    socket.on('error', () => undefined);
    socket.on('message', (bytes: Buffer) => this.#take(bytes.toString()));
  }

  /** Connects to a full URL (`ws://127.0.0.1:7070/v1/session`). Rejects when the handshake is refused. */
  static open(url: string, options: RawClientOptions = {}): Promise<RawClient> {
    const { protocols, ...rest } = options;
    const socket = new WebSocket(url, protocols ?? [], { perMessageDeflate: false, ...rest });
    const client = new RawClient(socket);
    return new Promise((resolve, reject) => {
      socket.once('open', () => resolve(client));
      socket.once('error', reject);
    });
  }

  /** Sends one request; gives its result, or throws a {@link RawError}. */
  request<T = Record<string, unknown>>(method: string, params?: unknown): Promise<T> {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise<T>((resolve, reject) => {
      this.#answers.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.socket.send(JSON.stringify({ jsonrpc: '2.0', id, method, ...(params === undefined ? {} : { params }) }));
    });
  }

  /** Sends a request without an id: it is not answered. */
  notify(method: string, params?: unknown): void {
    this.socket.send(JSON.stringify({ jsonrpc: '2.0', method, ...(params === undefined ? {} : { params }) }));
  }

  /** Sends a frame as it is. */
  send(frame: string | Uint8Array, options: { binary?: boolean } = {}): void {
    this.socket.send(frame, { binary: options.binary ?? typeof frame !== 'string' });
  }

  /** The next notification that was not yet taken and that the predicate accepts. */
  nextNotification(
    accepts: (method: string, params: RawNotification['params']) => boolean = () => true,
    timeoutMs = 5000,
  ): Promise<RawNotification> {
    return this.#notifications.next(({ method, params }) => accepts(method, params), timeoutMs);
  }

  /** Notifications that came and were not taken. */
  get pendingNotifications(): readonly RawNotification[] {
    return this.#notifications.pending;
  }

  /** The next frame that is neither a notification nor the answer to a {@link request}: what raw sends are answered with. */
  nextFrame(timeoutMs = 5000): Promise<string> {
    return this.#frames.next(() => true, timeoutMs);
  }

  /** Leaves cleanly; {@link closed} says when it is done. */
  close(code = 1000): void {
    this.socket.close(code);
  }

  /** Drops the connection without a close frame. */
  terminate(): void {
    this.socket.terminate();
  }

  #take(frame: string): void {
    const message: unknown = JSON.parse(frame);
    if (isRecord(message)) {
      if (typeof message.method === 'string' && !('id' in message)) {
        const params = message.params as RawNotification['params'];
        this.onNotification?.(message.method, params);
        this.#notifications.put({ method: message.method, params });
        return;
      }
      const answer = typeof message.id === 'number' ? this.#answers.get(message.id) : undefined;
      if (answer !== undefined) {
        this.#answers.delete(message.id as number);
        settle(answer, message);
        return;
      }
    }
    this.#frames.put(frame);
  }
}

function settle(answer: Answer, message: Readonly<Record<string, unknown>>): void {
  if ('result' in message) {
    answer.resolve(message.result);
    return;
  }
  const error = message.error as { code: number; message: string; data: Record<string, unknown> };
  answer.reject(new RawError(error.code, error.message, error.data));
}

/** What came, until somebody asks for it. */
class Inbox<T> {
  readonly #what: string;
  #pending: T[] = [];
  #waiters: Waiter<T>[] = [];

  constructor(what: string) {
    this.#what = what;
  }

  get pending(): readonly T[] {
    return this.#pending;
  }

  put(value: T): void {
    const waiter = this.#waiters.find(({ accepts }) => accepts(value));
    if (waiter === undefined) {
      this.#pending.push(value);
      return;
    }
    this.#waiters = this.#waiters.filter((other) => other !== waiter);
    waiter.resolve(value);
  }

  next(accepts: (value: T) => boolean, timeoutMs: number): Promise<T> {
    const found = this.#pending.findIndex(accepts);
    if (found >= 0) return Promise.resolve(this.#pending.splice(found, 1)[0] as T);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters = this.#waiters.filter((other) => other !== waiter);
        reject(new Error(`no ${this.#what} came within ${timeoutMs} ms; not taken: ${JSON.stringify(this.#pending)}`));
      }, timeoutMs);
      const waiter: Waiter<T> = {
        accepts,
        resolve: (value) => {
          clearTimeout(timer);
          resolve(value);
        },
      };
      this.#waiters.push(waiter);
    });
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
