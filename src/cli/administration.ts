import { httpOperations } from '../protocol/http-operations.ts';
import type { OperationId } from '../protocol/http-operations.ts';
import { AdministrationError } from './exit-codes.ts';
import { exchangeHttp, isNoHttp } from './http-exchange.ts';
import { readServers } from './registry.ts';
import type { HttpOptions } from './registry.ts';
import { httpOrigin, StrangeServerError } from './server-identity.ts';

/** More than any answer of administration. */
const answerBytesMax = 64 * 1_048_576;

/**
 * Administration is HTTP, on a port that the first server's answer names if no option does. Only that server is asked: it concerns one. What a registry's answer
 * must have is looked for; the shape of the rest is its word, for it may be older or newer than this command.
 */
export async function askServer<T extends object>(
  options: HttpOptions,
  id: OperationId,
  input: Input = {},
): Promise<T> {
  const { result } = httpOperations[id];
  const [server = ''] = readServers(options);
  let base = options.http ?? httpOrigin(server);
  let reply = await ask(base, id, input, options.timeoutMs);
  if (options.http === undefined && reply.failure?.httpPort !== undefined) {
    // Nothing was carried out: this is the port of sessions.
    base = withPort(base, reply.failure.httpPort);
    reply = await ask(base, id, input, options.timeoutMs);
  }
  const { status, answer, failure } = reply;
  if (failure !== undefined) throw new AdministrationError(`${failure.code}: ${failure.message}`);
  const required = (result.required ?? []) as readonly string[];
  if (status !== 200 || answer === undefined || required.some((name) => !(name in answer))) {
    const { method, path } = httpOperations[id];
    throw new StrangeServerError(
      `${base} does not answer as a slotcast registry does: ${status} for ${method} ${path}`,
    );
  }
  return answer as T;
}

interface Input {
  readonly body?: object;
  readonly query?: Readonly<Record<string, string>>;
  /** What the path names, where it names something. */
  readonly service?: string;
}

interface Reply {
  readonly status: number;
  readonly answer: Record<string, unknown> | undefined;
  readonly failure:
    | { readonly code: string; readonly message: string; readonly httpPort: number | undefined }
    | undefined;
}

function withPort(origin: string, port: number): string {
  const url = new URL(origin);
  url.port = String(port);
  return url.origin;
}

/** `base`: a URL without a slash at its end. */
async function ask(base: string, id: OperationId, input: Input, timeoutMs: number): Promise<Reply> {
  const { body, query = {}, service = '' } = input;
  const { method, path } = httpOperations[id];
  const url = new URL(`${base}${path.replace('{service}', encodeURIComponent(service))}`);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const { status, text } = await exchangeHttp({ url, method, body, signal, bytesMax: answerBytesMax });
    const answer = readObject(text);
    return { status, answer, failure: readFailure(answer) };
  } catch (error) {
    if (isNoHttp(error)) {
      throw new StrangeServerError(`${base} is not a slotcast registry: it does not speak HTTP`, { cause: error });
    }
    const { code, message } = error as NodeJS.ErrnoException;
    const why = signal.aborted ? `no answer within ${timeoutMs} ms` : (code ?? message);
    throw new AdministrationError(`cannot reach ${base}: ${why}`, { cause: error, isUnreachable: true });
  }
}

function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function readFailure(answer: Record<string, unknown> | undefined): Reply['failure'] {
  const { code, message, httpPort } = (answer?.['error'] ?? {}) as Record<string, unknown>;
  if (typeof code !== 'string' || typeof message !== 'string') return undefined;
  const isPort = typeof httpPort === 'number' && Number.isInteger(httpPort) && httpPort > 0 && httpPort <= 65_535;
  return { code, message, httpPort: isPort ? httpPort : undefined };
}
