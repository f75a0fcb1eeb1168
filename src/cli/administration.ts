import { AdministrationError } from './exit-codes.ts';
import { readServers } from './registry.ts';
import type { RegistryOptions } from './registry.ts';

/** Administration is HTTP, on the port of the sessions. Only the first server is asked: it concerns one. The shape of the answer is the server's word. */
export async function askServer<T extends object>(
  options: RegistryOptions,
  method: string,
  path: string,
  body?: object,
): Promise<T> {
  const url = new URL(path, readServers(options)[0]?.replace(/^ws/, 'http'));
  let response: Response;
  try {
    response = await fetch(url, {
      method,
      signal: AbortSignal.timeout(options.timeoutMs),
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
    });
  } catch (error) {
    throw new AdministrationError(`cannot reach ${url.origin}`, { cause: error, isUnreachable: true });
  }
  const answer = (await response.json()) as T | { readonly error: { readonly code: string; readonly message: string } };
  if ('error' in answer) throw new AdministrationError(`${answer.error.code}: ${answer.error.message}`);
  return answer;
}
