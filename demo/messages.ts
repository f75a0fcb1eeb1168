/** What a service tells the demo. Times are of the machine's monotonic clock, in milliseconds, so those of different processes compare. */
export type Report =
  | { readonly kind: 'ready'; readonly name: string; readonly port: number; readonly pid: number }
  /** The list of a service that this one calls has changed: the ids that it has now. */
  | { readonly kind: 'view'; readonly service: string; readonly ids: readonly string[]; readonly atMs: number }
  /** The first request was served. */
  | { readonly kind: 'served'; readonly atMs: number };

/** What a service is started with. */
export interface ServiceRole {
  /** Unique, such as `stock-2`. */
  readonly name: string;
  readonly service: string;
  /** The service that it calls for each request, if any. */
  readonly calls: string | undefined;
  readonly registry: string;
}

export function nowMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
