import { existsSync } from 'node:fs';
import { request } from 'node:http';

import { sessionPath } from '../protocol/limits.ts';
import { endChild, startChild } from './child.ts';
import { SetupError, UsageError } from './failures.ts';
import type { HttpEndpoint } from './registry-count.ts';
import type { Endpoint } from './session-socket.ts';

/** What the server process reports to its parent. */
export type ServerReport =
  | {
      readonly kind: 'listening';
      readonly url: string;
      readonly httpPort: number | undefined;
      readonly partitions: number;
    }
  | { readonly kind: 'failed'; readonly message: string };

/** The server under test, started for it or found. */
export interface BenchServer {
  readonly endpoint: Endpoint;
  /** Where it is asked over HTTP. */
  readonly http: HttpEndpoint;
  readonly url: string;
  readonly isOurs: boolean;
  /** Undefined: it is not on this machine, or nobody said which process it is. */
  readonly pid: number | undefined;
  readonly partitions: number | undefined;
  /** Rejects when the server ends while it is needed. */
  readonly died: Promise<never>;
  stop(): Promise<void>;
}

const startTimeoutMs = 20_000;

export async function startBenchServer(
  settings: Readonly<Record<string, unknown>>,
  cores: string | undefined,
): Promise<BenchServer> {
  const child = startChild('server-process.js', [JSON.stringify(settings)], cores);
  const report = await new Promise<ServerReport>((resolve, reject) => {
    const timer = setTimeout(() => reject(new SetupError('the server did not start in time')), startTimeoutMs);
    child.once('message', (message) => {
      clearTimeout(timer);
      resolve(message as ServerReport);
    });
    child.once('exit', () => {
      clearTimeout(timer);
      reject(new SetupError('the server ended before it listened'));
    });
  });
  if (report.kind === 'failed') throw new UsageError(report.message);
  const died = new Promise<never>((_, reject) => {
    child.once('exit', (code, signal) => reject(new SetupError(`the server ended: ${signal ?? `code ${code}`}`)));
  });
  died.catch(() => {});
  const endpoint = readEndpoint(report.url);
  return {
    endpoint,
    http: { host: endpoint.host, port: report.httpPort ?? endpoint.port },
    url: report.url,
    isOurs: true,
    pid: child.pid,
    partitions: report.partitions,
    died,
    stop: () => endChild(child),
  };
}

/** A server that runs already. */
export async function findBenchServer(url: string, pid: number | undefined): Promise<BenchServer> {
  const endpoint = readEndpoint(url);
  if (pid !== undefined && !isLoopback(endpoint))
    throw new UsageError(`--pid is for a server on this machine, and ${endpoint.host} may be another`);
  if (pid !== undefined && !existsSync(`/proc/${pid}/stat`)) throw new UsageError(`--pid: there is no process ${pid}`);
  return {
    endpoint,
    http: await findHttp(endpoint),
    url,
    isOurs: false,
    pid,
    partitions: undefined,
    died: new Promise<never>(() => {}),
    stop: () => Promise.resolve(),
  };
}

function readEndpoint(text: string): Endpoint {
  let url: URL;
  try {
    url = new URL(text);
  } catch (error) {
    throw new UsageError(`--url must be like ws://127.0.0.1:7070, not ${text}`, { cause: error });
  }
  if (url.protocol !== 'ws:') throw new UsageError(`--url must begin with ws://, not ${url.protocol}//`);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const port = url.port === '' ? 80 : Number(url.port);
  return { host, port, path: url.pathname === '/' ? sessionPath : url.pathname };
}

/** Whether somebody answers there at all, and where that one serves HTTP; what it is shows itself with the first session. */
function findHttp({ host, port }: Endpoint): Promise<HttpEndpoint> {
  return new Promise((resolve, reject) => {
    const asked = request({ host, port, path: '/v1/stats', timeout: 5000 }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.once('close', () => {
        resolve({ host, port: readHttpPort(Buffer.concat(parts).toString()) ?? port });
      });
    });
    const fail = (reason: string): void => {
      reject(new SetupError(`no server answers at ${host}:${port}: ${reason}`, true));
    };
    asked.once('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
    asked.once('timeout', () => {
      fail('timeout');
      asked.destroy();
    });
    asked.end();
  });
}

/** As the port of sessions says; undefined: it answers itself, or is no registry of ours. */
function readHttpPort(body: string): number | undefined {
  try {
    const { error } = JSON.parse(body) as { readonly error?: { readonly httpPort?: number } };
    return error?.httpPort;
  } catch {
    return undefined;
  }
}

function isLoopback({ host }: Endpoint): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.');
}
