import type { AccessCheck, Grant } from '../../access/access-check.ts';
import type { ServerConfig } from '../../config/config.ts';
import type { HealthCheck } from '../../control/health.ts';
import type { ChangeStart, MainCalls } from '../../control/main-calls.ts';
import type {
  Policy,
  PolicyQuery,
  TokenCreateBody,
  TokenQuery,
  TokenRotateBody,
  WhoAmI,
} from '../../protocol/access.ts';
import type { ChecksQuery } from '../../protocol/checks.ts';
import type { Failure } from '../../protocol/errors.ts';
import type {
  DeregisterQuery,
  KeyDeleteQuery,
  KeyListQuery,
  KeyPutQuery,
  KeyTransactBody,
  LeaseGrantBody,
  LeaseHealthBody,
  LeaseRegisterBody,
  LeaseRegisterResult,
  OperationId,
  ReleaseBody,
  RemoveInstanceBody,
  ResizeBody,
  SendAwayBody,
  ServiceInspectionQuery,
  ServiceQuery,
  SessionInspectionQuery,
  SessionsQuery,
  WaitQuery,
  WatchQuery,
} from '../../protocol/http-operations.ts';
import type { EndpointsResult } from '../../protocol/http-results.ts';
import { sessionPath } from '../../protocol/limits.ts';
import type { DeclarationBody, DeclarationListQuery, DeclarationQuery } from '../../protocol/service-declaration.ts';
import { serviceKey } from '../../protocol/service-key.ts';
import type { SwitchBody, SwitchQuery } from '../../protocol/switches.ts';
import type { KeyDeleteParams, ListParams } from '../../protocol/types.ts';
import type { Counters } from '../../runtime/counters.ts';
import type { LeaseAnswer, LeaseCall } from '../../sessions/leases.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import { answerJson, answerText, refuseUnreadAnswer } from '../../transport/http-answer.ts';
import type { HttpAnswer } from '../../transport/transport.ts';
import { streamBackup } from './backup-stream.ts';
import type { HttpCaller, StreamAnswer } from './http-caller.ts';
import { KeyAccess } from './key-access.ts';
import { LeaseAccess } from './lease-access.ts';
import { ListReads } from './list-reads.ts';
import type { ListReadsOptions } from './list-reads.ts';
import type { Waiters } from './waiters.ts';

/** The input of one operation: its checked query or body, the lease or the service that its path names, and what its caller is like. */
export interface OperationInput {
  readonly value: unknown;
  /** The body, of an operation that takes a value as it is. */
  readonly bytes: Buffer;
  readonly lease: string;
  readonly service: string;
  readonly key: string;
  readonly caller: HttpCaller;
}

/** Carries out one operation. */
export type Operation = (
  input: OperationInput,
) => Promise<HttpAnswer | StreamAnswer | Failure> | HttpAnswer | StreamAnswer | Failure;

export interface OperationsOptions {
  readonly core: SessionCore;
  readonly config: ListReadsOptions['config'] & Pick<ServerConfig, 'backupIdleTimeoutMs'>;
  readonly counters: Pick<Counters, 'countLimit'>;
  readonly waiters: Waiters;
  readonly main: MainCalls;
  readonly documents: { readonly openapi: string; readonly openrpc: string };
  /** See `HttpServerOptions`. */
  readonly readSessionPort: () => Promise<number | undefined>;
  /** Whichever host holds the lease carries it out. */
  readonly carryOutLease: (call: LeaseCall) => Promise<LeaseAnswer>;
}

