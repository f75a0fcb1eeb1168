import { App, us_listen_socket_close, us_socket_local_port } from 'uWebSockets.js';
import type {
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  us_listen_socket,
  us_socket_context_t,
  WebSocket,
} from 'uWebSockets.js';

import { closeCodes } from '../protocol/errors.ts';
import type { CloseReason } from '../protocol/errors.ts';
import type { Delivery } from '../push/fan-out.ts';
import { formatAddress, isLoopbackAddress } from './addresses.ts';
import { decodeBody, frameExcessBytes, isCleanClose, smallAnswerCharacters } from './transport.ts';
import type {
  ConnectionTaker,
  HttpAnswer,
  HttpCall,
  ListenAddress,
  Socket,
  Transport,
  TransportOptions,
} from './transport.ts';
import type { UnreadAnswer } from './unread-answers.ts';

/** Refuse a port that another process listens on, rather than share it. */
const exclusivePort = 1;

/** How often a free port is looked for. */
const freePortTries = 5;

/** The run-time signature; the published types leave out this form. */
interface ExclusiveListener {
  listen(host: string, port: number, options: number, callback: (socket: us_listen_socket | false) => void): void;
}

/** What the published types leave out, too. */
interface ChildApp {
  getDescriptor(): unknown;
  addChildAppDescriptor(descriptor: unknown): void;
  removeChildAppDescriptor(descriptor: unknown): void;
}

interface Connection<S> {
  readonly address: string;
  socket: UwsSocket<S> | undefined;
  session: S | undefined;
}

/** The one place that knows uWebSockets.js. Everything it hands out is copied: its buffers are gone after the callback. */
export class UwsTransport<S> implements Transport {
  readonly #app: TemplatedApp = App();
  readonly #options: TransportOptions<S>;
  #listenSocket: us_listen_socket | undefined;
  #address: ListenAddress | undefined;
  /** Transports that connections go to. */
  readonly #children: unknown[] = [];

