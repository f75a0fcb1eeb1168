import { declaredInstanceSchema } from './schemas.ts';
import type { DeclaredInstance } from './service-declaration.ts';
import { amount, amounts, choice, flag, list, object, optional, text } from './typed-schema.ts';
import type { SchemaOf } from './typed-schema.ts';
import type { ServiceName } from './types.ts';

/** The answers to administration over HTTP: each type with its schema, which does not compile unless it describes the type. */

export type PartitionState = 'starting' | 'ready' | 'rebuilding' | 'stopping';

export interface PartitionSummary {
  readonly partition: number;
  readonly state: PartitionState;
  readonly slots: number;
  readonly requestsInFlight: number;
}
const partitionSummary: SchemaOf<PartitionSummary> = object<PartitionSummary>({
  partition: amount('Its number.'),
  state: choice(['starting', 'ready', 'rebuilding', 'stopping']),
  slots: amount('Slots that it owns.'),
  requestsInFlight: amount('Requests under way to it.'),
});

/** How far the present change of the slot table has come, or how the last one ended. */
export interface MoveProgress {
  readonly kind: 'none' | 'resize' | 'rebalance';
  readonly isRunning: boolean;
  readonly partitions: number;
  readonly slotsToMove: number;
  readonly slotsMoved: number;
  readonly stepsRolledBack: number;
  readonly failure?: string;
}
const moveProgress: SchemaOf<MoveProgress> = object<MoveProgress>({
  kind: choice(['none', 'resize', 'rebalance']),
  isRunning: flag(),
  partitions: amount('The number of partitions after the change.'),
  slotsToMove: amount('Slots that must move.'),
  slotsMoved: amount('Slots that have moved.'),
  stepsRolledBack: amount('Steps that were rolled back because a partition died, and retried.'),
  failure: optional(text('Why it ended early.')),
});

export interface PartitionsResult {
  readonly epoch: number;
  readonly slotShutMaxMs: number;
  readonly requestsWaiting: number;
  readonly partitions: readonly PartitionSummary[];
  readonly move: MoveProgress;
}
const partitionsProperties = {
  epoch: amount('The epoch of the slot table; increases with each change.'),
  slotShutMaxMs: amount('The longest time that a slot has been frozen so far, in milliseconds.'),
  requestsWaiting: amount('Requests that wait for frozen slots.'),
  partitions: list(partitionSummary),
  move: moveProgress,
};
export const partitionsResult: SchemaOf<PartitionsResult> = object<PartitionsResult>(partitionsProperties);

export interface HostSummary {
  readonly host: number;
  readonly sessions: number;
  readonly registrations: number;
}

/** Whether what must outlive the process can be stored. */
export interface StoreSummary {
  readonly available: boolean;
  /** Why not. */
  readonly fault?: 'full' | 'read_only' | 'missing' | 'damaged' | 'failed';
}
const storeSummary: SchemaOf<StoreSummary> = object<StoreSummary>({
  available: flag('Whether what must outlive the process can be stored.'),
  fault: optional(choice(['full', 'read_only', 'missing', 'damaged', 'failed'], 'Why not; the log says more.')),
});

/** Whether acts are noted in the audit log, and how far it has come. */
export interface AuditSummary {
  readonly state: 'off' | 'on' | 'failing';
  /** Of its last line. */
  readonly seq: number;
  readonly hash: string;
}
const auditSummary: SchemaOf<AuditSummary> = object<AuditSummary>({
  state: choice(['off', 'on', 'failing'], 'Whether acts are noted in the audit log; `failing`: it cannot be written.'),
  seq: amount('The number of its last line; 0: there is none.'),
  hash: text('The hash of its last line, which `slotcast audit verify --expect` takes.'),
});

/** `/v1/stats`. `Counts`: what the server counts, by name. */
export interface Stats<Counts = Readonly<Record<string, number>>> extends PartitionsResult {
  readonly version: string;
  readonly sessions: number;
  readonly leases: number;
  readonly registrations: number;
  readonly persistentInstances: number;
  readonly declaredServices: number;
  readonly store: StoreSummary;
  readonly audit: AuditSummary;
  readonly held: number;
  readonly warming: boolean;
  readonly warmUpTookMs: number;
  readonly subscriptionsWarming: number;
  readonly hosts: readonly HostSummary[];
  readonly counters: Counts;
}
export const statsResult: SchemaOf<Stats> = object<Stats>({
  version: text('Of the server.'),
  sessions: amount('Connected sessions.'),
  leases: amount('Leases over HTTP.'),
  registrations: amount('Instances that sessions and leases have registered.'),
  persistentInstances: amount('Instances that live until they are deregistered.'),
  declaredServices: amount('Services that are declared with settings.'),
  store: storeSummary,
  audit: auditSummary,
  held: amount('Sessions whose removal a guard holds back.'),
  warming: flag('Whether clients from before the start are still coming back.'),
  warmUpTookMs: amount('How long that took, or has taken so far, in milliseconds.'),
  subscriptionsWarming: amount('Subscriptions that still use their lists from before the start.'),
  ...partitionsProperties,
  hosts: list(
    object<HostSummary>({
      host: amount('The thread: 0 the main thread, then I/O threads, then those that serve HTTP.'),
      sessions: amount('Connected sessions.'),
      registrations: amount('Instances that its sessions and leases have registered.'),
    }),
    'What each thread holds.',
  ),
  counters: amounts('Counters since the start, by reason; those that are 0 are omitted.'),
});