/** Every operation of the HTTP side. */
export function createOperations(options: OperationsOptions): Readonly<Record<OperationId, Operation>> {
  const { main, documents, core } = options;
  const { access } = core;
  const leases = new LeaseAccess({ access, carryOut: options.carryOutLease });
  const reads = new ListReads(options);
  const keys = new KeyAccess({ ...options, leases });
  const describePartitions = async (): Promise<HttpAnswer> => answerValue(await main.describePartitions());
  const describeGuard = async (): Promise<HttpAnswer> => answerValue(await main.describeGuard());
  const lease = async (call: LeaseCall, { grant }: HttpCaller): Promise<HttpAnswer | Failure> => {
    const answer = await leases.carryOut(call, grant);
    return 'code' in answer ? answer : answerLease(answer);
  };
  return {
    listServices: ({ value, caller }) => reads.list(value as ListParams, caller),
    queryService: ({ value, caller }) => reads.query(value as ServiceQuery, caller),
    watchService: ({ value, caller }) => reads.watch(value as WatchQuery, caller),
    listDeclarations: ({ value, caller }) => listDeclarations(options, value as DeclarationListQuery, caller),
    readService: async ({ value, service }) =>
      answerOutcome(await main.readDeclaration(service, value as DeclarationQuery)),
    declareService: async ({ value, service, caller: { actor } }) =>
      answerOutcome(await main.declareService(service, value as DeclarationBody, actor)),
    withdrawService: async ({ value, service, caller: { actor } }) =>
      answerOutcome(await main.withdrawDeclaration(service, value as DeclarationQuery, actor)),
    registerInstance: async ({ value, caller }) => {
      const { actor } = caller;
      const { persistent, ...body } = value as LeaseRegisterBody;
      if (persistent !== true) return lease({ kind: 'register', body, address: caller.address }, caller);
      const { lease: unwanted, ttlMs, ...params } = body;
      if (unwanted !== undefined || ttlMs !== undefined) {
        return refuseLease(unwanted === undefined ? '/ttlMs' : '/lease');
      }
      return answerOutcome(await main.registerPersistent(params, actor));
    },
    deregisterInstance: async ({ value, caller }) => {
      const { actor } = caller;
      const { persistent, lease: holder, ...params } = value as DeregisterQuery;
      if (persistent === true) {
        return holder === undefined
          ? answerOutcome(await main.deregisterPersistent(params, actor))
          : refuseLease('/lease');
      }
      if (holder === undefined) return lacksLease;
      return lease({ kind: 'deregister', query: { ...params, lease: holder } }, caller);
    },
    reportHealth: ({ value, caller }) => lease({ kind: 'report', body: value as LeaseHealthBody }, caller),
    renewLease: (input) => lease({ kind: 'renew', lease: input.lease }, input.caller),
    endLease: (input) => lease({ kind: 'end', lease: input.lease }, input.caller),
    grantLease: ({ value, caller }) => {
      const { ttlMs } = value as LeaseGrantBody;
      return lease({ kind: 'grant', ttlMs, address: caller.address }, caller);
    },
    listKeys: ({ value, caller }) => {
      const { index, wait, ...params } = value as KeyListQuery;
      return keys.read({ method: 'kv.list', params }, { index, wait }, caller);
    },
    deleteKeys: ({ value, caller }) => keys.change({ method: 'kv.delete', params: value as KeyDeleteParams }, caller),
    readKey: ({ value, key, caller }) => keys.read({ method: 'kv.get', params: { key } }, value as WaitQuery, caller),
    putKey: ({ value, key, bytes, caller }) => keys.put({ ...(value as KeyPutQuery), key }, bytes, caller),
    deleteKey: ({ value, key, caller }) =>
      keys.change({ method: 'kv.delete', params: { ...(value as KeyDeleteQuery), key } }, caller),
    transactKeys: ({ value, caller }) => {
      const { lease: holder, ...params } = value as KeyTransactBody;
      return keys.change({ method: 'kv.transact', params }, caller, holder);
    },
    readStats: async () => answerValue(await main.readStats()),
    readMetrics: async () => answerText(await main.readMetrics()),
    readPartitions: describePartitions,
    resizePartitions: async ({ value, caller }) =>
      answerChange(await main.resize((value as ResizeBody).partitions, caller.actor)),
    rebalancePartitions: async ({ caller }) => answerChange(await main.rebalance(caller.actor)),
    readGuard: describeGuard,
    releaseGuard: async ({ value, caller }) => {
      const { service, ...names } = value as ReleaseBody;
      const key = service === undefined ? undefined : serviceKey({ ...names, service });
      const outcome = await main.releaseGuard(key, caller.actor);
      return isFailure(outcome) ? outcome : describeGuard();
    },
    backUp: ({ caller }) =>
      streamBackup({
        calls: main,
        actor: caller.actor,
        idleTimeoutMs: options.config.backupIdleTimeoutMs,
        onIdle: () => {
          options.counters.countLimit('backupIdleTimeoutMs');
        },
      }),
    listChecks: async ({ value }) => answerValue(await main.listChecks(value as ChecksQuery)),
    listSwitches: async () => answerValue(await main.listSwitches()),
    setSwitch: async ({ value, caller }) => answerOutcome(await main.setSwitch(value as SwitchBody, caller.actor)),
    liftSwitch: async ({ value, caller }) => answerOutcome(await main.liftSwitch(value as SwitchQuery, caller.actor)),
    removeInstance: async ({ value, caller }) =>
      answerOutcome(await main.removeInstance(value as RemoveInstanceBody, caller.actor)),
    sendAway: async ({ value, caller }) => {
      const { percent = 100, spreadMs } = value as SendAwayBody;
      return answerOutcome(await main.requestReconnect(percent, spreadMs, caller.actor));
    },
    listSessions: async ({ value }) => answerValue(await main.listSessions(value as SessionsQuery)),
    inspectService: async ({ value }) => answerOutcome(await main.inspectService(value as ServiceInspectionQuery)),
    inspectSession: async ({ value }) => answerOutcome(await main.inspectSession(value as SessionInspectionQuery)),
    readSlots: async () => answerValue(await main.readSlots()),
    readEndpoints: async () => {
      const sessionPort = await options.readSessionPort();
      return sessionPort === undefined
        ? notListening
        : answerValue({ sessionPort, sessionPath } satisfies EndpointsResult);
    },
    listPolicies: async () => answerValue(await main.listPolicies()),
    putPolicy: async ({ value, caller }) => answerOutcome(await main.putPolicy(value as Policy, caller.actor)),
    deletePolicy: async ({ value, caller }) =>
      answerOutcome(await main.deletePolicy(value as PolicyQuery, caller.actor)),
    listTokens: async () => answerValue(await main.listTokens()),
    createToken: async ({ value, caller }) =>
      answerOutcome(await main.createToken(value as TokenCreateBody, caller.actor)),
    rotateToken: async ({ value, caller }) =>
      answerOutcome(await main.rotateToken(value as TokenRotateBody, caller.actor)),
    revokeToken: async ({ value, caller }) => answerOutcome(await main.revokeToken(value as TokenQuery, caller.actor)),
    whoAmI: ({ caller }) => answerValue(describeCaller(access, caller.grant)),
    checkLive: () => answerHealth(main, 'live'),
    checkStarted: () => answerHealth(main, 'started'),
    checkReady: () => answerHealth(main, 'ready'),
    readOpenapi: () => answerJson(documents.openapi),
    readOpenrpc: () => answerJson(documents.openrpc),
  };
}

