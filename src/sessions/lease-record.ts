/** What is needed to grant a lease again after its thread has ended. `number` and `name` are those of its session. */
export interface LeaseRecord {
  readonly number: number;
  readonly name: string;
  readonly lease: string;
  /** In milliseconds. */
  readonly ttlMs: number;
  /** It has tried to acquire a key. */
  readonly mayHold: boolean;
  /** Of the caller to whom it was granted. */
  readonly address: string;
}

/** What a host reports about its leases. */
export type LeaseNews =
  | { readonly kind: 'granted'; readonly record: LeaseRecord }
  /** `number`: of its session. */
  | { readonly kind: 'ended'; readonly number: number };
