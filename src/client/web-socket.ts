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

/** Whom to trust, and what to show, over TLS. Texts are in PEM form. */
export interface ClientTls {
  /** Authorities of servers' certificates, in place of those that Node trusts. */
  readonly ca?: string;
  /** The client's certificate, followed by those of intermediate authorities. */
  readonly cert?: string;
  /** Its key. */
  readonly key?: string;
  /** The name that the server's certificate must have, if it is not the one in the URL. */
  readonly serverName?: string;
}

/** Whether it is the one of the package `ws`, which alone can be told about TLS; browsers and Node's own decide by themselves. */
export function canBeSecured(WebSocket: WebSocketConstructor | undefined): boolean {
  if (WebSocket !== undefined) return 'terminate' in WebSocket.prototype;
  const { process } = globalThis as { process?: { readonly versions?: { readonly node?: string } } };
  return process?.versions?.node !== undefined;
}

/**
 * The one that is given, else the global `WebSocket`, or, where there is none (Node 20) or for TLS of its own, the one of the package `ws`, loaded only
 * then.
 */
export async function loadWebSocket(
  given: WebSocketConstructor | undefined,
  tls: ClientTls | undefined,
): Promise<WebSocketConstructor> {
  if (tls !== undefined) return secureWebSocket(given ?? (await import('ws')).WebSocket, tls);
  const found: WebSocketConstructor | undefined = given ?? globalThis.WebSocket;
  if (found !== undefined) return found;
  const { WebSocket } = await import('ws');
  return WebSocket;
}

function secureWebSocket(WebSocket: WebSocketConstructor, tls: ClientTls): WebSocketConstructor {
  const { serverName, ...trust } = tls;
  const options = { ...trust, ...(serverName === undefined ? {} : { servername: serverName }) };
  const Wide = WebSocket as new (url: string, protocols?: readonly string[], options?: object) => WebSocketLike;
  return class extends Wide {
    constructor(url: string) {
      super(url, [], options);
    }
  };
}
