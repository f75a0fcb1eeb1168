import { serviceKey } from '../protocol/service-key.ts';
import type { ListResult } from '../protocol/types.ts';
import { callApi, withQuery } from './api.ts';

/** Names that are kept; of more, those are found whose names begin with what is looked for. */
export const namesMax = 200_000;
const pageSize = 1000;

/** The services that there are, as keys, with how many instances each has. */
export interface ServiceNames {
  readonly keys: readonly string[];
  /** In lower case, to be searched. */
  readonly searched: readonly string[];
  readonly instances: readonly number[];
  /** There are more than are kept. */
  readonly hasMore: boolean;
}

export const noNames: ServiceNames = { keys: [], searched: [], instances: [], hasMore: false };

/** Reads all pages; `onPage` sees what there is so far. */
export async function readNames(onPage: (names: ServiceNames) => void, signal: AbortSignal): Promise<ServiceNames> {
  const keys: string[] = [];
  const searched: string[] = [];
  const instances: number[] = [];
  let cursor: string | undefined;
  do {
    const page = await callApi<ListResult>(withQuery('/v1/services', { limit: pageSize, cursor }), { signal });
    for (const service of page.services) {
      const key = serviceKey(service);
      keys.push(key);
      searched.push(key.toLowerCase());
      instances.push(service.instances);
    }
    ({ cursor } = page);
    onPage({ keys, searched, instances, hasMore: cursor !== undefined });
  } while (cursor !== undefined && keys.length < namesMax);
  return { keys, searched, instances, hasMore: cursor !== undefined };
}

/** The places of names that hold all words of a query, in order */
export function searchNames(names: ServiceNames, query: string): readonly number[] | undefined {
  const words = query
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  if (words.length === 0) return undefined;
  const found: number[] = [];
  for (const [place, name] of names.searched.entries()) {
    if (words.every((word) => name.includes(word))) found.push(place);
  }
  return found;
}
