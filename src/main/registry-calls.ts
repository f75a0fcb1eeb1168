import type { AuditTrail } from '../audit/audit-trail.ts';
import { carryOutNoted } from '../audit/audit-trail.ts';
import type { ServerConfig } from '../config/config.ts';
import type { AccessControl } from '../control/access-control.ts';
import type { Administration } from '../control/administration.ts';
import { readDeclarationPage } from '../control/declaration-pages.ts';
import type { HealthChecks } from '../control/health-checks.ts';
import { checkHealth } from '../control/health.ts';
import type { Hosts } from '../control/hosts.ts';
import { Inspector } from '../control/inspector.ts';
import type { ChangeStart, MainCalls } from '../control/main-calls.ts';
import type { PersistentServices } from '../control/persistent-services.ts';
import type { Switches } from '../control/switches.ts';
import type { ThreadStore } from '../durable/thread-store.ts';
import type { Metrics } from '../metrics/metrics.ts';
import type { Actor } from '../protocol/actor.ts';
import type { AuditAct } from '../protocol/audit-acts.ts';
import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { serviceKey } from '../protocol/service-key.ts';
import { productVersion } from '../runtime/product-version.ts';
import { delay } from '../runtime/timing.ts';
import { leaseOf } from '../sessions/leases.ts';
import { readSecretNumber } from '../sessions/session-secret.ts';
import { readOnly } from '../sessions/standing-orders.ts';
import type { StandingOrders } from '../sessions/standing-orders.ts';
import type { SessionOrigins } from '../workers/session-numbers.ts';

/** Where callers are let in; nowhere until the server listens. */
export interface OpenDoors {
  httpUrl: string | undefined;
  sessionPort: number | undefined;
}

export interface RegistryCallsOptions {
  readonly hosts: Hosts;
  readonly administration: Administration;
  /** Undefined: nothing is noted. */
  readonly audit: AuditTrail | undefined;
  readonly metrics: Metrics;
  readonly origins: SessionOrigins;
  readonly persistent: PersistentServices;
  readonly switches: Switches;
  readonly accessControl: AccessControl;
  readonly checks: HealthChecks;
  readonly orders: Pick<StandingOrders, 'isReadOnly'>;
  readonly store: Pick<ThreadStore, 'summary' | 'load' | 'beginBackup' | 'readBackup' | 'endBackup'>;
  readonly config: Pick<ServerConfig, 'storeReadBytesMax'>;
  readonly doors: Readonly<OpenDoors>;
}

/** Of an act that has no other result. */
const released = {};

/** What the main thread answers to all threads. */
export function createRegistryCalls(options: RegistryCallsOptions): MainCalls {
  const { audit, hosts, administration, metrics, origins, persistent, switches, checks, orders, store, config, doors } =
    options;
  const { accessControl } = options;
  const inspector = new Inspector(hosts, delay);
  /** Described in the same turn: a short change may be over in the next. */
  const start = async (
    actor: Actor,
    what: AuditAct,
    change: () => Failure | undefined,
    target?: object,
  ): Promise<ChangeStart> => {
    const outcome = await carryOutNoted(
      audit,
      { actor, what, target },
      async () => change() ?? (await administration.describePartitions()),
    );
    return 'code' in outcome ? { failure: outcome } : { description: outcome };
  };
  const refuse = (): Failure | undefined => (orders.isReadOnly ? readOnly : undefined);
  return {
    checkHealth: (check) => {
      const { isDraining, isWarming } = hosts.main.core;
      const { waitingFor } = administration;
      return Promise.resolve(checkHealth(check, { waitingFor, isDraining, isWarming, store: store.summary }));
    },
    readHttpUrl: () => Promise.resolve(doors.httpUrl),
    readSessionPort: () => Promise.resolve(doors.sessionPort),
    readStats: () => administration.readStats(),
    readMetrics: () => metrics.read(),
    describePartitions: () => administration.describePartitions(),
    resize: (partitions, actor) =>
      start(actor, 'partitions.resize', () => administration.resize(partitions), { partitions }),
    rebalance: (actor) => start(actor, 'partitions.rebalance', () => administration.rebalance()),
    describeGuard: () => administration.describeGuard(),
    releaseGuard: (key, actor) =>
      carryOutNoted(audit, { actor, what: 'guard.release', target: { service: key } }, async () => {
        if (key === undefined) checks.release();
        await administration.releaseGuard(key);
        return released;
      }),
    requestReconnect: (percent, spreadMs, actor) =>
      carryOutNoted(
        audit,
        { actor, what: 'sessions.goaway', target: { percent, spreadMs } },
        async () => ({ sessions: await administration.requestReconnect(percent, spreadMs) }),
        (after) => ({ after }),
      ),
    registerPersistent: async (params, actor) => refuse() ?? persistent.registerPersistent(params, actor),
    deregisterPersistent: (params, actor) => persistent.deregisterPersistent(params, actor),
    declareService: async (service, body, actor) => refuse() ?? persistent.declareService(service, body, actor),
    readDeclaration: (service, query) => persistent.readDeclaration(service, query),
    withdrawDeclaration: async (service, query, actor) =>
      refuse() ?? persistent.withdrawDeclaration(service, query, actor),
    listDeclarations: (query) => readDeclarationPage(store, { ...query, bytesMax: config.storeReadBytesMax }),
    listChecks: ({ service, limit = protocolLimits.listLimitDefault, cursor = '', ...names }) => {
      const key = service === undefined ? undefined : serviceKey({ ...names, service });
      return Promise.resolve(checks.list(key, Buffer.from(cursor, 'base64url').toString(), limit));
    },
    listSwitches: () => switches.listSwitches(),
    setSwitch: (body, actor) => switches.setSwitch(body, actor),
    liftSwitch: (query, actor) => switches.liftSwitch(query, actor),
    listPolicies: () => accessControl.listPolicies(),
    putPolicy: (policy, actor) => accessControl.putPolicy(policy, actor),
    deletePolicy: (query, actor) => accessControl.deletePolicy(query, actor),
    listTokens: () => accessControl.listTokens(),
    createToken: (body, actor) => accessControl.createToken(body, actor),
    rotateToken: (body, actor) => accessControl.rotateToken(body, actor),
    revokeToken: (query, actor) => accessControl.revokeToken(query, actor),
    removeInstance: ({ id, ...names }, actor) =>
      carryOutNoted(
        audit,
        { actor, what: 'instance.remove', target: { service: serviceKey(names), id } },
        () => administration.removeInstance({ id, ...names }),
        (before) => ({ before }),
      ),
    readSlots: () => Promise.resolve(inspector.readSlots()),
    inspectService: (query) => inspector.inspectService(query),
    inspectSession: (query) => inspector.inspectSession(query),
    listSessions: (query) => administration.listSessions(query),
    beginBackup: (actor) =>
      carryOutNoted(audit, { actor, what: 'backup.read' }, () =>
        store.beginBackup({ slotcast: productVersion, createdAt: new Date().toISOString() }),
      ),
    readBackup: (backup) => store.readBackup(backup),
    endBackup: (backup) => store.endBackup(backup),
    carryOutLease: (call) => {
      const holder = hosts.all()[origins.hostOf(readSecretNumber(leaseOf(call) ?? ''))];
      return holder?.carryOutLease(call) ?? Promise.resolve({ code: 'not_found', message: 'there is no such lease' });
    },
  };
}