/** The settings of the guards. */
export interface GuardThresholds {
  readonly lossWindowMs: number;
  readonly lossSessionsMin: number;
  readonly lossSessionsPercent: number;
  readonly lossServiceInstancesMin: number;
  readonly lossServicePercent: number;
  readonly lossHoldMaxMs: number;
}

/** A service whose own guard holds back removals. */
export interface GuardedService {
  readonly key: string;
  readonly holdingForMs: number;
  readonly missing: number;
  readonly total: number;
}

export interface GuardResult {
  readonly isHolding: boolean;
  readonly holdingForMs?: number;
  readonly missingSessions: number;
  readonly sessions: number;
  readonly heldSessions: number;
  readonly heldInstances: number;
  readonly services: readonly GuardedService[];
  readonly thresholds: GuardThresholds;
}
const threshold = amount('See the settings.');
export const guardResult: SchemaOf<GuardResult> = object<GuardResult>({
  isHolding: flag('Whether the registry-wide guard holds back removals.'),
  holdingForMs: optional(amount('How long it has held back removals, in milliseconds; omitted if it does not.')),
  missingSessions: amount(
    'Sessions whose connection broke and that have neither come back nor been removed or released.',
  ),
  sessions: amount('Sessions with registrations, including missing ones; leases do not count.'),
  heldSessions: amount('Sessions whose grace period is over, and of which a guard holds something back.'),
  heldInstances: amount('Instances that these still have.'),
  services: list(
    object<GuardedService>({
      key: text('The service.'),
      holdingForMs: amount('How long its guard has held back removals, in milliseconds.'),
      missing: amount('Instances that are missing.'),
      total: amount('All instances, including missing ones.'),
    }),
    'Services whose own guard holds back removals.',
  ),
  thresholds: object<GuardThresholds>(
    {
      lossWindowMs: threshold,
      lossSessionsMin: threshold,
      lossSessionsPercent: threshold,
      lossServiceInstancesMin: threshold,
      lossServicePercent: threshold,
      lossHoldMaxMs: threshold,
    },
    'The settings of the guards.',
  ),
});

/** What an operator may know of a session. No secret is in it: whoever may look may not therefore act for others. */
export interface SessionSummary {
  readonly session: string;
  readonly thread: number;
  readonly state: 'connected' | 'broken' | 'unconfirmed' | 'held' | 'leased' | 'moving' | 'ended';
  readonly address: string;
  readonly client?: string;
  readonly app?: string;
  readonly zone?: string;
  readonly ageMs: number;
  readonly ttlMs?: number;
  readonly registrations: number;
  readonly subscriptions: number;
  readonly requestsInFlight: number;
  readonly unreadBytes: number;
  readonly isBehind: boolean;
}

/** Somebody's registration of an instance that an operator has removed. */
export interface RemovedClaim extends Pick<SessionSummary, 'session' | 'state' | 'address' | 'client' | 'app'> {}

export interface RemovalResult {
  /** Registrations that sessions and leases had of the instance. */
  readonly claims: readonly RemovedClaim[];
  /** Whether it was persistent. */
  readonly persistent: boolean;
}

export interface SessionsResult {
  readonly sessions: readonly SessionSummary[];
  readonly silentThreads?: readonly number[];
  readonly cursor?: string;
}

export const sessionsCursor: SchemaOf<string> = {
  type: 'string',
  pattern: '^[0-9]{1,16}$',
  description: 'The `cursor` of the previous page, to get the next one.',
};
const sessionState = choice<SessionSummary['state']>(
  ['connected', 'broken', 'unconfirmed', 'held', 'leased', 'moving', 'ended'],
  'Connected; broken, within its grace period; held because a guard holds back its removal; a lease over HTTP; just ended.',
);
/** Who a session is. */
const caller = {
  session: text('Its name, as in logs.'),
  state: sessionState,
  address: text('The IP address that its client has, or last had.'),
  client: optional(text('As the caller named it in `session.open`.')),
  app: optional(text('As the caller named it.')),
};

