import type { AccessCheck } from '../access/access-check.ts';
import type { HostAudit } from '../audit/host-audit.ts';
import type { ServerConfig } from '../config/config.ts';
import type { KeptSession, SessionNote } from '../journal/session-records.ts';
import type { Router } from '../routing/router.ts';
import type { AdmissionRate } from '../runtime/admission-rate.ts';
import type { Counters } from '../runtime/counters.ts';
import { textCodec } from '../runtime/text-codec.ts';
import type { FromRecord } from '../workers/messages.ts';
import { SessionOrigins } from '../workers/session-numbers.ts';
import { ClaimNotices } from './claim-notices.ts';
import { Connections } from './connections.ts';
import { ContestedClaims } from './contested-claims.ts';
import { DefaultWeights } from './default-weights.ts';
import { Departures } from './departures.ts';
import { Dispatch } from './dispatch.ts';
import { DrainState } from './drain-state.ts';
import type { Encoding } from './encoding.ts';
import { HostClock } from './host-clock.ts';
import { HostJobs } from './host-jobs.ts';
import { HostLosses } from './host-losses.ts';
import { HostMeter } from './host-meter.ts';
import { IntakeLines } from './intake-lines.ts';
import { jsonRpc } from './json-rpc.ts';
import { KeyAudit } from './key-audit.ts';
import { KeyCalls } from './key-calls.ts';
import { KeyHolding } from './key-holding.ts';
import { KeyWatches } from './key-watches.ts';
import type { LeaseNews } from './lease-record.ts';
import type { LossReport } from './loss-messages.ts';
import { LossVerdicts } from './loss-verdicts.ts';
import { NamespaceLimits, namespaceLimitBytes } from './namespace-limits.ts';
import { Opening } from './opening.ts';
import { OrderChanges } from './order-changes.ts';
import { PersistentRequests } from './persistent-requests.ts';
import type { PersistentCalls } from './persistent-session.ts';
import { Reads } from './reads.ts';
import { Registrar } from './registrar.ts';
import { Resumption } from './resumption.ts';
import { SessionJournal } from './session-journal.ts';
import type { SessionEvent } from './session-journal.ts';
import { HostLog } from './session-log.ts';
import { SessionOutbox } from './session-outbox.ts';
import type { TransferEvent } from './session-transfer.ts';
import type { Session } from './session.ts';
import { Sessions } from './sessions.ts';
import { SlowConsumers } from './slow-consumers.ts';
import type { StandingOrders } from './standing-orders.ts';
import { Subscriptions } from './subscriptions.ts';
import type { WarmUp } from './warm-up.ts';

/** What a session host is made with, on whichever thread it lives. */
export interface HostOptions {
  /** Partitions address hosts by number. */
  readonly number: number;
  readonly config: ServerConfig;
  readonly counters: Counters;
  readonly admissionRate: AdmissionRate;
  readonly warmUp: WarmUp;
  readonly orders: StandingOrders;
  readonly access: AccessCheck;
  /** Undefined: there is no other host. */
  readonly namespaceLimits?: NamespaceLimits | undefined;
  /** A name that cannot be guessed. */
  readonly createName: () => string;
  /** What its sessions are sent; JSON-RPC if it is not said. */
  readonly encoding?: Encoding | undefined;
  /** 0 to 1. */
  readonly random: () => number;
  /** Runs a task once all sockets of this turn have been read. */
  readonly schedule: (task: () => void) => void;
  /** Monotonic, in milliseconds. */
  readonly nowMs: number;
  /** Wall clock at the start, in µs. */
  readonly startedAtMicros: number;
  /** Names the registry and its history. */
  readonly registry: string;
  /** Whether the log level includes sessions that connect and leave. */
  readonly isVerbose: boolean;
  readonly onSession: (event: SessionEvent) => void;
  /** Tells the main thread of sessions that continue at another host; undefined: there is no other. */
  readonly tellMain?: ((event: TransferEvent) => void) | undefined;
  /** To the guard of the whole registry, wherever it is. */
  readonly reportLosses: (report: LossReport) => void;
  /** Sessions that a thread of the same number, which has ended, had begun. */
  readonly sessionsBefore?: number | undefined;
  /** Registers what is to outlive the sessions that ask for it. */
  readonly persistentCalls: PersistentCalls;
  /** A lease was granted, or has ended. */
  readonly onLease?: ((news: LeaseNews) => void) | undefined;
  /** Hears of sessions and leases that hold something, so that they outlive the process; undefined: nothing does. */
  readonly onKept?: ((note: SessionNote) => void) | undefined;
  /** Undefined: nothing is noted. */
  readonly audit?: HostAudit | undefined;
  /** Hears of checks of instances; only the main thread's host does. */
  readonly onCheck?: ((record: FromRecord<'check'> | FromRecord<'heard'>) => void) | undefined;
  /** The number of the last commit; see `StoreVersion`. */
  readonly readStoreVersion: () => number;
  /** Sessions of lives before; undefined: there are none. */
  readonly origins?: SessionOrigins | undefined;
}

