import { connect } from 'node:net';
import type { Socket } from 'node:net';

import { sessionPath } from '../../src/protocol/limits.ts';
import { buildPongFrame, buildUpgradeRequest, closeFrame, readFrames } from './frames.ts';
import type { FrameHandlers } from './frames.ts';

/** Where a server listens, and its process, for what is read of it in /proc. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly pid: number;
}

/** One buffer for the reads of all connections: each read is taken apart before the next begins. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);
const nothing = Buffer.alloc(0);

/**
 * A WebSocket client over a bare TCP socket: it looks at the lengths of what comes and leaves the rest to the workload, so that one
 * core of load can saturate a server on another. Not a general client: no fragments, no compression, no checks of the handshake's key.
 */
export class Connection {
  /** A text frame came, in `bytes` from `start` to `end`; the bytes are gone after the call. */
  onText: (bytes: Buffer, start: number, end: number) => void = () => {};
  /** All frames of one read have been handed over. */
  onReadEnd: () => void = () => {};
  readonly #socket: Socket;
  readonly #handlers: FrameHandlers;
  readonly #opened: Promise<void>;
  readonly #closed: Promise<void>;
  #resolveOpened: () => void = () => {};
  #isUpgraded = false;
  #isClosing = false;
  #unfinished: Buffer = nothing;

  constructor({ host, port }: Target) {
    this.#handlers = {
      onText: (bytes, start, end) => {
        this.onText(bytes, start, end);
      },
      onPing: (payload) => this.send(buildPongFrame(payload)),
      onClose: () => this.#socket.end(),
    };
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
    this.#socket.write(buildUpgradeRequest(host, port, sessionPath));
    this.#closed = new Promise((resolve) => {
      this.#socket.once('close', () => {
        if (this.#isUpgraded && !this.#isClosing) throw new Error('the server closed a connection under load');
        resolve();
      });
    });
    this.#opened = new Promise((resolve, reject) => {
      this.#resolveOpened = resolve;
      this.#socket.once('error', reject);
      this.#socket.once('close', () => reject(new Error('the server closed the connection')));
    });
  }

  /** Resolves when the server has taken the upgrade. */
  get opened(): Promise<void> {
    return this.#opened;
  }

  send(frame: Buffer): void {
    this.#socket.write(frame);
  }

  /** Closes in order, so that the server takes away at once what this session registered. */
  async close(): Promise<void> {
    if (!this.#isClosing) {
      this.#isClosing = true;
      this.onText = () => {};
      this.onReadEnd = () => {};
      this.#socket.write(closeFrame);
    }
    await this.#closed;
  }

  #read(length: number): void {
    let bytes: Buffer = readBuffer;
    let end = length;
    if (this.#unfinished.length > 0) {
      bytes = Buffer.concat([this.#unfinished, readBuffer.subarray(0, length)]);
      end = bytes.length;
    }
    const taken = this.#isUpgraded ? readFrames(bytes, end, this.#handlers) : this.#handleUpgrade(bytes, end);
    this.#unfinished = taken < end ? Buffer.from(bytes.subarray(taken, end)) : nothing;
    this.onReadEnd();
  }

  /** The server says nothing unasked, so nothing follows the answer to the upgrade in the same read. */
  #handleUpgrade(bytes: Buffer, end: number): number {
    const answer = bytes.toString('latin1', 0, end);
    if (!answer.includes('\r\n\r\n')) return 0;
    if (answer.startsWith('HTTP/1.1 101')) {
      this.#isUpgraded = true;
      this.#resolveOpened();
    } else {
      this.#socket.destroy(new Error(`the server refused the upgrade: ${answer.slice(0, 200)}`));
    }
    return end;
  }
}

/** How many connect at a time: fewer than the backlog of a listening socket. */
const connectsAtOnce = 200;

export async function openConnections(target: Target, count: number): Promise<Connection[]> {
  const connections: Connection[] = [];
  while (connections.length < count) {
    const wave = Array.from(
      { length: Math.min(connectsAtOnce, count - connections.length) },
      () => new Connection(target),
    );
    await Promise.all(wave.map((connection) => connection.opened));
    connections.push(...wave);
  }
  return connections;
}

export async function closeConnections(connections: readonly Connection[]): Promise<void> {
  await Promise.all(connections.map((connection) => connection.close()));
}
