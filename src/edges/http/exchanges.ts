import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import { encodeAnswer } from '../../transport/node-answer.ts';
import type { HttpAnswer } from '../../transport/transport.ts';

export interface ExchangesOptions {
  /** `error`: what Node's parser or its timers say is wrong, by its code. */
  readonly refuse: (error: string, address: string) => HttpAnswer;
}

/** A connection with requests on it that are not yet answered. */
interface Connection {
  readonly unanswered: Set<ServerResponse>;
  /** Those of them that have not had their turn, and what is to be done then. */
  readonly waiting: Map<ServerResponse, () => void>;
  /** The last of them: the only one whose body may still be on its way. */
  last: { readonly request: IncomingMessage; readonly response: ServerResponse };
  /** What is wrong with what came behind them. */
  error: string | undefined;
  isPaused: boolean;
}

/** Requests of one connection that are not answered: while there are so many, no more of it is read. */
const unansweredMax = 64;
/** How long a caller has to read a refusal of what was no request, in milliseconds. */
const lingerMs = 2000;

/**
 * Requests and their answers by connection, so that what is no request is answered in its turn: after the requests that came before it, and once. Nothing that follows it on
 * its connection is taken for a request.
 */
export class Exchanges {
  readonly #options: ExchangesOptions;
  readonly #connections: WeakMap<Socket, Connection> = new WeakMap();
  readonly #refused: WeakSet<Socket> = new WeakSet();

  constructor(options: ExchangesOptions) {
    this.#options = options;
  }

  /** A request has come. `carryOut` is called once all that came before it on its connection are answered: one may rest on what another did. */
  begin(request: IncomingMessage, response: ServerResponse, carryOut: () => void): void {
    const { socket } = request;
    if (this.#refused.has(socket)) return;
    const connection = this.#connections.get(socket) ?? this.#connect(socket, { request, response });
    const { unanswered, waiting } = connection;
    unanswered.add(response);
    connection.last = { request, response };
    response.once('close', () => {
      unanswered.delete(response);
      waiting.delete(response);
      if (connection.isPaused && unanswered.size < unansweredMax) {
        connection.isPaused = false;
        socket.resume();
      }
      const [next] = waiting;
      if (next !== undefined) {
        const [turn, run] = next;
        waiting.delete(turn);
        run();
      } else if (unanswered.size === 0 && connection.error !== undefined) this.#end(connection.error, socket);
    });
    if (!connection.isPaused && unanswered.size >= unansweredMax) {
      connection.isPaused = true;
      socket.pause();
    }
    if (unanswered.size === 1) carryOut();
    else waiting.set(response, carryOut);
  }

  #connect(socket: Socket, last: Connection['last']): Connection {
    const connection: Connection = {
      unanswered: new Set(),
      waiting: new Map(),
      last,
      error: undefined,
      isPaused: false,
    };
    this.#connections.set(socket, connection);
    // Node tells only the response whose turn it is that its connection is gone; those that wait behind it would never end.
    socket.once('close', () => {
      connection.waiting.clear();
      for (const response of connection.unanswered) {
        if (response.socket !== null) continue;
        response.destroy();
        response.emit('close');
      }
    });
    return connection;
  }

  /** Nothing is tunnelled. Node has taken its own listeners off the socket, so what goes wrong with it from here on nobody else hears. */
  refuseTunnel(socket: Socket): void {
    socket.on('error', () => {
      socket.destroy();
    });
    this.refuse('HPE_INVALID_METHOD', socket);
  }

  /** What came is no request, or not all of one, or not in time. */
  refuse(error: string, socket: Socket): void {
    if (error === 'ECONNRESET' || socket.destroyed) {
      socket.destroy();
      return;
    }
    if (this.#refused.has(socket)) return;
    this.#refused.add(socket);
    const connection = this.#connections.get(socket);
    if (connection === undefined || connection.unanswered.size === 0) this.#end(error, socket);
    else if (connection.last.request.complete || connection.last.response.headersSent) connection.error = error;
    else this.#answerLast(error, connection);
  }

  /** The rest of its body will not come. */
  #answerLast(error: string, { last: { request, response }, waiting }: Connection): void {
    waiting.delete(response);
    const { status, headers, body } = this.#options.refuse(error, request.socket.remoteAddress ?? '');
    response.shouldKeepAlive = false;
    response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) });
    response.end(body);
  }

  #end(error: string, socket: Socket): void {
    if (!socket.writable) {
      socket.destroy();
      return;
    }
    socket.setTimeout(lingerMs, () => socket.destroy());
    socket.end(encodeAnswer(this.#options.refuse(error, socket.remoteAddress ?? '')));
    // What still comes is not waited for.
    socket.resume();
  }
}