export interface SessionPartsOptions extends HostOptions {
  readonly router: Router;
  /** Numbers requests, in one sequence for all hosts of the process. */
  readonly nextRequest: () => number;
}

/** What a session core is made of. */
export interface SessionParts {
  readonly weights: DefaultWeights;
  readonly clock: HostClock;
  readonly drain: DrainState;
  readonly encoding: Encoding;
  readonly meter: HostMeter;
  readonly journal: SessionJournal;
  readonly outbox: SessionOutbox;
  readonly jobs: HostJobs;
  readonly slow: SlowConsumers;
  readonly subscriptions: Subscriptions;
  readonly notices: ClaimNotices;
  readonly lines: IntakeLines;
  readonly connections: Connections;
  readonly losses: HostLosses;
  readonly registrar: Registrar;
  readonly departures: Departures;
  readonly sessions: Sessions;
  readonly claims: ContestedClaims;
  readonly verdicts: LossVerdicts;
  readonly resumption: Resumption;
  readonly holding: KeyHolding;
  readonly keys: KeyCalls;
  readonly keyWatches: KeyWatches;
  readonly opening: Opening;
  readonly dispatch: Dispatch;
  readonly orderChanges: OrderChanges;
}

/**
 * Makes the parts of a session core, each from those before it: what is sent, what is registered, whose it is, and what is asked for. An early part passes
 * information to a later one by returning it, or to a callback that came with the call.
 */
