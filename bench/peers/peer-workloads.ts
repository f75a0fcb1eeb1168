import type { Target } from '../load/connection.ts';
import type { Usage } from '../load/workloads.ts';
import type { PeerName } from './driver.ts';

/** What the parent asks of the load process. */
export type PeerWorkload =
  | {
      readonly kind: 'register';
      readonly clients: number;
      /** Registrations that each client has under way at a time. */
      readonly inFlight: number;
      readonly warmUpMs: number;
      readonly measureMs: number;
    }
  | { readonly kind: 'fanOut'; readonly watchers: number; readonly changes: number; readonly pauseMs: number }
  | { readonly kind: 'memory'; readonly clients: number; readonly instances: number; readonly settleMs: number };

export type PeerOutcome =
  | { readonly kind: 'register'; readonly usage: Usage; readonly acks: number }
  /** `toLastMs`: of each change, from asking for it to the last watcher having been told. */
  | { readonly kind: 'fanOut'; readonly usage: Usage; readonly changes: number; readonly toLastMs: readonly number[] }
  | { readonly kind: 'memory'; readonly bytesEach: number; readonly rssBytes: number };

export interface PeerRequest {
  readonly peer: PeerName;
  readonly target: Target;
  readonly workload: PeerWorkload;
}

export type PeerReply =
  | { readonly kind: 'outcome'; readonly outcome: PeerOutcome }
  | { readonly kind: 'failure'; readonly message: string };
