import { Agent, request as requestHttp } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { Agent as SecureAgent, request as requestHttps } from 'node:https';
import type { ConnectionOptions } from 'node:tls';

import type { ClientTls } from '../client/index.ts';

export interface Exchange {
  readonly url: URL;
  readonly method: string;
  /** JSON. */
  readonly body?: object | undefined;
  readonly signal: AbortSignal;
  /** No more of the answer is read than this. */
  readonly bytesMax: number;
  /** Connections that are kept for further requests; without them each has one of its own. */
  readonly connections?: Connections | undefined;
  /** Whom to trust over TLS, and what to show. */
  readonly tls?: ClientTls | undefined;
  /** By which the caller is known. */
  readonly token?: string | undefined;
}

/** Connections to one server, which are kept between requests until they are closed. */
export class Connections {
  readonly #agents: readonly Agent[];
  readonly plain: Agent;
  readonly secure: SecureAgent;

  constructor(max: number, tls: ClientTls | undefined) {
    const options = { keepAlive: true, maxSockets: max };
    this.plain = new Agent(options);
    this.secure = new SecureAgent({ ...options, ...toTlsOptions(tls) });
    this.#agents = [this.plain, this.secure];
  }

  close(): void {
    for (const agent of this.#agents) agent.destroy();
  }
}

/**
 * One request over HTTP. Not `fetch`: when it is aborted, it keeps connecting for ten seconds where nobody answers, and keeps the
 * process alive meanwhile.
 */
export function exchangeHttp({
  url,
  method,
  body,
  signal,
  bytesMax,
  connections,
  tls,
  token,
}: Exchange): Promise<{ status: number; text: string; date: string | undefined }> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers = {
    ...toTokenHeader(token),
    ...(text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }),
  };
  const isSecure = url.protocol === 'https:';
  const request = isSecure ? requestHttps : requestHttp;
  const agent = connections === undefined ? false : isSecure ? connections.secure : connections.plain;
  return new Promise((resolve, reject) => {
    const asked = request(url, { ...toTlsOptions(tls), method, headers, signal, agent }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const finish = (): void => {
        resolve({
          status: response.statusCode ?? 0,
          text: Buffer.concat(chunks).toString(),
          date: response.headers.date,
        });
        if (connections === undefined || !response.complete) asked.destroy();
      };
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        chunks.push(chunk);
        if (bytes >= bytesMax) finish();
      });
      response.once('end', finish);
      response.once('error', reject);
    });
    asked.once('error', reject);
    asked.end(text);
  });
}

export interface Download {
  readonly url: URL;
  /** It fails if nothing comes for so long, in milliseconds. */
  readonly idleTimeoutMs: number;
  /** Whom to trust over TLS, and what to show. */
  readonly tls?: ClientTls | undefined;
  /** By which the caller is known. */
  readonly token?: string | undefined;
}

/** Asks for something that is too large to be held; resolves once its head is there. The caller reads the body, or destroys it. */
export function openHttp({ url, idleTimeoutMs, tls, token }: Download): Promise<IncomingMessage> {
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const options = { ...toTlsOptions(tls), headers: toTokenHeader(token), agent: false, timeout: idleTimeoutMs };
    const asked = request(url, options, resolve);
    asked.once('timeout', () => {
      asked.destroy(new Error(`nothing came for ${idleTimeoutMs} ms`));
    });
    asked.once('error', reject);
    asked.end();
  });
}

function toTokenHeader(token: string | undefined): Readonly<Record<string, string>> {
  return token === undefined ? {} : { Authorization: `Bearer ${token}` };
}

/** In the words of Node. */
function toTlsOptions({ serverName, ...trust }: ClientTls = {}): ConnectionOptions {
  return { ...trust, ...(serverName === undefined ? {} : { servername: serverName }) };
}

/** An answer came, and it was none of HTTP; anything else that failed says nothing of who is there. */
export function isNoHttp(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code?.startsWith('HPE_') ?? false;
}
