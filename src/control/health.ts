import type { StoreSummary } from '../protocol/http-results.ts';

export type HealthCheck = 'live' | 'started' | 'ready';

/** How a check went. `waitingFor`: partitions that are not ready yet; a live process need not have any. */
export interface HealthState {
  readonly isHealthy: boolean;
  readonly status: 'live' | 'started' | 'ready' | 'starting' | 'warming' | 'draining';
  readonly waitingFor?: readonly number[];
  /** Readiness does not depend on it: while nothing can be stored, everything else goes on. */
  readonly store?: StoreSummary;
}

/** What a health check asks of the registry. */
export interface HealthSource {
  /** Partitions that are not ready yet. */
  readonly waitingFor: readonly number[];
  readonly isDraining: boolean;
  /** Those who were there before the start are still coming back. */
  readonly isWarming: boolean;
  readonly store: StoreSummary;
}

export function checkHealth(check: HealthCheck, source: HealthSource): HealthState {
  switch (check) {
    case 'live':
      return { isHealthy: true, status: 'live' };
    case 'started':
      // Whether clients may come: what lets them in must not wait for them to be back.
      return describe('started', source);
    case 'ready':
      // Whether lists may be read: not while they may lack some who are still coming back (PU5).
      return describe(source.isWarming ? 'warming' : 'ready', source);
    default:
      return check satisfies never;
  }
}

function describe(
  otherwise: 'started' | 'ready' | 'warming',
  { waitingFor, isDraining, store }: HealthSource,
): HealthState {
  const status = isDraining ? 'draining' : waitingFor.length > 0 ? 'starting' : otherwise;
  return { isHealthy: status === 'started' || status === 'ready', status, waitingFor, store };
}
