import type { IncomingMessage } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';

import type { ClientTls } from '../client/index.ts';
import { httpOperations } from '../protocol/http-operations.ts';
import type { OperationId } from '../protocol/http-operations.ts';
import { AdministrationError } from './exit-codes.ts';
import { Connections, exchangeHttp, isNoHttp, openHttp } from './http-exchange.ts';
import type { HttpOptions } from './registry.ts';
import { hintAtTls, httpOrigin, StrangeServerError } from './server-identity.ts';
import { readServers, readTls } from './tls-options.ts';
import { readToken } from './token-option.ts';

/** More than any answer of administration. */
const answerBytesMax = 64 * 1_048_576;
const refusalCharactersMax = 65_536;
/** How long a registry that says `busy` is asked again, and how soon if it does not say, in milliseconds. */
const busyMaxMs = 60_000;
const busyDelayMs = 100;

/** One request to the registry, and what is needed to name it. */
export interface RegistryRequest extends Input {
  readonly method: string;
  /** Percent-encoded where it has to be. */
  readonly path: string;
}

/**
 * Requests to one registry. They are HTTP, on a port that the first server's answer names if no option does. Only that server is asked: it concerns one.
 */
export class RegistryCalls {
  readonly #timeoutMs: number;
  readonly #tls: ClientTls | undefined;
  readonly #token: string | undefined;
  readonly #connections: Connections | undefined;
  readonly #isGiven: boolean;
  #base: string;

  /** `connections`: so many are kept for further requests; by default none. */
  constructor(options: HttpOptions, connections = 0) {
    const [server = ''] = readServers(options);
    this.#timeoutMs = options.timeoutMs;
    this.#tls = readTls(options);
    this.#token = readToken(options);
    this.#connections = connections === 0 ? undefined : new Connections(connections, this.#tls);
    this.#isGiven = options.http !== undefined;
    this.#base = options.http ?? httpOrigin(server);
  }

  /** A URL without a slash at its end. */
  get base(): string {
    return this.#base;
  }

