import { ServerResponse } from 'node:http';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket as NetSocket } from 'node:net';

import { WebSocketServer } from 'ws';
import type { ServerOptions } from 'ws';

import { normalizeAddress } from './addresses.ts';
import { headFailures } from './head-refusals.ts';
import { encodeAnswer } from './node-answer.ts';
import { AttentiveWebSocket, NodeSocket } from './node-socket.ts';
import { PortSharer } from './port-sharer.ts';
import { createHttpServer } from './tls-door.ts';
import { frameExcessBytes } from './transport.ts';
import type { ConnectionTaker, ListenAddress, Transport, TransportOptions } from './transport.ts';

/** A request's head must be there within this, and all of it within the second, in milliseconds. */
const headTimeoutMs = 10_000;
const requestTimeoutMs = 30_000;
/** A connection without a request is kept for this long, in milliseconds. */
const idleTimeoutMs = 10_000;
/** How often it is looked for requests that take too long, in milliseconds. */
const checkTimeoutsMs = 1000;
/** Of a request's head: the URL and the headers. */
const headBytesMax = 16_384;
/** How long a client has to answer a close frame, or to read a refusal, in milliseconds. */
const lingerMs = 10_000;

/** Sockets of Node's own `http` and of `ws`: for platforms for which uWebSockets.js has no binary, and for TLS. */
export class NodeTransport<S> implements Transport {
  readonly #options: TransportOptions<S>;
  readonly #http: Server;
  readonly #webSockets: WebSocketServer;
  readonly #sharer: PortSharer = new PortSharer();
  /** Of handshakes that are being accepted. */
  readonly #protocols: WeakMap<IncomingMessage, string> = new WeakMap();
  readonly #sockets: Set<NodeSocket<S>> = new Set();
  #address: ListenAddress | undefined;
  #isListening = false;

