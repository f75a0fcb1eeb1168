import type { Socket as NetSocket } from 'node:net';

import { WebSocket } from 'ws';

import { closeCodes } from '../protocol/errors.ts';
import type { CloseReason } from '../protocol/errors.ts';
import type { Delivery } from '../push/fan-out.ts';
import { isCleanClose } from './transport.ts';
import type { ShownCredentials, Socket, TransportOptions } from './transport.ts';

/** What `ws` calls a frame that says that the client leaves with no code. */
const noCode = 1005;

/** Tells of a client's close frame when it comes; `ws` by itself does once the connection is down, which the client may put off. */
export class AttentiveWebSocket extends WebSocket {
  onLeave: ((code: number) => void) | undefined;

  override close(code?: number, data?: string | Buffer): void {
    super.close(code, data);
    this.onLeave?.(code ?? noCode);
  }
}

/** A WebSocket connection over Node's own sockets. */
export class NodeSocket<S> implements Socket {
  readonly #ws: AttentiveWebSocket;
  readonly #raw: NetSocket;
  readonly #options: TransportOptions<S>;
  readonly address: string;
  readonly #onGone: () => void;
  #session: S | undefined;
  #isClosed = false;

  constructor(
    ws: AttentiveWebSocket,
    raw: NetSocket,
    address: string,
    options: TransportOptions<S>,
    onGone: () => void,
  ) {
    this.#ws = ws;
    this.#raw = raw;
    this.#options = options;
    this.address = address;
    this.#onGone = onGone;
  }

  /** Begins to hand on what comes. */
  start(shown: ShownCredentials): void {
    const { onOpen, onAlive, onPong, onDrain } = this.#options;
    const session = onOpen(this, this.address, shown);
    this.#session = session;
    this.#ws.onLeave = (code) => {
      // Other codes may come from `ws` itself, when it ends a connection because of invalid input: that is reported by `error` and `close`.
      if (isCleanClose(code)) this.#finish(true, undefined);
    };
    this.#ws.on('message', (message: Buffer, isBinary) => {
      this.#take(session, message, isBinary);
    });
    this.#ws.on('ping', (payload) => {
      if (this.#isClosed) return;
      // Who does not read its pongs gets no more of them.
      if (!this.#isFull) this.#ws.pong(payload);
      onAlive(session);
    });
    this.#ws.on('pong', (payload) => {
      if (!this.#isClosed) onPong(session, payload.toString('latin1'));
    });
    this.#raw.on('drain', () => {
      if (!this.#isClosed) onDrain(session);
    });
    this.#ws.on('error', (error: Error & { readonly code?: string }) => {
      this.#raw.end();
      const isTooBig = error.code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH' && !this.#isClosed;
      if (isTooBig) this.#options.countClose('frame_too_big');
      this.#finish(false, isTooBig ? 'frame_too_big' : undefined);
    });
    this.#ws.on('close', () => {
      this.#finish(false, undefined);
      this.#onGone();
    });
  }

  send(frame: string | Uint8Array): Delivery {
    if (this.#isClosed) return 'closed';
    if (this.#isFull) return 'dropped';
    this.#ws.send(frame, { binary: false });
    return 'sent';
  }

  cork(sends: () => void): void {
    if (this.#isClosed) return;
    this.#raw.cork();
    sends();
    this.#raw.uncork();
  }

  ping(mark: string): boolean {
    if (this.#isClosed || this.#isFull) return false;
    this.#ws.ping(Buffer.from(mark, 'latin1'));
    return true;
  }

  end(reason: CloseReason): void {
    if (this.#isClosed) return;
    // Before anybody is notified: what is sent from now on is not meant for this connection.
    this.#isClosed = true;
    this.#ws.close(closeCodes[reason].number, reason);
    // Whoever does not answer the close frame shall know all the same that nothing more comes.
    this.#raw.end();
    this.#leave(false, reason);
  }

  /** Cuts the connection at once. */
  cut(): void {
    this.#ws.terminate();
    this.#finish(false, undefined);
  }

  get #isFull(): boolean {
    return this.#raw.writableLength > this.#options.backlogBytesMax;
  }

  #take(session: S, message: Buffer, isBinary: boolean): void {
    if (this.#isClosed) return;
    if (isBinary) this.#refuse('binary_frame');
    else if (message.length > this.#options.frameBytesMax) this.#refuse('frame_too_big');
    else this.#options.onText(session, message.toString());
  }

  #refuse(reason: CloseReason): void {
    this.#options.countClose(reason);
    this.end(reason);
  }

  #finish(isClean: boolean, reason: CloseReason | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#leave(isClean, reason);
  }

  #leave(isClean: boolean, reason: CloseReason | undefined): void {
    if (this.#session !== undefined) this.#options.onClose(this.#session, isClean, this.address, reason);
  }
}