export const removalResult: SchemaOf<RemovalResult> = object<RemovalResult>({
  claims: list(object<RemovedClaim>(caller), 'The sessions and leases that had registered it.'),
  persistent: flag('Whether it was persistent.'),
});

const sessionSummary: SchemaOf<SessionSummary> = object<SessionSummary>({
  ...caller,
  thread: amount(
    'The thread that holds it: 0 the main thread, then I/O threads, then those that serve HTTP, where leases are.',
  ),
  zone: optional(text('As the caller named it.')),
  ageMs: amount('How long it has existed, in milliseconds.'),
  ttlMs: optional(amount('Of a lease, in milliseconds.')),
  registrations: amount('Instances that it has registered.'),
  subscriptions: amount('Services that it has subscribed to.'),
  requestsInFlight: amount('Unanswered requests.'),
  unreadBytes: amount('Bytes that it has been sent without being known to have read them.'),
  isBehind: flag('Whether its pushes are being dropped until it has read what was sent.'),
});
export const sessionsResult: SchemaOf<SessionsResult> = object<SessionsResult>({
  sessions: list(sessionSummary),
  silentThreads: optional(
    list(amount('Its number.'), 'Threads that did not respond in time, whose sessions are missing here.'),
  ),
  cursor: optional({ ...sessionsCursor, description: 'Present if there are more: pass it to get the next page.' }),
});

/** Where sessions are opened, for pages that were loaded over HTTP. */
export interface EndpointsResult {
  readonly sessionPort: number;
  readonly sessionPath: string;
}
export const endpointsResult: SchemaOf<EndpointsResult> = object<EndpointsResult>({
  sessionPort: amount('The port, of the same host.'),
  sessionPath: text('The path there.'),
});

/** Slots that follow one another and belong to one partition. */
export interface SlotRun {
  readonly partition: number;
  readonly slots: number;
}

export interface SlotsResult {
  readonly epoch: number;
  readonly runs: readonly SlotRun[];
  readonly frozen: readonly number[];
}
export const slotsResult: SchemaOf<SlotsResult> = object<SlotsResult>({
  epoch: amount('The epoch of the slot table; increases with each change.'),
  runs: list(
    object<SlotRun>({
      partition: amount('Its number.'),
      slots: amount('How many slots in a row it owns.'),
    }),
    'From slot 0 on.',
  ),
  frozen: list(amount('A slot.'), 'Slots that are moving or being rebuilt.'),
});

/** A session's claim to an instance; of several the newest shows. */
export interface ClaimSummary {
  readonly id: string;
  readonly isShown: boolean;
  readonly registered: DeclaredInstance;
  readonly owner?: SessionSummary;
}

export interface ServiceInspection {
  readonly subscribers: number;
  readonly claims: readonly ClaimSummary[];
  readonly more: boolean;
}

export interface HeldInstance extends ServiceName {
  readonly id: string;
  readonly isShown: boolean;
}

export interface SessionInspection {
  readonly session: SessionSummary;
  readonly registrations: readonly HeldInstance[];
  readonly subscriptions: readonly ServiceName[];
  readonly more: boolean;
}

export const serviceInspection: SchemaOf<ServiceInspection> = object<ServiceInspection>({
  subscribers: amount('Subscriptions to the service, those over HTTP that wait or watch included.'),
  claims: list(
    object<ClaimSummary>({
      id: text('The instance.'),
      isShown: flag('Whether it is the claim that subscribers see.'),
      registered: {
        ...declaredInstanceSchema,
        description: 'As it was registered, without what an operator has laid over it.',
      },
      owner: optional({
        ...sessionSummary,
        description: 'The session that claims it; omitted for what is persistent, and if it has just ended.',
      }),
    }),
    'By instance, the claim that shows first.',
  ),
  more: flag('Whether there are more than are listed.'),
});

export const sessionInspection: SchemaOf<SessionInspection> = object<SessionInspection>({
  session: sessionSummary,
  registrations: list(
    object<HeldInstance>({
      namespace: text('Of the service.'),
      group: text('Of the service.'),
      service: text('The service.'),
      id: text('The instance.'),
      isShown: flag('Whether subscribers see it; another session may have registered it later.'),
    }),
  ),
  subscriptions: list(
    object<ServiceName>({
      namespace: text('Of the service.'),
      group: text('Of the service.'),
      service: text('The service.'),
    }),
  ),
  more: flag('Whether it holds more than is listed.'),
});
