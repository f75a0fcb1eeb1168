import type { ServiceRecord } from '../store/service-record.ts';
import type { FilterView } from './filter-view.ts';

/** Of an empty list that no operator has closed. */
export const emptyList = '"instances":[]';
export const emptyDifference = '"put":[],"remove":[]';

/** `"instances":[…]`: the instances of a service, or some of them, joined from their fragments; of a service that an operator has closed `"closed":true` follows. */
export function encodeList(service: ServiceRecord, ids?: Iterable<string>): string {
  let text = '';
  if (ids === undefined) {
    for (const fragment of service.fragments()) text += text === '' ? fragment : `,${fragment}`;
  } else {
    for (const id of ids) {
      const fragment = service.fragmentOf(id);
      if (fragment !== undefined) text += text === '' ? fragment : `,${fragment}`;
    }
  }
  return `"instances":[${text}]${encodeClosed(service.isClosed)}`;
}

/**
 * `"put":[…],"remove":[…]`, and of a service that an operator has closed `"closed":true`: for each id its present content, or its absence from the service or the view. Applying it twice, or from any
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
  return `"put":[${put}],"remove":[${remove}]${encodeClosed(service.isClosed)}`;
}

const closedField = ',"closed":true';

/** A field that follows others. */
export function encodeClosed(isClosed: boolean): string {
  return isClosed ? closedField : '';
}

/** Whether a list or a difference says that an operator has closed the service. */
export function saysClosed(body: string): boolean {
  return body.endsWith(closedField);
}
