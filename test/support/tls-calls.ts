import { once } from 'node:events';
import { request } from 'node:https';
import { connect } from 'node:tls';
import type { ConnectionOptions, TLSSocket } from 'node:tls';

import { WebSocket } from 'ws';

/** How a client of a test trusts, and what it shows. */
export interface TlsCaller {
  readonly ca: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
}

export interface TlsReply {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** One request on a connection of its own. Rejects if there is no answer. */
export function callOverTls(
  url: string,
  caller: TlsCaller,
  options: { readonly method?: string } = {},
): Promise<TlsReply> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { ...caller, ...options, agent: false }, (response) => {
      let text = '';
      response.on('data', (part) => {
        text += String(part);
      });
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, text, headers: response.headers });
      });
      response.on('error', reject);
    });
    asked.on('error', reject);
    asked.end();
  });
}

/** Resolves once the WebSocket is open; rejects if it does not open. */
export async function openOverTls(url: string, caller: TlsCaller, origin?: string): Promise<WebSocket> {
  const page = origin === undefined ? {} : { origin };
  const socket = new WebSocket(url, { perMessageDeflate: false, ...caller, ...page });
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
  });
  return socket;
}

/** One request and its answer. */
export async function askOverTls(socket: WebSocket, method: string, params: object): Promise<unknown> {
  socket.send(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }));
  const [message] = (await once(socket, 'message')) as [Buffer];
  return (JSON.parse(message.toString()) as { readonly result?: unknown }).result;
}

/** Resolves after the handshake; rejects if it fails. With TLS 1.3 a server may still end the connection then, because of what the client has shown. */
export function shakeHands(port: number, options: ConnectionOptions): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ...options }, () => {
      resolve(socket);
    });
    socket.once('error', reject);
  });
}
