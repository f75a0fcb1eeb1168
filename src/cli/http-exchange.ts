import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';

export interface Exchange {
  readonly url: URL;
  readonly method: string;
  /** JSON. */
  readonly body?: object | undefined;
  readonly signal: AbortSignal;
  /** No more of the answer is read than this. */
  readonly bytesMax: number;
}

/**
 * One request over HTTP on a connection of its own. Not `fetch`: when it is aborted, it keeps connecting for ten seconds where nobody answers, and keeps the
 * process alive meanwhile.
 */
export function exchangeHttp({
  url,
  method,
  body,
  signal,
  bytesMax,
}: Exchange): Promise<{ status: number; text: string }> {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const headers =
    text === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
  const request = url.protocol === 'https:' ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const asked = request(url, { method, headers, signal, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      const finish = (): void => {
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
        asked.destroy();
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

/** An answer came, and it was none of HTTP; anything else that failed says nothing of who is there. */
export function isNoHttp(error: unknown): boolean {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code?.startsWith('HPE_') ?? false;
}
