import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';

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
  /** Kills its process as a crash would, and starts another with the same settings, on the same ports; undefined: it is not ours. Resolves when that listens. */
  readonly restart: (() => Promise<void>) | undefined;
  stop(): Promise<void>;
}

const startTimeoutMs = 60_000;

function ignore(): void {
  // Until somebody is there to hear.
}

/** Settings that it does not name are those of the suite. With `dataDir: 'temporary'` it gets a folder of its own, which goes with it. */
export async function startBenchServer(
  wanted: Readonly<Record<string, unknown>>,
  cores: string | undefined,
): Promise<BenchServer> {
  const folder = wanted['dataDir'] === 'temporary' ? mkdtempSync(path.join(tmpdir(), 'slotcast-bench-')) : undefined;
  const settings = folder === undefined ? wanted : { ...wanted, dataDir: folder };
  const first = await startServerProcess(settings, cores);
  const { url, httpPort, partitions } = first.report;
  const endpoint = readEndpoint(url);
  const http = { host: endpoint.host, port: httpPort ?? endpoint.port };
  let rejectDied: (error: Error) => void = ignore;
  const died = new Promise<never>((_, reject) => {
    rejectDied = reject;
  });
  died.catch(() => {});
  /** Undefined: it has been killed, and the next has not begun. */
  let child: ChildProcess | undefined;
  const adopt = (begun: ChildProcess): void => {
    child = begun;
    begun.once('exit', (code, signal) => {
      if (begun === child) rejectDied(new SetupError(`the server ended: ${signal ?? `code ${code}`}`));
    });
  };
  adopt(first.child);
  return {
    endpoint,
    http,
    url,
    isOurs: true,
    get pid() {
      return child?.pid;
    },
    partitions,
    died,
    restart: async () => {
      const killed = child;
      child = undefined;
      if (killed !== undefined) await endChild(killed);
      const next = await startServerProcess({ ...settings, port: endpoint.port, httpPort: http.port }, cores);
      adopt(next.child);
    },
    stop: async () => {
      if (child !== undefined) await endChild(child);
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

interface ServerProcess {
  readonly child: ChildProcess;
  readonly report: Extract<ServerReport, { readonly kind: 'listening' }>;
}

async function startServerProcess(
  settings: Readonly<Record<string, unknown>>,
  cores: string | undefined,
): Promise<ServerProcess> {
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
  return { child, report };
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
    restart: undefined,
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
