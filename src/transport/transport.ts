import type { Transferable } from 'node:worker_threads';

import type { CloseReason } from '../protocol/errors.ts';
import type { Delivery } from '../push/fan-out.ts';
import type { ClientCertificate } from '../tls/client-certificate.ts';
import type { TlsDoor } from './tls-door.ts';

/** What a session needs of its connection. Once closed, it does nothing. */
export interface Socket {
  /** Where the peer is, as text: an address without a port, which uWebSockets.js does not tell. */
  readonly address: string;
  /** `dropped`: the backlog is full, and the frame is not sent. */
  send(frame: string | Uint8Array): Delivery;
  /** Runs `send`s as one write to the kernel. */
  cork(sends: () => void): void;
  /** Pings with a payload that the pong brings back. Returns whether it was sent. */
  ping(mark: string): boolean;
  /** Sends a close frame with a code of the list and ends the connection; `onClose` has been called when it returns. */
  end(reason: CloseReason): void;
}

/** A request over HTTP on the port of sessions. Whatever it carries as a body is not looked at. */
export interface PlainRequest {
  readonly method: string;
  readonly path: string;
  /** Where it comes from. */
  readonly address: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** What a client has shown of who it is. Never logged. */
export interface ShownCredentials {
  /** The `Authorization` header of its handshake; empty if there was none. */
  readonly authorization: string;
  /** If it was asked for one; undefined: none that names anybody. */
  readonly certificate: ClientCertificate | undefined;
}

/** What a handshake asks for. */
export interface UpgradeCall {
  readonly path: string;
  readonly upgrade: string;
  readonly version: string;
  readonly key: string;
  readonly origin: string;
  /** The `Host` header; empty if there is none. */
  readonly host: string;
  readonly protocols: string;
  readonly address: string;
}

/** Whether a handshake is accepted, and with which subprotocol. */
export type UpgradeVerdict =
  | { readonly accept: true; readonly protocol: string }
  | { readonly accept: false; readonly answer: HttpAnswer };

/** What may be wrong with a request so that it is not even read. */
export type HeadFailure = 'malformed' | 'unknown method' | 'too large' | 'too slow';

/** `S`: represents a session; sockets only return it. */
export interface TransportOptions<S> {
  readonly frameBytesMax: number;
  readonly backlogBytesMax: number;
  readonly heartbeatTimeoutMs: number;
  /** Undefined: connections are in the clear. */
  readonly tls: TlsDoor | undefined;
  readonly judgeUpgrade: (call: UpgradeCall) => UpgradeVerdict;
  readonly onOpen: (socket: Socket, address: string, shown: ShownCredentials) => S;
  readonly onText: (session: S, text: string) => void;
  /** The peer pinged. */
  readonly onAlive: (session: S) => void;
  /** The peer answered a ping, with its payload. */
  readonly onPong: (session: S, payload: string) => void;
  readonly onDrain: (session: S) => void;
  /** `reason`: the server had closed it. */
  readonly onClose: (session: S, isClean: boolean, address: string, reason: CloseReason | undefined) => void;
  readonly countClose: (reason: CloseReason) => void;
  readonly refuseHead: (failure: HeadFailure) => HttpAnswer;
  /** Answers, in few bytes, what is no handshake. The connection ends with it. */
  readonly onRequest: (request: PlainRequest) => Promise<HttpAnswer>;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** By which another thread hands the connections that it accepts to a transport. */
export interface ConnectionTaker {
  readonly value: unknown;
  /** What moves with it when it is posted to that thread. */
  readonly transfer: readonly Transferable[];
}

/** Sockets: WebSocket connections on one port, and the few requests over HTTP that are answered there. Everything that it hands out is a copy. */
export interface Transport {
  readonly isListening: boolean;
  /** By which another thread's transport hands its connections to this one. */
  readonly taker: ConnectionTaker;
  /** Rejects when the port is in use, or the address is not this machine's. */
  listen(host: string, port: number): Promise<ListenAddress>;
  /** Takes no more connections for now: while they cannot be taken, those that wait would keep the thread awake without end. */
  pauseListening(): void;
  /** Rejects if it cannot: there are no descriptors, or somebody else has the port. */
  resumeListening(): Promise<void>;
  /** From now on connections go to another thread's transport, or to each of several; called before `listen`, with the value of its taker. */
  handTo(taker: unknown): void;
  /** Takes no more connections; those that are open stay. */
  stopListening(): void;
  /** Closes everything at once. */
  close(): void;
}

export type CreateTransport = <S>(options: TransportOptions<S>) => Transport;

/** So much above `frameBytesMax` a message still gets a close code that says why; larger ones just end the connection. No more than that: an unfinished message is kept for as long as its sender answers pings. */
export const frameExcessBytes = 65_536;

/** 1000 and 1001 are a client that leaves, 1005 one that leaves without a word; anything else is a broken connection. */
export function isCleanClose(code: number): boolean {
  return code === 1000 || code === 1001 || code === 1005;
}