  constructor(options: TransportOptions<S>) {
    this.#options = options;
    const settings: ServerOptions<typeof AttentiveWebSocket> & { readonly closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: options.frameBytesMax + frameExcessBytes,
      handleProtocols: (_, request) => this.#protocols.get(request) || false,
      WebSocket: AttentiveWebSocket,
      // `ws` by itself ends the connection of whoever has sent a few dozen pings in one packet.
      autoPong: false,
      closeTimeout: lingerMs,
    };
    this.#webSockets = new WebSocketServer(settings);
    this.#http = createHttpServer(
      {
        maxHeaderSize: headBytesMax,
        headersTimeout: headTimeoutMs,
        requestTimeout: requestTimeoutMs,
        keepAliveTimeout: idleTimeoutMs,
        connectionsCheckingInterval: checkTimeoutsMs,
        noDelay: true,
      },
      options.tls,
    );
    this.#http.on('request', (request, response) => {
      this.#serve(request, response);
    });
    this.#http.on('clientError', (error: Error & { readonly code?: string }, socket) => {
      this.#refuseHead(error.code ?? '', socket as NetSocket);
    });
    this.#http.on('upgrade', (request, socket, head) => {
      this.#upgrade(request, socket as NetSocket, head);
    });
  }

  get isListening(): boolean {
    return this.#isListening;
  }

  get taker(): ConnectionTaker {
    return this.#sharer.offer({
      listen: (address) => this.#bind(address, true),
      stop: () => {
        this.#unbind();
      },
    });
  }

  handTo(taker: unknown): void {
    this.#sharer.add(taker);
  }

  async listen(host: string, port: number): Promise<ListenAddress> {
    // Bound by this thread alone first: nobody else's port is shared.
    const address = await this.#bind({ host, port }, false);
    this.#address = address;
    if (this.#sharer.hasTakers) {
      this.#unbind();
      await this.#sharer.listen(address);
      this.#isListening = true;
    }
    return address;
  }

  pauseListening(): void {
    this.#unbind();
    this.#sharer.stop();
  }

  async resumeListening(): Promise<void> {
    if (this.#address !== undefined && !this.#isListening) await this.listen(this.#address.host, this.#address.port);
  }

  stopListening(): void {
    this.pauseListening();
    this.#sharer.forgetTakers();
    this.#address = undefined;
  }

  close(): void {
    this.stopListening();
    this.#sharer.close();
    for (const socket of this.#sockets) socket.cut();
    this.#http.closeAllConnections();
    this.#options.tls?.close();
  }

  #bind({ host, port }: ListenAddress, isShared: boolean): Promise<ListenAddress> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        this.#http.off('listening', succeed);
        reject(new Error(`cannot listen on ${host}:${port}: ${explainListening(error)}`, { cause: error }));
      };
      const succeed = (): void => {
        this.#http.off('error', fail);
        this.#isListening = true;
        const bound = this.#http.address();
        resolve({ host, port: typeof bound === 'object' && bound !== null ? bound.port : port });
      };
      this.#http.once('error', fail);
      this.#http.once('listening', succeed);
      this.#http.listen({ host, port, exclusive: true, ...(isShared ? { reusePort: true } : {}) });
    });
  }

  #unbind(): void {
    this.#isListening = false;
    if (this.#http.listening) this.#http.close();
  }

  #upgrade(request: IncomingMessage, raw: NetSocket, head: Buffer): void {
    const { headers } = request;
    if (request.method !== 'GET' || headers.upgrade?.toLowerCase() !== 'websocket') {
      this.#passOver(request, raw);
      return;
    }
    const address = readAddress(raw);
    // Whoever is gone before the answer.
    raw.on('error', () => undefined);
    const verdict = this.#options.judgeUpgrade({
      path: readPath(request),
      upgrade: headers.upgrade,
      version: headers['sec-websocket-version'] ?? '',
      key: headers['sec-websocket-key'] ?? '',
      origin: headers.origin ?? '',
      host: headers.host ?? '',
      protocols: headers['sec-websocket-protocol'] ?? '',
      address,
    });
    if (!verdict.accept) {
      refuse(raw, encodeAnswer(verdict.answer));
      return;
    }
    this.#protocols.set(request, verdict.protocol);
    this.#webSockets.handleUpgrade(request, raw, head, (ws) => {
      const socket: NodeSocket<S> = new NodeSocket(ws as AttentiveWebSocket, raw, address, this.#options, () => {
        this.#sockets.delete(socket);
      });
      this.#sockets.add(socket);
      socket.start({
        authorization: headers.authorization ?? '',
        certificate: this.#options.tls?.clientOf(raw),
      });
    });
  }

  /** What came is no request, or not all of one in time. */
  #refuseHead(error: string, raw: NetSocket): void {
    if (!raw.writable || error === 'ECONNRESET') {
      raw.destroy();
      return;
    }
    refuse(raw, encodeAnswer(this.#options.refuseHead(headFailures[error] ?? 'malformed')));
  }

  /** What is offered beside WebSocket is not taken, and the request is answered as if it had not been offered. */
  #passOver(request: IncomingMessage, raw: NetSocket): void {
    const response = new ServerResponse(request);
    response.assignSocket(raw);
    setLinger(raw);
    this.#serve(request, response);
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const { method = '' } = request;
    const raw = request.socket;
    // Nothing on this port needs more than one request a connection, and none has a body that is read.
    response.shouldKeepAlive = false;
    request.resume();
    this.#options.onRequest({ method, path: readPath(request), address: readAddress(raw) }).then(
      ({ status, headers, body }) => {
        if (response.destroyed) return;
        response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) });
        response.end(body, () => raw.end());
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

function refuse(raw: NetSocket, refusal: string): void {
  setLinger(raw);
  raw.end(refusal);
  // What still comes is not waited for.
  raw.resume();
}

function setLinger(raw: NetSocket): void {
  raw.setTimeout(lingerMs, () => {
    raw.destroy();
  });
}

/** From either form of a request's target. */
function readPath({ url = '/' }: IncomingMessage): string {
  return url.replace(/^https?:\/\/[^/?]*/i, '').replace(/\?.*$/s, '') || '/';
}

function readAddress({ remoteAddress = '' }: NetSocket): string {
  return normalizeAddress(remoteAddress);
}

function explainListening(error: Error & { readonly code?: string }): string {
  if (error.code === 'EADDRINUSE' || error.code === 'EADDRNOTAVAIL') {
    return "the port is in use, or the address is not this machine's";
  }
  return error.message;
}
