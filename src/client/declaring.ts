import type { Failure } from '../protocol/errors.ts';
import type {
  DeclarationBody,
  DeclarationQuery,
  ServiceDeclaration,
  ServiceSettings,
} from '../protocol/service-declaration.ts';
import type { InstanceInput, ServiceFields } from '../protocol/types.ts';
import { ConnectionLostError, RequestError } from './errors.ts';
import type { CallOptions } from './options.ts';

/** What a service is declared with. `instances`: all its persistent instances; without them those that it has stay. */
export interface Declaration extends ServiceFields, ServiceSettings {
  readonly instances?: readonly InstanceInput[];
}

/** `timeoutMs`: by default 10000. */
export interface DeclaringOptions extends CallOptions {
  /** Where the registry serves HTTP, for example `http://127.0.0.1:7071`. */
  readonly http: string;
}

/**
 * Declares a service, over HTTP: its settings replace those before, and `instances` all persistent instances that it had. Resolves to what it is declared with once that is
 * stored and applied. Rejects with a `RequestError`, with `storage_unavailable` if it cannot be stored, or, if the registry cannot be reached, with a `ConnectionLostError`.
 */
export function declareService(
  { service, ...body }: Declaration,
  options: DeclaringOptions,
): Promise<ServiceDeclaration> {
  return ask('PUT', service, {}, options, body);
}

/** What a service is declared with, and its persistent instances. Rejects with `not_found` if there is neither. */
export function readDeclaration(
  { service, ...query }: ServiceFields,
  options: DeclaringOptions,
): Promise<ServiceDeclaration> {
  return ask('GET', service, query, options);
}

/** Removes what a service is declared with, and all its persistent instances; resolves to them. */
export function withdrawDeclaration(
  { service, ...query }: ServiceFields,
  options: DeclaringOptions,
): Promise<ServiceDeclaration> {
  return ask('DELETE', service, query, options);
}

async function ask(
  method: 'GET' | 'PUT' | 'DELETE',
  service: string,
  query: DeclarationQuery,
  { http, signal, timeoutMs = 10_000 }: DeclaringOptions,
  body?: DeclarationBody,
): Promise<ServiceDeclaration> {
  const url = new URL(`/v1/services/${encodeURIComponent(service)}`, http);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value as string);
  const init = {
    method,
    signal: AbortSignal.any([AbortSignal.timeout(timeoutMs), ...(signal === undefined ? [] : [signal])]),
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  };
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (signal?.aborted === true) throw error;
    throw new ConnectionLostError(timeoutMs, error instanceof Error ? error.message : String(error));
  }
  const answer = (await response.json().catch(() => ({}))) as ServiceDeclaration | { readonly error?: Failure };
  if (response.ok && 'instances' in answer) return answer;
  const failure = 'error' in answer ? answer.error : undefined;
  throw new RequestError(failure ?? { code: 'internal', message: `the registry answered with ${response.status}` });
}