  async ask(request: RegistryRequest): Promise<Reply> {
    const reply = await this.#exchange(request);
    if (this.#isGiven || reply.failure?.httpPort === undefined) return reply;
    // Nothing was carried out: this is the port of sessions.
    this.#base = withPort(this.#base, reply.failure.httpPort);
    return await this.#exchange(request);
  }

  /** Asks again while the registry is busy, for a minute. */
  async askPatiently(request: RegistryRequest): Promise<Reply> {
    const untilMs = performance.now() + busyMaxMs;
    for (;;) {
      const reply = await this.ask(request);
      if (reply.failure?.code !== 'busy' || performance.now() >= untilMs) return reply;
      await delay(reply.failure.retryAfterMs ?? busyDelayMs);
    }
  }

  /** Asks for what is too large to be held. Rejects if it is refused. */
  async download(path: string): Promise<IncomingMessage> {
    const first = await this.#open(path);
    if (first.statusCode === 200) return first;
    const failure = readFailure(readObject(await readText(first)));
    if (this.#isGiven || failure?.httpPort === undefined) throw this.#describeRefusal(path, first, failure);
    this.#base = withPort(this.#base, failure.httpPort);
    const second = await this.#open(path);
    if (second.statusCode === 200) return second;
    throw this.#describeRefusal(path, second, readFailure(readObject(await readText(second))));
  }

  close(): void {
    this.#connections?.close();
  }

  #describeRefusal(path: string, { statusCode = 0 }: IncomingMessage, failure: RegistryFailure | undefined): Error {
    return failure === undefined
      ? describeStranger(this.#base, statusCode, { method: 'GET', path })
      : AdministrationError.ofRefusal(failure);
  }

  async #open(path: string): Promise<IncomingMessage> {
    try {
      return await openHttp({
        url: new URL(`${this.#base}${path}`),
        idleTimeoutMs: this.#timeoutMs,
        tls: this.#tls,
        token: this.#token,
      });
    } catch (error) {
      throw describeNoAnswer(this.#base, error, undefined);
    }
  }

  async #exchange({ method, path, body, query = {} }: RegistryRequest): Promise<Reply> {
    const url = new URL(`${this.#base}${path}`);
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    const signal = AbortSignal.timeout(this.#timeoutMs);
    try {
      const exchange = {
        url,
        method,
        body,
        signal,
        bytesMax: answerBytesMax,
        connections: this.#connections,
        tls: this.#tls,
        token: this.#token,
      };
      const { status, text, date } = await exchangeHttp(exchange);
      const answer = readObject(text);
      return { status, answer, failure: readFailure(answer), text, date };
    } catch (error) {
      throw describeNoAnswer(this.#base, error, signal.aborted ? this.#timeoutMs : undefined);
    }
  }
}

/** `timeoutMs`: nothing came within so long. */
function describeNoAnswer(base: string, error: unknown, timeoutMs: number | undefined): Error {
  if (isNoHttp(error)) {
    return new StrangeServerError(`${base} is not a slotcast registry: it does not speak HTTP`, { cause: error });
  }
  const { code, message } = error as NodeJS.ErrnoException;
  const why =
    timeoutMs === undefined ? (code ?? message) + hintAtTls(base, message) : `no answer within ${timeoutMs} ms`;
  return new AdministrationError(`cannot reach ${base}: ${why}`, { cause: error, isUnreachable: true });
}

/** Asks for one operation. What a registry's answer must have is looked for; the shape of the rest is its word, for it may be older or newer than this command. */
export async function askServer<T extends object>(
  options: HttpOptions,
  id: OperationId,
  { service = '', ...input }: OperationInput = {},
): Promise<T> {
  const { method, path: pattern } = httpOperations[id];
  const request = { method, path: pattern.replace('{service}', encodeURIComponent(service)), ...input };
  const calls = new RegistryCalls(options);
  return readAnswer(await calls.ask(request), { base: calls.base, id, request }) as T;
}

interface Asked {
  readonly base: string;
  readonly id: OperationId;
  readonly request: RegistryRequest;
}

/** What a reply has of the result of an operation. Throws if it was refused, or comes from no registry. */
export function readAnswer({ status, answer, failure }: Reply, { base, id, request }: Asked): object {
  if (failure !== undefined) throw AdministrationError.ofRefusal(failure);
  const required = (httpOperations[id].result.required ?? []) as readonly string[];
  if (status !== 200 || answer === undefined || required.some((name) => !(name in answer)))
    throw describeStranger(base, status, request);
  return answer;
}

export function describeStranger(base: string, status: number, { method, path }: RegistryRequest): StrangeServerError {
  return new StrangeServerError(`${base} does not answer as a slotcast registry does: ${status} for ${method} ${path}`);
}

interface Input {
  readonly body?: object;
  readonly query?: Readonly<Record<string, string>>;
}

interface OperationInput extends Input {
  /** What the path names, where it names something. */
  readonly service?: string;
}

export interface Reply {
  readonly status: number;
  readonly answer: Record<string, unknown> | undefined;
  readonly failure: RegistryFailure | undefined;
  readonly text: string;
  /** The header of this name. */
  readonly date: string | undefined;
}

/** A refusal of a registry, as far as it is understood. */
export interface RegistryFailure {
  readonly code: string;
  readonly message: string;
  readonly httpPort: number | undefined;
  readonly retryAfterMs: number | undefined;
}

/** What refuses something is short. */
async function readText(body: IncomingMessage): Promise<string> {
  let text = '';
  for await (const part of body.setEncoding('utf8')) {
    text += String(part);
    if (text.length > refusalCharactersMax) break;
  }
  return text;
}

function withPort(origin: string, port: number): string {
  const url = new URL(origin);
  url.port = String(port);
  return url.origin;
}

function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function readFailure(answer: Record<string, unknown> | undefined): RegistryFailure | undefined {
  const { code, message, httpPort, retryAfterMs } = (answer?.['error'] ?? {}) as Record<string, unknown>;
  if (typeof code !== 'string' || typeof message !== 'string') return undefined;
  const isPort = typeof httpPort === 'number' && Number.isInteger(httpPort) && httpPort > 0 && httpPort <= 65_535;
  return {
    code,
    message,
    httpPort: isPort ? httpPort : undefined,
    retryAfterMs: typeof retryAfterMs === 'number' && retryAfterMs >= 0 ? retryAfterMs : undefined,
  };
}
