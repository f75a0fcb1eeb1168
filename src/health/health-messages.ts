import type { ServerConfig } from '../config/config.ts';
import type { Health } from '../protocol/types.ts';
import type { CheckTarget, Standing, ToldCheck } from './check-core.ts';

// Everything that crosses between the main thread and the thread that makes checks.

export type CheckSettings = Pick<
  ServerConfig,
  'checkProbesMax' | 'checkTargets' | 'checkScripts' | 'checkLossMin' | 'checkLossPercent' | 'lossHoldMaxMs'
>;

export interface HealthThreadStart {
  readonly settings: CheckSettings;
  /** A `ThreadGauges`. */
  readonly gauges: SharedArrayBuffer;
}

export type ToHealthThread =
  /** `health`: how it was told last, by a life before of the thread. */
  | (ToldCheck & { readonly kind: 'put'; readonly target: CheckTarget; readonly health?: Health })
  | { readonly kind: 'drop'; readonly name: string }
  /** Whoever registered the instance has been heard. */
  | { readonly kind: 'hear'; readonly name: string }
  /** An operator releases what the guard holds. */
  | { readonly kind: 'release' };

/** What the thread tells after a step, if there is anything to tell. */
export interface HealthReport {
  readonly standings: readonly Standing[];
  /** Instances that have been critical for as long as they may. */
  readonly overdue: readonly ToldCheck[];
  readonly figures: CheckFigures;
}

export interface CheckFigures {
  /** Probes made by this life of the thread. */
  readonly probes: number;
  readonly failures: number;
  readonly underWay: number;
  readonly waiting: number;
  readonly isHolding: boolean;
  readonly heldCount: number;
}
