import type { ServiceRecord } from '../slots/service-record.ts';

/** The instances of a service as a JSON array, joined from their fragments. */
export function encodeInstances(service: ServiceRecord): string {
  let text = '[';
  for (const fragment of service.fragments()) text += text.length > 1 ? `,${fragment}` : fragment;
  return `${text}]`;
}

/** `"put":[…],"remove":[…]`: for each id its present content, or its absence. Applying it twice, or from any state in between, ends the same. */
export function encodeDifference(service: ServiceRecord, ids: Iterable<string>): string {
  let put = '';
  let remove = '';
  for (const id of ids) {
    const fragment = service.fragmentOf(id);
    if (fragment === undefined) remove += remove === '' ? JSON.stringify(id) : `,${JSON.stringify(id)}`;
    else put += put === '' ? fragment : `,${fragment}`;
  }
  return `"put":[${put}],"remove":[${remove}]`;
}
