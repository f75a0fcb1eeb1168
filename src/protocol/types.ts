/** The shapes that cross the wire, protocol version 1. `schemas.ts` says the same to machines; a test holds the two together. */

/** Names a service. `namespace` defaults to `public`, `group` to `DEFAULT`. */
export interface ServiceFields {
  readonly namespace?: string;
  readonly group?: string;
  readonly service: string;
}

/** A service's full name, defaults filled in. */
export interface ServiceName {
  readonly namespace: string;
  readonly group: string;
  readonly service: string;
}

/** How an instance is: `warning` still takes traffic, `critical` should not. */
export type Health = 'passing' | 'warning' | 'critical';

/** When a check is made, and what it takes until it changes its mind. */
export interface CheckPace {
  /** Between two probes, in milliseconds; of `ttl`: within which a report must come. By default 10000. */
  readonly intervalMs?: number;
  /** After which a probe has failed, in milliseconds; by default 5000, and never longer than the interval. */
  readonly timeoutMs?: number;
  /** By how much intervals vary, in percent; by default 10. */
  readonly jitterPercent?: number;
  /** Results in a row until it passes; by default 1. */
  readonly successes?: number;
  /** Results in a row until it no longer does; by default 3. */
  readonly failures?: number;
  /** What it counts as before the first result; by default `passing`. */
  readonly initial?: Health;
  /** Deregisters the instance when it has been critical for so long, in milliseconds; without it never. */
  readonly deregisterAfterMs?: number;
}

/** How the registry finds out how an instance is. All but `ttl` and `script` reach the instance's host, at its port if no other is given. */
export type CheckDefinition = CheckPace &
  (
    | {
        readonly kind: 'http' | 'https';
        readonly port?: number;
        /** By default `/`. */
        readonly path?: string;
        /** By default `GET`. */
        readonly method?: 'GET' | 'HEAD' | 'POST';
        readonly headers?: Readonly<Record<string, string>>;
        /** Which statuses pass, such as `2xx,304`; by default `2xx`. */
        readonly status?: string;
        /** A regular expression that the beginning of the body must match. */
        readonly body?: string;
        /** Of `https`: any certificate will do. */
        readonly anyCertificate?: boolean;
      }
    | { readonly kind: 'tcp'; readonly port?: number }
    /** The protocol `grpc.health.v1`, without TLS. */
    | { readonly kind: 'grpc'; readonly port?: number; readonly service?: string }
    /** Whoever registered it reports within each interval. */
    | { readonly kind: 'ttl' }
    /** One that the server's configuration defines under this name. */
    | { readonly kind: 'script'; readonly script: string }
  );

/** What a caller says of an instance when it registers one; defaults are filled in by the server. */
export interface InstanceInput {
  /** 1 to 512 bytes of UTF-8; by default `host:port`. Unique within the service. */
  readonly id?: string;
  readonly host: string;
  /** 1 to 65535. */
  readonly port: number;
  /** 0 to 10000; by default what the service is declared with, or 100. */
  readonly weight?: number;
  /** By default true. */
  readonly enabled?: boolean;
  readonly zone?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** By default `passing`. */
  readonly health?: Health;
  readonly check?: CheckDefinition;
}

/** An instance as subscribers see it. `zone` and `metadata` are left out when they are empty, `persistent` when it is not, and `health` when it is passing. */
export interface Instance {
  readonly id: string;
  readonly host: string;
  readonly port: number;
  readonly weight: number;
  readonly enabled: boolean;
  readonly zone?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  /** It lives until it is deregistered; left out for what goes with its session. */
  readonly persistent?: true;
  /** Left out: it is passing. */
  readonly health?: Exclude<Health, 'passing'>;
  /** It is critical, and counts as well, since fewer instances of its service are well than its `healthThreshold` asks for. */
  readonly protected?: true;
}

/** What an operator lays over an instance, until it is lifted: what is left out stays as it was registered. */
export interface InstanceOverride {
  readonly enabled?: boolean;
  readonly weight?: number;
  readonly zone?: string;
  /** Keys that it adds, or whose values it replaces. */
  readonly metadata?: Readonly<Record<string, string>>;
}

export type SubscribeMode = 'delta' | 'snapshot';