export function createSessionParts(options: SessionPartsOptions): SessionParts {
  const { number, config, router, counters, schedule, warmUp, tellMain, onKept } = options;
  const { origins = new SessionOrigins() } = options;
  const { encoding = jsonRpc, orders, namespaceLimits = createNamespaceLimits() } = options;
  const clock = new HostClock(options.nowMs, options.startedAtMicros);
  const drain = new DrainState();
  const meter = new HostMeter();
  const log = new HostLog(textCodec);
  const journal = createJournal(options, clock);

  const slow = new SlowConsumers({ timeoutMs: config.slowConsumerTimeoutMs, clock, counters });
  const outbox = createOutbox(options, slow);
  const flush = (): void => {
    outbox.flush();
  };
  const work = {
    stepsPerTurn: config.turnStepsMax,
    schedule,
    onPutOff: (): void => {
      counters.countLimit('turnStepsMax');
    },
  };
  const jobs = new HostJobs(work, flush);
  const subscriptions = new Subscriptions({
    router,
    encoding,
    counters,
    sliceMembers: config.fanOutSliceMembers,
    sliceBytes: config.fanOutSliceBytes,
    subscriptionsMax: config.subscriptionsMax,
    threadSubscriptionsMax: config.threadSubscriptionsMax,
    watchedServicesMax: config.watchedServicesMax,
    watchedNameBytesMax: config.watchedNameBytesMax,
    meter,
    orders,
    flush,
    warmUp,
    clock,
    schedule,
    onDropped: (session) => {
      slow.judge(session);
    },
  });
  const keyWatches = new KeyWatches({
    encoding,
    sliceMembers: config.fanOutSliceMembers,
    sliceBytes: config.fanOutSliceBytes,
    keyWatchesMax: config.keyWatchesMax,
    threadKeyWatchesMax: config.threadKeyWatchesMax,
    flush,
    schedule,
    onDropped: (session) => {
      slow.judge(session);
    },
  });
  const notices = new ClaimNotices({ encoding, schedule, flush });
  const lines = new IntakeLines();
  const connections = new Connections({ lines, subscriptions, keyWatches, notices, slow });

  const losses = new HostLosses({ host: number, seed: options.registry, report: options.reportLosses, schedule });
  const onHolding =
    onKept === undefined
      ? undefined
      : (session: Session): void => {
          onKept({ kind: 'kept', session: describeKept(session) });
        };
  const holding = new KeyHolding({
    router,
    sliceSessions: config.restoreSliceRegistrations,
    schedule,
    onMayHold: (session) => {
      const { number: granted, name, state, address } = session;
      if (state.kind === 'leased') {
        const { lease, ttlMs } = state;
        options.onLease?.({ kind: 'granted', record: { number: granted, name, lease, ttlMs, mayHold: true, address } });
      } else onHolding?.(session);
    },
  });
  const weights = new DefaultWeights();
  const registrar = new Registrar({
    router,
    losses,
    log,
    weights,
    config,
    notices,
    orders,
    namespaceLimits,
    onHolding,
  });
  const departures = new Departures({ ...work, router, registrar, drain });
  const onGone =
    onKept === undefined
      ? undefined
      : (gone: number): void => {
          onKept({ kind: 'gone', number: gone });
        };
  const onLeft =
    onKept === undefined
      ? undefined
      : (session: Session): void => {
          onKept({ kind: 'kept', session: { ...describeKept(session), hasEnded: true } });
        };
  const sessions = new Sessions({
    ...options,
    origins,
    log,
    clock,
    losses,
    connections,
    departures,
    holding,
    drain,
    onGone,
    onLeft,
  });
  const claims = new ContestedClaims({ router, registrar, sessions, notices, counters });
  const verdicts = new LossVerdicts({ losses, sessions, departures, claims, drain });

  const resumption = new Resumption({ sessions, registrar, router, config, orders, tellMain, clock });
  const { registry, random, access } = options;
  const opening = new Opening({
    config,
    registry,
    sessions,
    resumption,
    registrar,
    orders,
    access,
    flush,
    journal,
    notices,
    holding,
    warmUp,
  });
  const reads = new Reads({ router, jobs, isWarming: () => !warmUp.isOver });
  const keys = new KeyCalls({ ...options, audit: new KeyAudit(options.audit), holding, clock });
  const persistent = new PersistentRequests({ calls: options.persistentCalls, flush });
  const dispatch = new Dispatch({
    config,
    encoding,
    router,
    counters,
    meter,
    outbox,
    audit: options.audit,
    opening,
    registrar,
    persistent,
    subscriptions,
    reads,
    keys,
    keyWatches,
    notices,
    lines,
    drain,
    orders,
    access,
    random,
    schedule,
  });
  const orderChanges = new OrderChanges({
    orders,
    namespaceLimits,
    sessions,
    registrar,
    subscriptions,
    router,
    counters,
    sliceRegistrations: config.restoreSliceRegistrations,
    schedule,
  });
  return {
    weights,
    clock,
    drain,
    encoding,
    meter,
    journal,
    outbox,
    jobs,
    slow,
    subscriptions,
    notices,
    lines,
    connections,
    losses,
    registrar,
    departures,
    sessions,
    claims,
    verdicts,
    resumption,
    holding,
    keys,
    keyWatches,
    opening,
    dispatch,
    orderChanges,
  };
}

function describeKept({ number, name, secret, address, app, state, identity }: Session): KeptSession {
  const lease = state.kind === 'leased' ? { ttlMs: state.ttlMs } : {};
  const { mayHold, holder } = identity;
  return {
    number,
    name,
    secret,
    address,
    ...(app === undefined ? {} : { app }),
    ...lease,
    ...(mayHold && state.kind !== 'leased' ? { mayHold, holder } : {}),
  };
}

/** Bounds that are met, and refusals, are logged wherever they are counted. */
function createJournal({ counters, isVerbose, onSession }: SessionPartsOptions, clock: HostClock): SessionJournal {
  const journal = new SessionJournal(isVerbose, onSession);
  counters.watch({
    onBound: (bound, cause) => {
      journal.noteBound(bound, cause, clock.runningMs);
    },
    onRefusal: (code, cause) => {
      journal.noteRefusal(code, cause, clock.runningMs);
    },
  });
  return journal;
}

function createNamespaceLimits(): NamespaceLimits {
  return new NamespaceLimits(new SharedArrayBuffer(namespaceLimitBytes(1)), 0, Date.now);
}

function createOutbox({ config, schedule }: SessionPartsOptions, slow: SlowConsumers): SessionOutbox {
  return new SessionOutbox({
    sliceBytes: config.fanOutSliceBytes,
    schedule,
    send: (session) => {
      // An answer is never just lost.
      if (session.flush() === 'dropped' || session.hasLostAnswer) slow.close(session);
      else slow.judge(session);
      session.lane?.poke();
    },
  });
}
