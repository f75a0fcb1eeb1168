import type { ServiceRecord } from '../store/service-record.ts';
import type { FilterView } from './filter-view.ts';

/** The instances of a service, or some of them, as a JSON array, joined from their fragments. */
export function encodeInstances(service: ServiceRecord, ids?: Iterable<string>): string {
  let text = '[';
  if (ids === undefined) {
    for (const fragment of service.fragments()) text += text.length > 1 ? `,${fragment}` : fragment;
  } else {
    for (const id of ids) {
      const fragment = service.fragmentOf(id);
      if (fragment !== undefined) text += text.length > 1 ? `,${fragment}` : fragment;
    }
  }
  return `${text}]`;
}

/**
 * `"put":[…],"remove":[…]`: for each id its present content, or its absence from the service or the view. Applying it twice, or from any
 * state in between, ends the same.
 */
export function encodeDifference(service: ServiceRecord, ids: Iterable<string>, view?: FilterView): string {
  let put = '';
  let remove = '';
  for (const id of ids) {
    const fragment = view === undefined || view.has(id) ? service.fragmentOf(id) : undefined;
    if (fragment === undefined) remove += remove === '' ? JSON.stringify(id) : `,${JSON.stringify(id)}`;
    else put += put === '' ? fragment : `,${fragment}`;
  }
  return `"put":[${put}],"remove":[${remove}]`;
}
