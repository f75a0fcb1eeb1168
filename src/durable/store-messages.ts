import type { MessagePort } from 'node:worker_threads';

import type { ServerConfig } from '../config/config.ts';
import type { StoreLimits, StoreState } from './store-core.ts';
import type { StoreDamage } from './store-file.ts';

/** What the store's thread is started with. */
export interface StoreThreadStart {
  /** Where rows are kept; undefined: in memory. */
  readonly folder: string | undefined;
  readonly limits: StoreLimits & Pick<ServerConfig, 'storeBytesMax'>;
  /** Of {@link StoreVersion}. */
  readonly storeVersion: SharedArrayBuffer;
  /** Of {@link StoreGauges}, and of the thread. */
  readonly storeGauges: SharedArrayBuffer;
  readonly threadGauges: SharedArrayBuffer;
}

/** What the main thread says to the store's. Requests come through the ports. */
export type ToStoreThread =
  /** A caller comes. `partition`: which it is, if it is one; an earlier caller of the same partition has ended. */
  | { readonly kind: 'attach'; readonly partition: number | undefined; readonly port: MessagePort }
  /** Carry out what has come, and end. */
  | { readonly kind: 'end' }
  /** For tests: fail, as a bug would make it. */
  | { readonly kind: 'fault' };

/** What the store's thread says to the main thread. */
export type FromStoreThread =
  /** It takes requests, whether or not it can store anything. */
  | { readonly kind: 'ready' }
  | { readonly kind: 'state'; readonly state: StoreState }
  | { readonly kind: 'damage'; readonly damage: StoreDamage }
  /** It cannot be used by this version, and ends. */
  | { readonly kind: 'unusable'; readonly message: string };
