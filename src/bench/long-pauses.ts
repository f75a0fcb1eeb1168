import { get } from './registry-count.ts';
import type { HttpEndpoint } from './registry-count.ts';

/** Pauses for garbage collection beyond what a thread may have, since the server began. */
export interface LongPauses {
  /** Over 20 ms, on threads that hold sessions. */
  readonly sockets: number;
  /** Over 50 ms, on partitions. */
  readonly partitions: number;
}

const bounds: Readonly<Record<keyof LongPauses, string>> = { sockets: '0.02', partitions: '0.05' };
const bucket = /^slotcast_gc_duration_seconds_bucket\{thread="([^"]+)",kind="\w+",le="([^"]+)"\} (\d+)$/gm;

/** As `/metrics` counts them. */
export async function countLongPauses(endpoint: HttpEndpoint): Promise<LongPauses> {
  const all = { sockets: 0, partitions: 0 };
  for (const [, thread = '', bound, count] of (await get(endpoint, '/metrics')).matchAll(bucket)) {
    const kind = thread.startsWith('partition-') ? 'partitions' : 'sockets';
    if (bound === '+Inf') all[kind] += Number(count);
    if (bound === bounds[kind]) all[kind] -= Number(count);
  }
  return all;
}
