import { loadWebSocket } from './web-socket.ts';
import type { WebSocketConstructor, WebSocketLike } from './web-socket.ts';

/** Close codes of the client: 1000 is the only one that a browser may send besides 3000 to 4999. */
const orderlyCode = 1000;
const abandonCode = 4000;

export interface ConnectionEvents {
  opened(socket: number): void;
  /** Exactly once, also when the socket never opened; not after it was abandoned. */
  closed(socket: number, cause: string): void;
  received(socket: number, text: string): void;
}

/** The socket that the machine wants at present. Decides nothing. */
export class Connection {
  readonly #events: ConnectionEvents;
  #WebSocket: WebSocketConstructor | undefined;
  #number = 0;
  #socket: WebSocketLike | undefined;

  constructor(events: ConnectionEvents, WebSocket: WebSocketConstructor | undefined) {
    this.#events = events;
    this.#WebSocket = WebSocket;
  }

  open(number: number, url: string): void {
    this.#number = number;
    this.#open(number, url).catch((error: unknown) => {
      this.#lose(number, error instanceof Error ? error.message : String(error));
    });
  }

  send(number: number, text: string): void {
    if (number === this.#number) this.#socket?.send(text);
  }

  /** `orderly`: the server takes our registrations away at once, and `closed` follows. `abandon`: it keeps them for its grace. */
  close(number: number, manner: 'orderly' | 'abandon'): void {
    if (number !== this.#number) return;
    const socket = this.#socket;
    if (manner === 'orderly') {
      socket?.close(orderlyCode);
      return;
    }
    this.#number = 0;
    this.#socket = undefined;
    // A half-open peer never answers a close frame, and waiting for it would keep a process alive.
    if (socket?.terminate === undefined) socket?.close(abandonCode, 'reconnecting');
    else socket.terminate();
  }

  async #open(number: number, url: string): Promise<void> {
    this.#WebSocket ??= await loadWebSocket();
    // Given up while the constructor was being loaded.
    if (number !== this.#number) return;
    const socket = new this.#WebSocket(url);
    this.#socket = socket;
    let failure = '';
    socket.addEventListener('open', () => {
      if (number === this.#number) this.#events.opened(number);
    });
    socket.addEventListener('message', ({ data }) => {
      if (number === this.#number && typeof data === 'string') this.#events.received(number, data);
    });
    // Browsers do not say what went wrong; `ws` does. A close follows either way.
    socket.addEventListener('error', (event) => {
      if ('message' in event && typeof event.message === 'string') failure = event.message;
    });
    socket.addEventListener('close', ({ code, reason }) => {
      const words = [failure, code === undefined ? '' : `closed with ${code}`, reason ?? ''];
      this.#lose(number, words.filter((word) => word !== '').join(', '));
    });
  }

  #lose(number: number, cause: string): void {
    if (number !== this.#number) return;
    this.#number = 0;
    this.#socket = undefined;
    this.#events.closed(number, cause);
  }
}
