import { rawSockets } from './raw-sockets.ts';
import { loadWebSocket } from './web-socket.ts';
import type { ClientTls, WebSocketConstructor, WebSocketLike } from './web-socket.ts';

/** Close codes of the client: 1000 is the only one that a browser may send besides 3000 to 4999. */
const orderlyCode = 1000;
const abandonCode = 4000;

export interface ConnectionEvents {
  opened(socket: number): void;
  /** Exactly once, also when the socket never opened; not after it was abandoned. */
  closed(socket: number, cause: string): void;
  received(socket: number, text: string): void;
}

/** The sockets that the machine wants at present: one, or two while one takes the place of the other. Decides nothing. */
export class Connection {
  readonly #events: ConnectionEvents;
  readonly #WebSocket: WebSocketConstructor | undefined;
  readonly #tls: ClientTls | undefined;
  /** Undefined while the constructor is being loaded. */
  readonly #sockets: Map<number, WebSocketLike | undefined> = new Map();

  constructor(events: ConnectionEvents, WebSocket: WebSocketConstructor | undefined, tls: ClientTls | undefined) {
    this.#events = events;
    this.#WebSocket = WebSocket;
    this.#tls = tls;
  }

  open(number: number, url: string): void {
    this.#sockets.set(number, undefined);
    this.#open(number, url).catch((error: unknown) => {
      this.#lose(number, error instanceof Error ? error.message : String(error));
    });
  }

  send(number: number, text: string): void {
    this.#sockets.get(number)?.send(text);
  }

  /** `orderly`: the server takes away at once what is still ours there, and `closed` follows. `abandon`: it keeps it for its grace. */
  close(number: number, manner: 'orderly' | 'abandon'): void {
    const socket = this.#sockets.get(number);
    if (manner === 'orderly') {
      socket?.close(orderlyCode);
      return;
    }
    this.#sockets.delete(number);
    if (socket === undefined) return;
    // A half-open peer never answers a close frame, and waiting for it would keep a process alive.
    if (socket.terminate !== undefined) {
      socket.terminate();
      return;
    }
    socket.close(abandonCode, 'reconnecting');
    rawSockets.destroy(socket);
  }

  async #open(number: number, url: string): Promise<void> {
    const WebSocket = await loadWebSocket(this.#WebSocket, this.#tls);
    // Given up while the constructor was being loaded.
    if (!this.#sockets.has(number)) return;
    rawSockets.watch(WebSocket);
    const socket = new WebSocket(url);
    this.#sockets.set(number, socket);
    let failure = '';
    let hasOpened = false;
    socket.addEventListener('open', () => {
      hasOpened = true;
      rawSockets.noteOpen(socket);
      if (this.#sockets.has(number)) this.#events.opened(number);
    });
    socket.addEventListener('message', ({ data }) => {
      if (this.#sockets.has(number) && typeof data === 'string') this.#events.received(number, data);
    });
    socket.addEventListener('error', (event) => {
      // Browsers do not say what went wrong; others do.
      if ('message' in event && typeof event.message === 'string') failure = explainFailure(event.message);
      if (hasOpened) return;
      // A close follows from browsers and `ws`, but not from Node's own WebSocket: so it is not waited for.
      queueMicrotask(() => {
        this.#lose(number, failure === '' ? 'no connection' : failure);
      });
    });
    socket.addEventListener('close', ({ code, reason }) => {
      const words = [failure, code === undefined ? '' : `closed with ${code}`, reason ?? ''];
      this.#lose(number, words.filter((word) => word !== '').join(', '));
    });
  }

  #lose(number: number, cause: string): void {
    if (this.#sockets.delete(number)) this.#events.closed(number, cause);
  }
}

/** OpenSSL words its failures as lines of a log, with the reason among places in its sources. */
function explainFailure(message: string): string {
  const [, reason] = /[0-9A-F]{8,}:error:[0-9A-F]+:[^:]*:[^:]*:([^:]+):/.exec(message) ?? [];
  return reason === undefined ? message : `TLS: ${reason}`;
}
