import type { BackupPart } from '../durable/commits.ts';
import type { Actor } from '../protocol/actor.ts';
import type { ChecksQuery, ChecksResult } from '../protocol/checks.ts';
import type { Failure } from '../protocol/errors.ts';
import type {
  RemoveInstanceBody,
  SendAwayResult,
  ServiceInspectionQuery,
  SessionInspectionQuery,
  SessionsQuery,
} from '../protocol/http-operations.ts';
import type {
  GuardResult,
  PartitionsResult,
  RemovalResult,
  ServiceInspection,
  SessionInspection,
  SessionsResult,
  SlotsResult,
  Stats,
} from '../protocol/http-results.ts';
import type { DeclarationList, DeclarationListQuery } from '../protocol/service-declaration.ts';
import type { CounterSnapshot } from '../runtime/counters.ts';
import type { LeaseAnswer, LeaseCall } from '../sessions/leases.ts';
import type { PersistentCalls } from '../sessions/persistent-session.ts';
import type { AccessCalls } from './access-control.ts';
import type { HealthCheck, HealthState } from './health.ts';
import type { DeclarationCalls } from './persistent-services.ts';
import type { SwitchCalls } from './switches.ts';

/** A change of the slot table: why it did not start, or how far it has come right after it did. */
export type ChangeStart = { readonly failure: Failure } | { readonly description: PartitionsResult };

/** What threads with sockets ask of the main thread, for callers over HTTP: what concerns the whole registry, and what another host holds. */
export interface MainCalls extends PersistentCalls, DeclarationCalls, SwitchCalls, AccessCalls {
  checkHealth(check: HealthCheck): Promise<HealthState>;
  /** Where HTTP is served, as a URL; undefined: nowhere. */
  readHttpUrl(): Promise<string | undefined>;
  /** Where sessions are opened; undefined: not yet. */
  readSessionPort(): Promise<number | undefined>;
  readStats(): Promise<Stats<CounterSnapshot>>;
  readMetrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  describePartitions(): Promise<PartitionsResult>;
  /** Starts to raise or lower the number of partitions. */
  resize(partitions: number, actor: Actor): Promise<ChangeStart>;
  rebalance(actor: Actor): Promise<ChangeStart>;
  describeGuard(): Promise<GuardResult>;
  releaseGuard(key: string | undefined, actor: Actor): Promise<object | Failure>;
  requestReconnect(percent: number, spreadMs: number | undefined, actor: Actor): Promise<SendAwayResult | Failure>;
  /** From what is stored. */
  listDeclarations(query: DeclarationListQuery): Promise<DeclarationList | Failure>;
  /** Removes an instance, whoever has registered it. */
  removeInstance(body: RemoveInstanceBody, actor: Actor): Promise<RemovalResult | Failure>;
  readSlots(): Promise<SlotsResult>;
  inspectService(query: ServiceInspectionQuery): Promise<ServiceInspection | Failure>;
  inspectSession(query: SessionInspectionQuery): Promise<SessionInspection | Failure>;
  listChecks(query: ChecksQuery): Promise<ChecksResult>;
  listSessions(query: SessionsQuery): Promise<SessionsResult>;
  /** Whichever host holds the lease carries it out. */
  carryOutLease(call: LeaseCall): Promise<LeaseAnswer>;
  /** The first part of a backup of what is stored. */
  beginBackup(actor: Actor): Promise<BackupPart | Failure>;
  readBackup(backup: number): Promise<BackupPart | Failure>;
  endBackup(backup: number): Promise<void>;
}