/** Which instances of a service are wanted: those that meet all that is given. */
export interface InstanceFilter {
  /** Only instances of this zone. */
  readonly zone?: string;
  /** Only instances with `enabled` true. */
  readonly enabledOnly?: boolean;
  /** Only instances that are not critical, or are protected by the health threshold of their service. */
  readonly healthyOnly?: boolean;
  /** Only instances whose metadata has these keys with exactly these values; at most 8 entries and 1024 bytes. */
  readonly selector?: Readonly<Record<string, string>>;
}

export interface SessionOpenParams {
  readonly client: string;
  readonly app?: string;
  readonly zone?: string;
  readonly token?: string;
  /** The `secret` of an earlier session, to be taken over by this connection. */
  readonly resume?: string;
  /** What the client understands of what not every client does; see `capabilities.ts`. What the server does not know is passed over. */
  readonly capabilities?: readonly string[];
  /** The highest version of the protocol that the client speaks; by default 1. */
  readonly protocol?: number;
}

/** The bounds that a client must keep to, announced by `session.open`. */
export interface WireLimits {
  readonly frameBytesMax: number;
  readonly batchEntriesMax: number;
  readonly requestsInFlightMax: number;
  readonly registrationsMax: number;
  readonly subscriptionsMax: number;
}

export interface SessionOpenResult {
  readonly session: string;
  /** A client that is silent for this long is pinged; one that stays silent is treated as a broken connection. */
  readonly heartbeatMs: number;
  /** For how long the server keeps the session of a broken connection: what it has registered, and the keys that it holds. */
  readonly graceMs: number;
  readonly limits: WireLimits;
  /** Whoever has it can take this session over; not for logs. Absent for a client without the capability `resume`. */
  readonly secret?: string;
  /** Names this registry and its history: versions and sessions of another one mean nothing here. */
  readonly registry: string;
  /** The registry has just started, and those who were there before are not all back: lists may lack some. */
  readonly warming: boolean;
  /** The version of the protocol that is spoken on this connection. */
  readonly protocol: number;
  /** What the server offers of what not every server does; see `capabilities.ts`. */
  readonly capabilities: readonly string[];
  /** The session of `resume` has been taken over; absent if it is not there any more. */
  readonly resumed?: ResumedSession;
}

/** What a session that was taken over holds. */
export interface ResumedSession {
  readonly registrations: number;
  /** See `registration-digest.ts`. */
  readonly digest: string;
}

export interface RegistrationsParams {
  /** 1 to 1000, by default 100. */
  readonly limit?: number;
  readonly cursor?: string;
}
export interface HeldRegistration extends ServiceName {
  readonly id: string;
  /** See `registration-digest.ts`. */
  readonly hash: string;
}
export interface RegistrationsResult {
  readonly registrations: readonly HeldRegistration[];
  readonly cursor?: string;
}

export interface RegisterParams extends ServiceFields {
  readonly instance: InstanceInput;
  /** It is to live until it is deregistered, whatever becomes of this session. */
  readonly persistent?: boolean;
}
export interface RegisterResult {
  readonly version: number;
  readonly id: string;
  /** The weight that the service is declared with, if the instance was registered without one. */
  readonly weight?: number;
  /** An operator has switched the client off: what it registers does not show. */
  readonly closed?: true;
}

export interface DeregisterParams extends ServiceFields {
  readonly id: string;
  /** What is meant is the persistent instance. */
  readonly persistent?: boolean;
}
export interface DeregisterResult {
  readonly version: number;
}

/** A session reports how an instance is that it has registered. */
export interface HealthParams extends ServiceFields {
  readonly id: string;
  readonly health: Health;
}
export interface HealthResult {
  readonly version: number;
}

export interface SubscribeParams extends ServiceFields, InstanceFilter {
  /** By default `delta`. */
  readonly mode?: SubscribeMode;
  /** Resume: the version that the client still holds, of the same filter. */
  readonly version?: number;
  /** Resume: how many instances the client holds; a registry that has just started waits until so many are back. */
  readonly count?: number;
}

export interface QueryParams extends ServiceFields, InstanceFilter {}

