import type { WebSocketConstructor, WebSocketLike } from './web-socket.ts';

interface RawSocket {
  readonly localPort?: number;
  once(event: 'close', listener: () => void): void;
  destroy(): void;
}
interface Connected {
  readonly socket: RawSocket;
}
interface Opened {
  readonly address: { readonly port?: number };
}
interface DiagnosticsChannel {
  subscribe(name: string, listener: (message: unknown) => void): void;
}

/**
 * The TCP sockets under Node's own WebSockets. Such a WebSocket can only be closed with a handshake, and one that waits for
 * a peer that is gone keeps its process alive for ever. Node announces the sockets on its diagnostics channels; in browsers there is no
 * process to keep alive.
 */
class RawSockets {
  readonly #byPort: Map<number, RawSocket> = new Map();
  readonly #byWebSocket: WeakMap<WebSocketLike, RawSocket> = new WeakMap();
  #opened: RawSocket | undefined;
  #isWatching = false;

  /** To be called before one is made. */
  watch(WebSocket: WebSocketConstructor): void {
    if (this.#isWatching || 'terminate' in WebSocket.prototype) return;
    this.#isWatching = true;
    const channel = loadDiagnosticsChannel();
    channel?.subscribe('undici:client:connected', (message) => {
      this.#noteConnected((message as Connected).socket);
    });
    // Just before the WebSocket says itself that it is open.
    channel?.subscribe('undici:websocket:open', (message) => {
      const { port } = (message as Opened).address;
      this.#opened = port === undefined ? undefined : this.#byPort.get(port);
    });
  }

  /** To be called as the WebSocket opens. */
  noteOpen(webSocket: WebSocketLike): void {
    if (this.#opened !== undefined) this.#byWebSocket.set(webSocket, this.#opened);
    this.#opened = undefined;
  }

  /** Ends the connection without the other side. */
  destroy(webSocket: WebSocketLike): void {
    this.#byWebSocket.get(webSocket)?.destroy();
  }

  #noteConnected(socket: RawSocket): void {
    const { localPort } = socket;
    if (localPort === undefined) return;
    this.#byPort.set(localPort, socket);
    socket.once('close', () => {
      if (this.#byPort.get(localPort) === socket) this.#byPort.delete(localPort);
    });
  }
}

export const rawSockets: RawSockets = new RawSockets();

/** Not imported, since browsers and what packs programs for them do not have it. */
function loadDiagnosticsChannel(): DiagnosticsChannel | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  return process?.getBuiltinModule?.('node:diagnostics_channel') as DiagnosticsChannel | undefined;
}
