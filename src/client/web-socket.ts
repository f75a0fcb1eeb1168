/** The part of an event that the client reads. */
export interface WebSocketEvent {
  readonly type?: string;
  readonly data?: unknown;
  readonly code?: number;
  readonly reason?: string;
}

/** The part of a WebSocket that the client uses; browsers, Node and the package `ws` have it. */
export interface WebSocketLike {
  send(text: string): void;
  close(code?: number, reason?: string): void;
  /** Only `ws` has it: ends without waiting for the other side. */
  terminate?(): void;
  addEventListener(type: 'open' | 'message' | 'close' | 'error', listener: (event: WebSocketEvent) => void): void;
}

export interface WebSocketConstructor {
  new (url: string): WebSocketLike;
  readonly prototype: object;
}

/** The global `WebSocket`, or, where there is none (Node 20), the one of the package `ws`, loaded only then. */
export async function loadWebSocket(): Promise<WebSocketConstructor> {
  const found: WebSocketConstructor | undefined = globalThis.WebSocket;
  if (found !== undefined) return found;
  const { WebSocket } = await import('ws');
  return WebSocket;
}
