import { isAnswer, readAnswer } from './push-reader.ts';
import { EntryError, SessionSocket } from './session-socket.ts';
import type { Endpoint, SocketListener } from './session-socket.ts';

/** How often a server may refuse one session before the run fails. */
const attemptsMax = 240;
const retryAfterMs = 250;

export interface SessionListener {
  /** A result, or an error that is not `busy`. */
  onAnswer(session: LoadSession, id: number, bytes: Buffer, start: number, end: number): void;
  /** The server had too much to do with this request; it may be sent again. */
  onBusy(session: LoadSession, id: number, retryAfterMs: number): void;
  onPush(session: LoadSession, bytes: Buffer, start: number, end: number): void;
  onLost(session: LoadSession, code: number | undefined): void;
  onRefused(): void;
  onError(error: Error): void;
}

/** One session of the load; over its life it may have several connections, one after the other. */
export class LoadSession implements SocketListener {
  /** Its number among those of its kind in this process. */
  readonly local: number;
  /** And among those of all processes. */
  readonly index: number;
  isStalled = false;
  /** It has not read for a time: the server may close it, and what it sent before comes late. */
  hasStalled = false;
  isLost = false;
  closeCode: number | undefined;
  /** By which the session can be taken over. */
  secret: string | undefined;
  readonly #listener: SessionListener;
  #socket: SessionSocket | undefined;

  constructor(local: number, index: number, listener: SessionListener) {
    this.local = local;
    this.index = index;
    this.#listener = listener;
  }

  /** Connects, again and again if the server refuses: a server under a storm may. */
  async open(endpoint: Endpoint): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const socket = new SessionSocket(endpoint, this);
      try {
        await socket.opened;
        this.#socket = socket;
        return;
      } catch (error) {
        if (!(error instanceof EntryError) || attempt === attemptsMax) throw error;
        this.#listener.onRefused();
        const waitMs = error.retryAfterMs ?? retryAfterMs;
        await new Promise((resolve) => {
          setTimeout(resolve, waitMs * (0.5 + Math.random()));
        });
      }
    }
  }

  get isOpen(): boolean {
    return this.#socket !== undefined;
  }

  send(frame: Buffer): void {
    this.#socket?.send(frame);
  }

  stall(): void {
    this.isStalled = true;
    this.hasStalled = true;
    this.#socket?.stall();
  }

  resume(): void {
    this.isStalled = false;
    this.#socket?.resume();
  }

  break(): void {
    this.#socket?.break();
    this.#socket = undefined;
  }

  async close(): Promise<void> {
    const socket = this.#socket;
    this.#socket = undefined;
    await socket?.close();
  }

  onText(bytes: Buffer, start: number, end: number): void {
    try {
      if (!isAnswer(bytes, start)) this.#listener.onPush(this, bytes, start, end);
      else this.#handleAnswer(bytes, start, end);
    } catch (error) {
      this.#listener.onError(error as Error);
    }
  }

  onLost(code: number | undefined): void {
    this.#socket = undefined;
    this.isLost = true;
    this.closeCode = code;
    this.#listener.onLost(this, code);
  }

  #handleAnswer(bytes: Buffer, start: number, end: number): void {
    const { id, isResult } = readAnswer(bytes, start);
    if (isResult) {
      this.#listener.onAnswer(this, id, bytes, start, end);
      return;
    }
    const text = bytes.toString('utf8', start, end);
    const { error } = JSON.parse(text) as { error?: { data?: { code?: string; retryAfterMs?: number } } };
    if (error?.data?.code !== 'busy') throw new Error(`the server answered ${text.slice(0, 300)}`);
    this.#listener.onBusy(this, id, error.data.retryAfterMs ?? retryAfterMs);
  }
}

/** How many connect at a time: fewer than the backlog of a listening socket. */
const connectsAtOnce = 200;

export async function openSessions(sessions: readonly LoadSession[], endpoint: Endpoint): Promise<void> {
  let next = 0;
  const openOn = async (): Promise<void> => {
    while (next < sessions.length) {
      const session = sessions[next]!;
      next += 1;
      await session.open(endpoint);
    }
  };
  await Promise.all(Array.from({ length: connectsAtOnce }, openOn));
}
