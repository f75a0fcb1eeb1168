import type { Failure } from '../protocol/errors.ts';
import type { SessionsQuery, SessionsResult } from '../protocol/http-operations.ts';
import type { LeaseAnswer, LeaseCall } from '../sessions/leases.ts';
import type { GuardState } from './administration.ts';
import type { HealthCheck, HealthState } from './health.ts';

/** A change of the slot table: why it did not start, or how far it has come right after it did. */
export type ChangeStart = { readonly failure: Failure } | { readonly description: Record<string, unknown> };

/** What threads with sockets ask of the main thread, for callers over HTTP: what concerns the whole registry, and what another host holds. */
export interface MainCalls {
  checkHealth(check: HealthCheck): Promise<HealthState>;
  /** Where HTTP is served, as a URL; undefined: nowhere. */
  readHttpUrl(): Promise<string | undefined>;
  readStats(): Promise<Record<string, unknown>>;
  readMetrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  describePartitions(): Promise<Record<string, unknown>>;
  /** Starts to raise or lower the number of partitions. */
  resize(partitions: number): Promise<ChangeStart>;
  rebalance(): Promise<ChangeStart>;
  describeGuard(): Promise<GuardState>;
  releaseGuard(key: string | undefined): Promise<void>;
  /** Resolves to how many sessions were asked to connect anew. */
  requestReconnect(percent: number, spreadMs: number | undefined): Promise<number>;
  listSessions(query: SessionsQuery): Promise<SessionsResult>;
  /** Whichever host holds the lease carries it out. */
  carryOutLease(call: LeaseCall): Promise<LeaseAnswer>;
}
