import type { ErrorCode, Failure } from '../protocol/errors.ts';
import { isSigningIn, noteUnauthorized, readToken } from './credentials.ts';

/** What the server refused, or that it cannot be reached. */
export class ApiError extends Error {
  /** Undefined: there was no answer. */
  readonly code: ErrorCode | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, code: ErrorCode | undefined, retryAfterMs?: number) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
    this.retryAfterMs = retryAfterMs;
  }
}

export type Parameters = Readonly<Record<string, string | number | boolean | undefined>>;

/** A path with its query. */
export function withQuery(path: string, parameters: Parameters): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, String(value));
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}

export interface CallOptions {
  readonly method?: 'GET' | 'PUT' | 'POST' | 'DELETE';
  readonly body?: object;
  readonly signal?: AbortSignal | undefined;
  /** To be tried: that it is refused is for whoever asked. `undefined`: nobody. By default that of whoever is signed in. */
  readonly token?: string | undefined;
}

/** Rejects with {@link ApiError}. */
export async function callApi<T>(path: string, options: CallOptions = {}): Promise<T> {
  const response = await request(path, options);
  return (await response.json()) as T;
}

export async function readText(path: string, signal?: AbortSignal): Promise<string> {
  return (await request(path, { signal })).text();
}

async function request(path: string, options: CallOptions): Promise<Response> {
  const { method = 'GET', body, signal } = options;
  const isTrial = 'token' in options;
  if (isSigningIn() && !isTrial) throw new ApiError('nobody is signed in', 'unauthorized');
  const token = isTrial ? options.token : readToken();
  const response = await fetch(path, {
    method,
    // What the browser remembers for this server is not to be shown, and it is not to ask on its own.
    credentials: 'omit',
    headers: {
      ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'Content-Type': 'application/json' }),
    },
    ...(signal === undefined ? {} : { signal }),
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  }).catch((error: unknown) => {
    throw new ApiError(`the registry cannot be reached: ${String(error)}`, undefined);
  });
  if (response.ok) return response;
  if (response.status === 401 && !isTrial) noteUnauthorized(token);
  const { error } = (await response.json().catch(() => ({}))) as { error?: Failure };
  throw new ApiError(error?.message ?? `HTTP ${response.status}`, error?.code, error?.retryAfterMs);
}

export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
