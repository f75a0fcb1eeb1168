import { connect } from 'node:net';
import type { Socket } from 'node:net';

import { buildPongFrame, buildUpgradeRequest, closeFrame, readFrames } from './frames.ts';
import type { FrameHandlers } from './frames.ts';

/** Where a server listens for sessions. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly path: string;
}

/** The server did not let a session in. */
export class EntryError extends Error {
  /** How long the server wants us to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, retryAfterMs?: number) {
    super(message);
    this.name = 'EntryError';
    this.retryAfterMs = retryAfterMs;
  }
}

/** One buffer for the reads of all sessions: each read is parsed before the next begins. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);
const nothing = Buffer.alloc(0);

export interface SocketListener {
  /** A text came, in `bytes` from `start` to `end`; the bytes are gone after the call. */
  onText(bytes: Buffer, start: number, end: number): void;
  /** The connection ended, and not because we wanted it. */
  onLost(code: number | undefined): void;
}

/**
 * A WebSocket session over a bare TCP socket, so that one process carries thousands and spends its time on what comes. Not a general client:
 * no fragments, no compression, no checks of the handshake's key.
 */
export class SessionSocket {
  readonly #socket: Socket;
  readonly #handlers: FrameHandlers;
  readonly #opened: Promise<void>;
  readonly #closed: Promise<void>;
  #state: 'connecting' | 'open' | 'ending' = 'connecting';
  #resolveOpened: () => void = () => {};
  #rejectOpened: (error: Error) => void = () => {};
  #closeCode: number | undefined;
  #unfinished: Buffer = nothing;

  constructor({ host, port, path }: Endpoint, listener: SocketListener) {
    this.#opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      this.#rejectOpened = reject;
    });
    // Who waits for it gets the error; a session that was given up while it connected has nobody who waits.
    this.#opened.catch(() => {});
    this.#socket = connect({
      host,
      port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#read(length);
          return true;
        },
      },
    });
    this.#handlers = {
      onText: (bytes, start, end) => {
        if (this.#state === 'open') listener.onText(bytes, start, end);
      },
      onPing: (payload) => this.#socket.write(buildPongFrame(payload)),
      onClose: (code) => {
        this.#closeCode = code;
        this.#socket.end();
      },
    };
    this.#socket.on('error', (error) => this.#rejectOpened(new EntryError(`cannot connect: ${error.message}`)));
    this.#closed = new Promise((resolve) => {
      this.#socket.once('close', () => {
        this.#rejectOpened(new EntryError('the server closed the connection'));
        if (this.#state === 'open') listener.onLost(this.#closeCode);
        this.#state = 'ending';
        resolve();
      });
    });
    this.#socket.write(buildUpgradeRequest(host, port, path));
  }

  /** Resolves when the server has taken the upgrade. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  send(frame: Buffer): void {
    this.#socket.write(frame);
  }

  /** Stops reading, as a process that hangs does. */
  stall(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Leaves in order: what this session registered goes at once. */
  async close(): Promise<void> {
    if (this.#state !== 'ending') {
      this.#state = 'ending';
      this.#socket.write(closeFrame);
      this.#socket.resume();
    }
    await this.#closed;
  }

  /** Goes without a word, as after a crash. */
  break(): void {
    this.#state = 'ending';
    this.#socket.destroy();
  }

  #read(length: number): void {
    let bytes: Buffer = readBuffer;
    let end = length;
    if (this.#unfinished.length > 0) {
      bytes = Buffer.concat([this.#unfinished, readBuffer.subarray(0, length)]);
      end = bytes.length;
    }
    const taken =
      this.#state === 'connecting' ? this.#handleUpgrade(bytes, end) : readFrames(bytes, end, this.#handlers);
    this.#unfinished = taken < end ? Buffer.from(bytes.subarray(taken, end)) : nothing;
  }

  /** The server says nothing unasked, so nothing follows the answer to the upgrade in the same read. */
  #handleUpgrade(bytes: Buffer, end: number): number {
    const answer = bytes.toString('latin1', 0, end);
    if (!answer.includes('\r\n\r\n')) return 0;
    if (answer.startsWith('HTTP/1.1 101')) {
      this.#state = 'open';
      this.#resolveOpened();
    } else {
      const retryAfterS = /^retry-after: *(\d+)/im.exec(answer)?.[1];
      const status = answer.split('\r\n', 1)[0] ?? '';
      this.#rejectOpened(
        new EntryError(
          `the server refused the session: ${status}`,
          retryAfterS === undefined ? undefined : Number(retryAfterS) * 1000,
        ),
      );
      this.#socket.destroy();
    }
    return end;
  }
}
