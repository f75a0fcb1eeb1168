import type { ErrorCode } from '../protocol/errors.ts';

/** What the server refused, or that it cannot be reached. */
export class ApiError extends Error {
  /** Undefined: there was no answer. */
  readonly code: ErrorCode | undefined;

  constructor(message: string, code: ErrorCode | undefined) {
    super(message);
    this.name = 'ApiError';
    this.code = code;
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
}

/** Rejects with {@link ApiError}. */
export async function callApi<T>(path: string, options: CallOptions = {}): Promise<T> {
  const response = await request(path, options);
  return (await response.json()) as T;
}

export async function readText(path: string, signal?: AbortSignal): Promise<string> {
  return (await request(path, { signal })).text();
}

async function request(path: string, { method = 'GET', body, signal }: CallOptions): Promise<Response> {
  const response = await fetch(path, {
    method,
    ...(signal === undefined ? {} : { signal }),
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
  }).catch((error: unknown) => {
    throw new ApiError(`the registry cannot be reached: ${String(error)}`, undefined);
  });
  if (response.ok) return response;
  const answer = (await response.json().catch(() => ({}))) as { error?: { code: ErrorCode; message: string } };
  throw new ApiError(answer.error?.message ?? `HTTP ${response.status}`, answer.error?.code);
}

export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
