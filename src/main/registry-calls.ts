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

/** What the main thread answers to all threads. */
export function createRegistryCalls(options: RegistryCallsOptions): MainCalls {
  const { hosts, administration, metrics, origins, persistent, switches, checks, orders, store, config, doors } =
    options;
  const { accessControl } = options;
  const inspector = new Inspector(hosts, delay);
  /** Described in the same turn: a short change may be over in the next. */
  const describeStart = async (failure: Failure | undefined): Promise<ChangeStart> =>
    failure === undefined ? { description: await administration.describePartitions() } : { failure };
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
    resize: (partitions) => describeStart(administration.resize(partitions)),
    rebalance: () => describeStart(administration.rebalance()),
    describeGuard: () => administration.describeGuard(),
    releaseGuard: (key) => {
      if (key === undefined) checks.release();
      return administration.releaseGuard(key);
    },
    requestReconnect: (percent, spreadMs) => administration.requestReconnect(percent, spreadMs),
    registerPersistent: async (params) => refuse() ?? persistent.registerPersistent(params),
    deregisterPersistent: (params) => persistent.deregisterPersistent(params),
    declareService: async (service, body) => refuse() ?? persistent.declareService(service, body),
    readDeclaration: (service, query) => persistent.readDeclaration(service, query),
    withdrawDeclaration: async (service, query) => refuse() ?? persistent.withdrawDeclaration(service, query),
    listDeclarations: (query) => readDeclarationPage(store, { ...query, bytesMax: config.storeReadBytesMax }),
    listChecks: ({ service, limit = protocolLimits.listLimitDefault, cursor = '', ...names }) => {
      const key = service === undefined ? undefined : serviceKey({ ...names, service });
      return Promise.resolve(checks.list(key, Buffer.from(cursor, 'base64url').toString(), limit));
    },
    listSwitches: () => switches.listSwitches(),
    setSwitch: (body, actor) => switches.setSwitch(body, actor),
    liftSwitch: (query) => switches.liftSwitch(query),
    listPolicies: () => accessControl.listPolicies(),
    putPolicy: (policy) => accessControl.putPolicy(policy),
    deletePolicy: (query) => accessControl.deletePolicy(query),
    listTokens: () => accessControl.listTokens(),
    createToken: (body) => accessControl.createToken(body),
    rotateToken: (body) => accessControl.rotateToken(body),
    revokeToken: (query) => accessControl.revokeToken(query),
    removeInstance: (body) => administration.removeInstance(body),
    readSlots: () => Promise.resolve(inspector.readSlots()),
    inspectService: (query) => inspector.inspectService(query),
    inspectSession: (query) => inspector.inspectSession(query),
    listSessions: (query) => administration.listSessions(query),
    beginBackup: () => store.beginBackup({ slotcast: productVersion, createdAt: new Date().toISOString() }),
    readBackup: (backup) => store.readBackup(backup),
    endBackup: (backup) => store.endBackup(backup),
    carryOutLease: (call) => {
      const holder = hosts.all()[origins.hostOf(readSecretNumber(leaseOf(call) ?? ''))];
      return holder?.carryOutLease(call) ?? Promise.resolve({ code: 'not_found', message: 'there is no such lease' });
    },
  };
}
