import { parseServiceKey } from '../protocol/service-key.ts';
import type { ListResult } from '../protocol/types.ts';
import { compareBytes } from '../store/byte-order.ts';

/** Keys and instance counts, alternating, in the order of the keys. */
type Listed = readonly (string | number)[];

/**
 * A page of `service.list` that partitions answer together. Each answer is merged as it comes, and what does not belong to the page is dropped: so it costs its
 * length for each partition, and nothing is sorted.
 */
export class ServicePage {
  readonly #size: number;
  #listed: Listed = [];

  constructor(size: number) {
    this.#size = size;
  }

  /** What a partition has; one more than the page has shows whether there is a next one. */
  add(listed: Listed): void {
    this.#listed = this.#listed.length === 0 ? listed : merge(this.#listed, listed, 2 * (this.#size + 1));
  }

  read(): ListResult {
    const listed = this.#listed;
    const end = Math.min(listed.length, 2 * this.#size);
    const services: ListResult['services'][number][] = [];
    for (let i = 0; i < end; i += 2) {
      services.push({ ...parseServiceKey(String(listed[i])), instances: Number(listed[i + 1]) });
    }
    const last = listed[end - 2];
    return listed.length > end && last !== undefined
      ? { services, cursor: Buffer.from(String(last)).toString('base64url') }
      : { services };
  }
}

/** Up to this many fields. */
function merge(a: Listed, b: Listed, length: number): Listed {
  const merged: (string | number)[] = [];
  for (let atA = 0, atB = 0; merged.length < length && (atA < a.length || atB < b.length);) {
    const isFromA = atB >= b.length || (atA < a.length && compareBytes(String(a[atA]), String(b[atB])) < 0);
    const [from, at] = isFromA ? [a, atA] : [b, atB];
    merged.push(from[at]!, from[at + 1]!);
    if (isFromA) atA += 2;
    else atB += 2;
  }
  return merged;
}