  constructor(options: TransportOptions<S>) {
    this.#options = options;
    this.#serveSockets();
    this.#app.any('/*', (response, request) => {
      this.#serveHttp(response, request);
    });
  }

  async listen(host: string, port: number): Promise<ListenAddress> {
    let address = await this.#bind(host, port);
    // uWebSockets.js lets a port that it chose itself be taken again only once every connection to it has gone.
    if (port === 0) address = await this.#bindAnew(address);
    this.#address = address;
    return address;
  }

  async #bindAnew(chosen: ListenAddress): Promise<ListenAddress> {
    const { host } = chosen;
    let { port } = chosen;
    for (let tries = 1; ; tries++) {
      this.pauseListening();
      try {
        return await this.#bind(host, port);
      } catch (error) {
        // Somebody else was given it in between.
        if (tries === freePortTries) throw error;
        ({ port } = await this.#bind(host, 0));
      }
    }
  }

  #bind(host: string, port: number): Promise<ListenAddress> {
    return new Promise((resolve, reject) => {
      (this.#app as object as ExclusiveListener).listen(host, port, exclusivePort, (socket) => {
        if (socket === false) {
          reject(
            new Error(`cannot listen on ${host}:${port}: the port is in use, or the address is not this machine's`),
          );
          return;
        }
        this.#listenSocket = socket;
        resolve({ host, port: us_socket_local_port(socket) });
      });
    });
  }

  get isListening(): boolean {
    return this.#listenSocket !== undefined;
  }

  pauseListening(): void {
    if (this.#listenSocket !== undefined) us_listen_socket_close(this.#listenSocket);
    this.#listenSocket = undefined;
  }

  async resumeListening(): Promise<void> {
    if (this.#address !== undefined && !this.isListening) await this.listen(this.#address.host, this.#address.port);
  }

  get taker(): ConnectionTaker {
    return { value: (this.#app as object as ChildApp).getDescriptor(), transfer: [] };
  }

  /** uWebSockets.js keeps a raw pointer: the other one must not close before it is taken out by {@link stopListening}. */
  handTo(descriptor: unknown): void {
    (this.#app as object as ChildApp).addChildAppDescriptor(descriptor);
    this.#children.push(descriptor);
  }

  stopListening(): void {
    for (const descriptor of this.#children.splice(0)) {
      (this.#app as object as ChildApp).removeChildAppDescriptor(descriptor);
    }
    this.pauseListening();
    this.#address = undefined;
  }

  close(): void {
    this.#listenSocket = undefined;
    this.#app.close();
  }

  #serveSockets(): void {
    const options = this.#options;
    this.#app.ws<Connection<S>>('/*', {
      // Somewhat larger than what is accepted, so that a message that is slightly too big gets a close code; uWebSockets.js itself just cuts the line. No more
      // than that: an unfinished message is kept for as long as its sender goes on answering pings, and nothing tells that it is there.
      maxPayloadLength: options.frameBytesMax + frameExcessBytes,
      maxBackpressure: options.backlogBytesMax,
      closeOnBackpressureLimit: false,
      sendPingsAutomatically: false,
      // Heartbeats are the host's; this only bounds how long a socket lingers that never answers its close frame.
      idleTimeout: lingerSeconds(options.heartbeatTimeoutMs),
      maxLifetime: 0,
      upgrade: (response, request, context) => {
        this.#upgrade(response, request, context);
      },
      open: (ws) => {
        const connection = ws.getUserData();
        connection.socket = new UwsSocket(ws, connection.address);
        connection.session = options.onOpen(connection.socket, connection.address);
      },
      message: (ws, message, isBinary) => {
        const { session, socket } = ws.getUserData();
        if (session === undefined || socket === undefined) return;
        if (isBinary) this.#refuseFrame(socket, 'binary_frame');
        else if (message.byteLength > options.frameBytesMax) this.#refuseFrame(socket, 'frame_too_big');
        else options.onText(session, Buffer.from(message).toString());
      },
      drain: (ws) => {
        const { session } = ws.getUserData();
        if (session !== undefined) options.onDrain(session);
      },
      ping: (ws) => {
        const { session } = ws.getUserData();
        if (session !== undefined) options.onAlive(session);
      },
      pong: (ws, message) => {
        const { session } = ws.getUserData();
        if (session !== undefined) options.onPong(session, Buffer.from(message).toString('latin1'));
      },
      close: (ws, code, message) => {
        const { session, socket, address } = ws.getUserData();
        let reason = socket?.reason;
        if (reason === undefined && code === 1006 && Buffer.from(message).toString('latin1') === tooBigMessage) {
          reason = 'frame_too_big';
          options.countClose(reason);
        }
        socket?.markClosed();
        if (session !== undefined)
          options.onClose(session, reason === undefined && isCleanClose(code), address, reason);
      },
    });
  }

  #refuseFrame(socket: UwsSocket<S>, reason: CloseReason): void {
    this.#options.countClose(reason);
    socket.end(reason);
  }

  #upgrade(response: HttpResponse, request: HttpRequest, context: us_socket_context_t): void {
    const key = request.getHeader('sec-websocket-key');
    const address = readAddress(response);
    const verdict = this.#options.judgeUpgrade({
      path: request.getUrl(),
      upgrade: request.getHeader('upgrade'),
      version: request.getHeader('sec-websocket-version'),
      key,
      origin: request.getHeader('origin'),
      protocols: request.getHeader('sec-websocket-protocol'),
      address,
    });
    if (!verdict.accept) {
      writeAnswer(response, verdict.answer);
      return;
    }
    const connection: Connection<S> = { address, socket: undefined, session: undefined };
    // No extensions: compression is not offered.
    response.upgrade<Connection<S>>(connection, key, verdict.protocol, '', context);
  }

  #serveHttp(response: HttpResponse, request: HttpRequest): void {
    let isAborted = false;
    let onAborted: (() => void) | undefined;
    response.onAborted(() => {
      isAborted = true;
      onAborted?.();
    });
    const address = readAddress(response);
    const head = {
      method: request.getMethod().toUpperCase(),
      path: request.getUrl(),
      query: request.getQuery() ?? '',
      origin: request.getHeader('origin'),
      contentType: request.getHeader('content-type'),
      address,
      isLocal: isLoopbackAddress(address),
    };
    this.#readBody(response, (body) => {
      this.#options.onHttp({ ...head, body, room: this.#options.unread.room }).then(
        (answer) => {
          if (isAborted) return;
          onAborted = this.#answer(response, answer, head);
        },
        (error: unknown) => {
          // A bug: the handler turns everything expected into an answer. Die loudly, as for any uncaught exception.
          queueMicrotask(() => {
            throw error;
          });
        },
      );
    });
  }

  /** Returns what is to be done when the connection ends before all has left. */
  #answer(
    response: HttpResponse,
    answer: HttpAnswer,
    { method, address }: Pick<HttpCall, 'method' | 'address'>,
  ): () => void {
    const isHead = method === 'HEAD';
    const { unread } = this.#options;
    if (isHead || answer.body.length < smallAnswerCharacters) {
      response.cork(() => writeAnswer(response, answer, isHead));
      return () => undefined;
    }
    // Judged by its characters, which are no more than its bytes: one that is refused must not take memory of its own before.
    if (!unread.hasRoom(answer.body.length)) {
      response.cork(() => writeAnswer(response, this.#options.refuseUnread(address)));
      return () => undefined;
    }
    const body = Buffer.from(answer.body);
    const large = new LargeAnswer(response, body, address);
    response.onWritable((offset) => {
      const isThrough = large.goOn(offset);
      unread.note(large, performance.now());
      return isThrough;
    });
    response.cork(() => {
      writeHead(response, answer);
      large.goOn(0);
    });
    if (large.bytesLeft > 0) unread.add(large, performance.now());
    return () => {
      large.end();
      unread.remove(large);
    };
  }

  #readBody(response: HttpResponse, take: (body: HttpCall['body']) => void): void {
    const chunks: Buffer[] = [];
    let bytes = 0;
    response.onData((chunk, isLast) => {
      bytes += chunk.byteLength;
      if (bytes <= this.#options.bodyBytesMax) chunks.push(Buffer.from(chunk.slice(0)));
      else chunks.length = 0;
      if (isLast) take(bytes > this.#options.bodyBytesMax ? 'too large' : decodeBody(Buffer.concat(chunks)));
    });
  }
}

/** What uWebSockets.js says when it cuts the line because a message is larger. */
const tooBigMessage = 'Received too big message';

/** An answer that leaves as its caller reads. uWebSockets.js by itself would keep a copy of all that the kernel does not take, without a bound. */
class LargeAnswer implements UnreadAnswer {
  readonly #response: HttpResponse;
  readonly #body: Buffer;
  readonly address: string;
  #isOver = false;
  bytesLeft: number;

  constructor(response: HttpResponse, body: Buffer, address: string) {
    this.address = address;
    this.#response = response;
    this.#body = body;
    this.bytesLeft = body.length;
  }

  /** Writes what the kernel takes from here on; returns whether that was all. */
  goOn(offset: number): boolean {
    if (this.#isOver) return true;
    const [isThrough, isDone] = this.#response.tryEnd(this.#body.subarray(offset), this.#body.length);
    if (isDone) this.end();
    else this.bytesLeft = this.#body.length - this.#response.getWriteOffset();
    return isThrough;
  }

  end(): void {
    this.#isOver = true;
    this.bytesLeft = 0;
  }

  cut(): void {
    if (!this.#isOver) this.#response.close();
  }
}

/** A socket that may be used at any time: once closed, it does nothing. uWebSockets.js throws at any call on a closed one. */
class UwsSocket<S> implements Socket {
  readonly #ws: WebSocket<Connection<S>>;
  readonly address: string;
  isClosed = false;
  /** Why this side has closed it. */
  reason: CloseReason | undefined;

  constructor(ws: WebSocket<Connection<S>>, address: string) {
    this.#ws = ws;
    this.address = address;
  }

  send(frame: string | Uint8Array): Delivery {
    if (this.isClosed) return 'closed';
    // 1: sent; 0: queued in the backlog; 2: dropped.
    return this.#ws.send(frame, false) === 2 ? 'dropped' : 'sent';
  }

  cork(sends: () => void): void {
    if (!this.isClosed) this.#ws.cork(sends);
  }

  ping(mark: string): boolean {
    return !this.isClosed && this.#ws.ping(mark) !== 2;
  }

  end(reason: CloseReason): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.reason = reason;
    this.#ws.end(closeCodes[reason].number, reason);
  }

  markClosed(): void {
    this.isClosed = true;
  }
}

function readAddress(response: HttpResponse): string {
  return formatAddress(new Uint8Array(response.getRemoteAddress()));
}

/**
 * uWebSockets.js takes 8 to 960 seconds, and ends the process on less. It counts steps of about four seconds, the present one among them, and
 * a suspension of the process as one: after 8 seconds it would cut connections that have been silent for no more than the suspension.
 */
function lingerSeconds(heartbeatTimeoutMs: number): number {
  return Math.min(960, Math.max(32, Math.ceil((heartbeatTimeoutMs * 2) / 1000)));
}

function writeHead(response: HttpResponse, { status, headers }: HttpAnswer): void {
  response.writeStatus(`${status} ${reasonPhrases[status] ?? 'Status'}`);
  for (const [name, value] of Object.entries(headers)) response.writeHeader(name, value);
}

function writeAnswer(response: HttpResponse, answer: HttpAnswer, isHead = false): void {
  writeHead(response, answer);
  // What follows the head of an answer to HEAD would be read as the next answer.
  // (Given a length, uWebSockets.js 20 takes no further request on the connection.)
  if (isHead) response.endWithoutBody();
  else response.end(answer.body);
}

const reasonPhrases: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  409: 'Conflict',
  413: 'Content Too Large',
  426: 'Upgrade Required',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};