export interface SnapshotResult {
  readonly version: number;
  readonly instances: readonly Instance[];
  /** Present while the registry is warming: the list may lack some who were there before a restart. */
  readonly warming?: true;
  /** Present while an operator keeps the service switched off: that is why the list is empty. */
  readonly closed?: true;
}
export interface ResumeResult {
  readonly from: number;
  readonly version: number;
  readonly put: readonly Instance[];
  readonly remove: readonly string[];
  /** See {@link SnapshotResult.warming}. */
  readonly warming?: true;
  /** See {@link SnapshotResult.closed}. */
  readonly closed?: true;
}
export type SubscribeResult = SnapshotResult | ResumeResult;
export type QueryResult = SnapshotResult;

export interface ListParams {
  /** Without it, services of every namespace are listed. */
  readonly namespace?: string;
  /** What the service's name begins with. */
  readonly prefix?: string;
  /** 1 to 1000, by default 100. */
  readonly limit?: number;
  readonly cursor?: string;
}
export interface ServiceSummary extends ServiceName {
  readonly instances: number;
}
export interface ListResult {
  readonly services: readonly ServiceSummary[];
  readonly cursor?: string;
}

/** A key. `value`: base64. `flags`: an unsigned number of 64 bits, in decimal. */
export interface KeyEntry {
  readonly key: string;
  readonly value: string;
  readonly flags: string;
  /** The commit that created it, and the one that changed it last. */
  readonly createVersion: number;
  readonly modifyVersion: number;
  /** How often it has been acquired. */
  readonly lockIndex: number;
  /** While a session holds it: which, and the fencing number, which rises with each holder. */
  readonly holder?: string;
  readonly fence?: number;
}
export interface KeyGetParams {
  readonly key: string;
}
export interface KeyGetResult {
  /** All commits through here are taken into account: changes after it are those that a watch may be asked for. */
  readonly version: number;
  /** Absent: there is no such key. */
  readonly entry?: KeyEntry;
}
export interface KeyPutParams {
  readonly key: string;
  /** Base64; by default empty. */
  readonly value?: string;
  /** By default `0`. */
  readonly flags?: string;
  /** Only if this is the key's version; 0: only if there is no such key. */
  readonly cas?: number;
  /** Only if this session holds the key afterwards. */
  readonly acquire?: boolean;
  /** Only if this session holds the key, which it no longer does afterwards. */
  readonly release?: boolean;
  /** With `acquire`: what becomes of the key when the session ends; by default `release`. */
  readonly onEnd?: 'release' | 'delete';
  /** With `acquire`: for how long nobody acquires the key after that; by default 15000. */
  readonly lockDelayMs?: number;
  /** The key lives by this session: short for `acquire` with `onEnd: "delete"` and no lock delay. */
  readonly ephemeral?: boolean;
}
export type KeyFailureReason = 'version' | 'held' | 'delayed' | 'not_held';
/** `reason`: why nothing was done. */
export type KeyChangeResult =
  | { readonly applied: true; readonly version: number; readonly entry?: Omit<KeyEntry, 'value'> }
  | { readonly applied: false; readonly version: number; readonly reason: KeyFailureReason };
export interface KeyDeleteParams {
  readonly key?: string;
  readonly cas?: number;
  /** Instead of a key: all keys that begin with this. */
  readonly prefix?: string;
}
export type KeyDeleteResult =
  | {
      readonly applied: true;
      readonly version: number;
      /** With `prefix`: how many keys were deleted. */
      readonly deleted?: number;
    }
  | { readonly applied: false; readonly version: number; readonly reason: KeyFailureReason };
export interface KeyListParams {
  readonly prefix?: string;
  readonly keysOnly?: boolean;
  /** Keys are cut after the first of these behind the prefix. */
  readonly separator?: string;
  /** 1 to 1000, by default 100. */
  readonly limit?: number;
  readonly cursor?: string;
}
export interface KeyListResult {
  /** As of {@link KeyGetResult}; entries may be newer. Of several pages, the first's. */
  readonly version: number;
  /** Unless `keysOnly`. */
  readonly entries?: readonly KeyEntry[];
  /** With `keysOnly`: keys; with `separator`: what is left of those that are cut, too. */
  readonly keys?: readonly string[];
  readonly cursor?: string;
}
export type KeyTransactOperation =
  | { readonly op: 'get'; readonly key: string }
  | ({ readonly op: 'put' } & KeyPutParams)
  | { readonly op: 'delete'; readonly key: string; readonly cas?: number }
  /** `version`: 0: there must be no such key. `held`: this session must hold it. */
  | { readonly op: 'check'; readonly key: string; readonly version?: number; readonly held?: boolean };
