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
import { formatAddress } from './addresses.ts';
import { frameExcessBytes, isCleanClose } from './transport.ts';
import type { ConnectionTaker, HttpAnswer, ListenAddress, Socket, Transport, TransportOptions } from './transport.ts';

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
  /** Until the session knows it. */
  authorization: string;
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
    // It reads its certificate once, from files, and keeps it for as long as it runs.
    if (options.tls !== undefined) throw new Error('uWebSockets.js is not used with TLS');
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
      // than that: an unfinished message is kept for as long as its sender keeps answering pings, and nothing reports that it is there.
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
        const { authorization } = connection;
        connection.authorization = '';
        const shown = { authorization, certificate: undefined };
        connection.session = options.onOpen(connection.socket, connection.address, shown);
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
      host: request.getHeader('host'),
      protocols: request.getHeader('sec-websocket-protocol'),
      address,
    });
    if (!verdict.accept) {
      writeAnswer(response, verdict.answer);
      return;
    }
    const authorization = request.getHeader('authorization');
    const connection: Connection<S> = { address, authorization, socket: undefined, session: undefined };
    // No extensions: compression is not offered.
    response.upgrade<Connection<S>>(connection, key, verdict.protocol, '', context);
  }

  #serveHttp(response: HttpResponse, request: HttpRequest): void {
    let isAborted = false;
    response.onAborted(() => {
      isAborted = true;
    });
    const method = request.getMethod().toUpperCase();
    this.#options.onRequest({ method, path: request.getUrl(), address: readAddress(response) }).then(
      (answer) => {
        if (!isAborted) response.cork(() => writeAnswer(response, answer, method === 'HEAD'));
      },
      (error: unknown) => {
        // A bug: the handler turns everything expected into an answer. Die loudly, as for any uncaught exception.
        queueMicrotask(() => {
          throw error;
        });
      },
    );
  }
}

/** What uWebSockets.js says when it cuts the line because a message is larger. */
const tooBigMessage = 'Received too big message';

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

function writeAnswer(response: HttpResponse, { status, headers, body }: HttpAnswer, isHead = false): void {
  response.writeStatus(`${status} ${reasonPhrases[status] ?? 'Status'}`);
  for (const [name, value] of Object.entries(headers)) response.writeHeader(name, value);
  // What follows on the connection is not read: where a request ends that has a body, its parser and a proxy may not agree on.
  // If a length is announced without a body, the connection would stay open, waiting for that many bytes.
  response.end(isHead ? '' : body, true);
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
  421: 'Misdirected Request',
  426: 'Upgrade Required',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};