function describeCaller(access: AccessCheck, { principal }: Grant): WhoAmI {
  const { name, expiresAtMs } = principal;
  const expiry = expiresAtMs === undefined ? {} : { expiresAt: new Date(expiresAtMs).toISOString() };
  return { principal: name, policies: access.policiesOf(principal), ...expiry };
}

const notListening: Failure = { code: 'busy', message: 'no sessions are opened yet', retryAfterMs: 200 };

/** Whoever does not read what it asked for must not have much of it made. */
function listDeclarations(
  { main, config }: OperationsOptions,
  query: DeclarationListQuery,
  caller: HttpCaller,
): Promise<HttpAnswer | Failure> {
  return caller.pace(async (room) => {
    const answer = answerOutcome(await main.listDeclarations(query));
    return 'body' in answer && answer.body.length > room ? refuseUnreadAnswer(config.httpAnswerBytesMax) : answer;
  });
}

async function answerHealth(main: MainCalls, check: HealthCheck): Promise<HttpAnswer> {
  const { isHealthy, ...state } = await main.checkHealth(check);
  return answerJson(JSON.stringify(state), isHealthy ? 200 : 503);
}

/** What was asked for is of no lease. */
function refuseLease(field: string): Failure {
  return { code: 'invalid_params', message: 'what is persistent has no lease', field };
}

const lacksLease: Failure = { code: 'invalid_params', message: 'params lacks the field lease', field: '/lease' };

/** What the main thread made of it. */
function answerOutcome(outcome: object): HttpAnswer | Failure {
  return isFailure(outcome) ? outcome : answerValue(outcome);
}

function isFailure(outcome: object): outcome is Failure {
  return 'code' in outcome && 'message' in outcome;
}

function answerChange(change: ChangeStart): HttpAnswer | Failure {
  return 'failure' in change ? change.failure : answerValue(change.description);
}

function answerValue(value: object): HttpAnswer {
  return answerJson(JSON.stringify(value));
}

function answerLease(answer: Exclude<LeaseAnswer, Failure>): HttpAnswer {
  switch (answer.kind) {
    case 'registered':
      return answerValue({ ...answer.lease, ...answer.result } satisfies LeaseRegisterResult);
    case 'deregistered':
    case 'reported':
      return answerValue(answer.result);
    case 'keys':
      return answerValue(answer.result);
    case 'granted':
    case 'renewed':
    case 'ended':
      return answerValue(answer.lease);
    default:
      return answer satisfies never;
  }
}