export interface KeyTransactParams {
  readonly operations: readonly KeyTransactOperation[];
}
export type KeyTransactResult =
  /** Of each operation the key afterwards, without its value unless it is a `get`; null: there is none. */
  | {
      readonly applied: true;
      readonly version: number;
      readonly entries: readonly (KeyEntry | Omit<KeyEntry, 'value'> | null)[];
    }
  | {
      readonly applied: false;
      readonly version: number;
      readonly failures: readonly { readonly index: number; readonly reason: KeyFailureReason }[];
    };

/** One of `key` and `prefix`. */
export interface KeyUnwatchParams {
  readonly key?: string;
  readonly prefix?: string;
}
export interface KeyWatchParams extends KeyUnwatchParams {
  /** Resume: all changes after this one are to be told. By default those from now on. */
  readonly version?: number;
}
/** A key after a change, or that it was deleted, by the commit `modifyVersion`. */
export type KeyChangeEvent =
  | KeyEntry
  | { readonly key: string; readonly deleted: true; readonly modifyVersion: number };
export interface KeyWatchResult {
  /** Changes after this one are notified. */
  readonly version: number;
  /** With a `version`: what has changed after that, in the order of commits, if it is known. */
  readonly changes?: readonly KeyChangeEvent[];
  /** It is not known: what is watched must be read. */
  readonly resync?: true;
}

export interface DeltaChange extends ServiceName {
  readonly count: number;
  readonly from: number;
  readonly to: number;
  readonly put: readonly Instance[];
  readonly remove: readonly string[];
  /** See {@link SnapshotResult.closed}. */
  readonly closed?: true;
}
export interface SnapshotChange extends ServiceName {
  readonly count: number;
  readonly snapshot: true;
  readonly to: number;
  readonly instances: readonly Instance[];
  /** See {@link SnapshotResult.closed}. */
  readonly closed?: true;
}
export type ServiceChanged = DeltaChange | SnapshotChange;

/** What is watched has changed; `key` or `prefix` as it was watched. */
export interface KeysChanged extends KeyUnwatchParams {
  /** All changes through here have been told. */
  readonly version: number;
  /** In the order of commits; absent with `resync`. */
  readonly changes?: readonly KeyChangeEvent[];
  /** Changes through `version` were not told: what is watched must be read. */
  readonly resync?: true;
}

export interface GoawayParams {
  readonly reason: string;
  /** How long to wait before reconnecting; differs from session to session, so that they do not all come at once. */
  readonly reconnectAfterMs: number;
}

/** Another session registered an instance that this one has registered, or no longer does. Sent to clients with the capability `claims`. */
export interface InstanceClaim extends ServiceName {
  readonly id: string;
  /** Whether what this session registered is what subscribers see. */
  readonly shown: boolean;
}

/** Every method, its params and its result. */
export interface Methods {
  'session.open': { params: SessionOpenParams; result: SessionOpenResult };
  'session.registrations': { params: RegistrationsParams; result: RegistrationsResult };
  'instance.register': { params: RegisterParams; result: RegisterResult };
  'instance.deregister': { params: DeregisterParams; result: DeregisterResult };
  'instance.health': { params: HealthParams; result: HealthResult };
  'service.subscribe': { params: SubscribeParams; result: SubscribeResult };
  'service.unsubscribe': { params: ServiceFields; result: Record<string, never> };
  'service.query': { params: QueryParams; result: QueryResult };
  'service.list': { params: ListParams; result: ListResult };
  'kv.get': { params: KeyGetParams; result: KeyGetResult };
  'kv.put': { params: KeyPutParams; result: KeyChangeResult };
  'kv.delete': { params: KeyDeleteParams; result: KeyDeleteResult };
  'kv.list': { params: KeyListParams; result: KeyListResult };
  'kv.transact': { params: KeyTransactParams; result: KeyTransactResult };
  'kv.watch': { params: KeyWatchParams; result: KeyWatchResult };
  'kv.unwatch': { params: KeyUnwatchParams; result: Record<string, never> };
}
export type MethodName = keyof Methods;

/** What the server sends unasked. */
export interface Notifications {
  'service.changed': ServiceChanged;
  'kv.changed': KeysChanged;
  'session.goaway': GoawayParams;
  'instance.claim': InstanceClaim;
}

/** A JSON-RPC request id. */
export type RequestId = string | number | null;
