import { httpOperations } from '../protocol/http-operations.ts';
import type { OperationId } from '../protocol/http-operations.ts';
import { AdministrationError } from './exit-codes.ts';
import { exchangeHttp, isNoHttp } from './http-exchange.ts';
import { readServers } from './registry.ts';
import type { RegistryOptions } from './registry.ts';
import { httpOrigin, StrangeServerError } from './server-identity.ts';

/** More than any answer of administration. */
const answerBytesMax = 64 * 1_048_576;

/**
 * Administration is HTTP, on the port of the sessions. Only the first server is asked: it concerns one. What a registry's answer must have is looked for; the
 * shape of the rest is its word, for it may be older or newer than this command.
 */
export async function askServer<T extends object>(
  options: RegistryOptions,
  id: OperationId,
  input: { readonly body?: object; readonly query?: Readonly<Record<string, string>> } = {},
): Promise<T> {
  const { method, path, result } = httpOperations[id];
  const [server = ''] = readServers(options);
  const origin = httpOrigin(server);
  const url = new URL(path, origin);
  for (const [name, value] of Object.entries(input.query ?? {})) url.searchParams.set(name, value);
  const { status, text } = await ask(url, method, options.timeoutMs, input.body);
  const answer = readObject(text);
  const failure = readFailure(answer);
  if (failure !== undefined) throw new AdministrationError(`${failure.code}: ${failure.message}`);
  const required = (result.required ?? []) as readonly string[];
  if (status !== 200 || answer === undefined || required.some((name) => !(name in answer))) {
    throw new StrangeServerError(
      `${origin} does not answer as a slotcast registry does: ${status} for ${method} ${path}`,
    );
  }
  return answer as T;
}

async function ask(
  url: URL,
  method: string,
  timeoutMs: number,
  body: object | undefined,
): Promise<{ status: number; text: string }> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await exchangeHttp({ url, method, body, signal, bytesMax: answerBytesMax });
  } catch (error) {
    if (isNoHttp(error)) {
      throw new StrangeServerError(`${url.origin} is not a slotcast registry: it does not speak HTTP`, {
        cause: error,
      });
    }
    const { code, message } = error as NodeJS.ErrnoException;
    const why = signal.aborted ? `no answer within ${timeoutMs} ms` : (code ?? message);
    throw new AdministrationError(`cannot reach ${url.origin}: ${why}`, { cause: error, isUnreachable: true });
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

function readFailure(answer: Record<string, unknown> | undefined): { code: string; message: string } | undefined {
  const { code, message } = (answer?.['error'] ?? {}) as Record<string, unknown>;
  return typeof code === 'string' && typeof message === 'string' ? { code, message } : undefined;
}
