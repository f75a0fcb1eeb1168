import type { DeregisterParams, ListParams, Methods, QueryParams, RegisterParams } from '../protocol/types.ts';

/** A request that is made for one call. */
export type ExchangeRequest =
  | { readonly method: 'service.query'; readonly params: QueryParams }
  | { readonly method: 'service.list'; readonly params: ListParams }
  /** What is stored is no more of the client's than what it reads. */
  | { readonly method: 'instance.register'; readonly params: RegisterParams }
  | { readonly method: 'instance.deregister'; readonly params: DeregisterParams }
  | KeyRequest;

/** A request about keys. */
export type KeyRequest = {
  [M in KeyMethod]: { readonly method: M; readonly params: Methods[M]['params'] };
}[KeyMethod];
export type KeyMethod = 'kv.get' | 'kv.put' | 'kv.delete' | 'kv.list' | 'kv.transact';

/**
 * Whether a request may be asked again whose answer is lost: it reads, or what it says is to be, and nobody else decides on that meanwhile. A change of a key is not: it might undo what
 * somebody has made of it in between.
 */
export function isRepeatable(request: ExchangeRequest): boolean {
  switch (request.method) {
    case 'service.query':
    case 'service.list':
    case 'instance.register':
    case 'instance.deregister':
    case 'kv.get':
    case 'kv.list':
      return true;
    case 'kv.transact':
      return request.params.operations.every(({ op }) => op === 'get' || op === 'check');
    case 'kv.put':
    case 'kv.delete':
      return false;
    default:
      return request satisfies never;
  }
}
