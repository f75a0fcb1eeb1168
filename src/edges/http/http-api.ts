import type { ServerConfig } from '../../config/config.ts';
import type { Administration } from '../../control/administration.ts';
import type { MetricsText } from '../../metrics/metrics.ts';
import type { ErrorCode, Failure } from '../../protocol/errors.ts';
import { httpOperations } from '../../protocol/http-operations.ts';
import type {
  LeaseDeregisterQuery,
  LeaseRegisterBody,
  LeaseRegisterResult,
  LeaseResult,
  OperationId,
  ReleaseBody,
  ResizeBody,
  SendAwayBody,
  SendAwayResult,
  SessionsQuery,
} from '../../protocol/http-operations.ts';
import { serviceKey } from '../../protocol/service-key.ts';
import type { ListParams, RegisterResult, ServiceFields } from '../../protocol/types.ts';
import { refuseDraining } from '../../sessions/dispatch.ts';
import { refuseLength } from '../../sessions/large-frame.ts';
import { encodeRegister } from '../../sessions/requests.ts';
import type { SessionHost } from '../../sessions/session-host.ts';
import type { Session } from '../../sessions/session.ts';
import { compileValidator } from '../../sessions/validation.ts';
import type { Validate } from '../../sessions/validation.ts';
import { answerFailure, answerJson, answerText, refuseUnreadAnswer } from '../../transport/http-answer.ts';
import type { HttpAnswer, HttpCall } from '../../transport/transport.ts';
import { waitForReply } from './reply-waiting.ts';

export interface HttpApiOptions {
  readonly host: SessionHost;
  readonly config: Pick<
    ServerConfig,
    | 'leaseTtlMinMs'
    | 'leaseTtlDefaultMs'
    | 'leaseTtlMaxMs'
    | 'leasesMax'
    | 'bodyBytesMax'
    | 'httpAnswerBytesMax'
    | 'reconnectSpreadMs'
  >;
  readonly isOriginAllowed: (origin: string) => boolean;
  readonly countRefusal: (code: ErrorCode, limit: string | undefined, address: string) => void;
  readonly administration: Pick<Administration, keyof Administration>;
  readonly readMetrics: () => Promise<MetricsText>;
  readonly documents: { readonly openapi: string; readonly openrpc: string };
}

/** The input of one operation: its checked query or body, and the lease that its path names. */
interface OperationInput {
  readonly value: unknown;
  readonly lease: string;
  /** Of the caller. */
  readonly address: string;
  /** Characters that a list in the answer may have. */
  readonly room: number;
}

type Handler = (input: OperationInput) => Promise<HttpAnswer | Failure> | HttpAnswer | Failure;

interface Route {
  readonly handle: Handler;
  readonly source: 'query' | 'body' | 'none';
  readonly validate: Validate<unknown> | undefined;
  readonly changes: boolean;
  readonly isLocal: boolean;
}

const leasePath = '/v1/leases/';
const leaseEnded: Failure = { code: 'not_found', message: 'the lease has ended' };

/** The HTTP side: reads, registrations by lease, health, descriptions. Answers in JSON, with the error codes of the protocol. */
export class HttpApi {
  readonly #options: HttpApiOptions;
  /** By path, then by method. */
  readonly #routes: Map<string, Map<string, Route>> = new Map();

  constructor(options: HttpApiOptions) {
    this.#options = options;
    const handlers: Record<OperationId, Handler> = {
      listServices: ({ value }) => this.#list(value as ListParams),
      queryService: ({ value, room }) => this.#query(value as ServiceFields, room),
      registerInstance: ({ value, address }) => this.#register(value as LeaseRegisterBody, address),
      deregisterInstance: ({ value }) => this.#deregister(value as LeaseDeregisterQuery),
      renewLease: ({ lease }) => this.#withLease(lease, (session) => this.#options.host.sessions.renewLease(session)),
      endLease: ({ lease }) => this.#withLease(lease, (session) => this.#options.host.endLease(session)),
      readStats: async () => answerJson(JSON.stringify(await options.administration.readStats())),
      readMetrics: async () => answerText(await options.readMetrics()),
      readPartitions: () => this.#describePartitions(),
      resizePartitions: ({ value }) =>
        options.administration.resize((value as ResizeBody).partitions) ?? this.#describePartitions(),
      rebalancePartitions: () => options.administration.rebalance() ?? this.#describePartitions(),
      readGuard: () => this.#describeGuard(),
      releaseGuard: async ({ value }) => {
        const { service, ...names } = value as ReleaseBody;
        if (service === undefined && Object.keys(names).length > 0) {
          return {
            code: 'invalid_params',
            message: 'service must be named with its namespace and group',
            field: '/service',
          };
        }
        await options.administration.releaseGuard(
          service === undefined ? undefined : serviceKey({ ...names, service }),
        );
        return this.#describeGuard();
      },
      sendAway: async ({ value }) => {
        const { percent = 100, spreadMs } = value as SendAwayBody;
        const result: SendAwayResult = { sessions: await options.administration.sendAway(percent, spreadMs) };
        return answerJson(JSON.stringify(result));
      },
      listSessions: async ({ value }) =>
        answerJson(JSON.stringify(await options.administration.listSessions(value as SessionsQuery))),
      checkLive: () => answerJson('{"status":"live"}'),
      checkStarted: () => this.#checkStarted(),
      checkReady: () => this.#checkReady(),
      readOpenapi: () => answerJson(options.documents.openapi),
      readOpenrpc: () => answerJson(options.documents.openrpc),
    };
    for (const [id, operation] of Object.entries(httpOperations)) {
      const { method, path, query, body } = operation;
      const schema = query ?? body;
      const route: Route = {
        handle: handlers[id as OperationId],
        source: query === undefined ? (body === undefined ? 'none' : 'body') : 'query',
        validate: schema === undefined ? undefined : compileValidator<unknown>(schema),
        changes: method !== 'GET',
        isLocal: operation.isLocal ?? false,
      };
      const routes = this.#routes.get(path) ?? new Map<string, Route>();
      this.#routes.set(path, routes.set(method, route));
    }
  }

  async handle(call: HttpCall): Promise<HttpAnswer> {
    const lease = call.path.startsWith(leasePath) ? call.path.slice(leasePath.length) : '';
    const routes = this.#routes.get(lease === '' ? call.path : `${leasePath}{lease}`);
    // HEAD is GET whose answer goes out without its body.
    const route = routes?.get(call.method === 'HEAD' ? 'GET' : call.method);
    if (route !== undefined) {
      const answer = await this.#answer(route, call, lease);
      return 'status' in answer ? answer : this.#refuse(answer, call);
    }
    if (routes === undefined) return this.#refuse({ code: 'not_found', message: 'there is no such page' }, call);
    const refused = this.#refuse({ code: 'unknown_method', message: `${call.method} is not served here` }, call);
    return { ...refused, headers: { ...refused.headers, Allow: listMethods(routes) } };
  }

  #refuse(failure: Failure, { address }: HttpCall): HttpAnswer {
    this.#options.countRefusal(failure.code, failure.limit, address);
    return answerFailure(this.#options.host.spread(failure));
  }

  async #answer(route: Route, call: HttpCall, lease: string): Promise<HttpAnswer | Failure> {
    if (!this.#options.isOriginAllowed(call.origin)) {
      this.#options.host.noteOriginRefused(call.origin, call.address);
      return { code: 'forbidden', message: 'pages of this Origin may not call' };
    }
    if (route.isLocal && !call.isLocal) {
      return { code: 'forbidden', message: 'administration answers only callers on the loopback address' };
    }
    if (route.changes && this.#options.host.isDraining) return refuseDraining(this.#options.config.reconnectSpreadMs);
    const input = this.#readInput(route, call);
    return 'failure' in input
      ? input.failure
      : route.handle({ value: input.value, lease, address: call.address, room: call.room });
  }

  #readInput(route: Route, call: HttpCall): { readonly value: unknown } | { readonly failure: Failure } {
    if (call.body === 'not utf-8') return { failure: { code: 'parse_error', message: 'the body is not UTF-8' } };
    if (call.body === 'too large') {
      const max = this.#options.config.bodyBytesMax;
      return {
        failure: {
          code: 'limit_exceeded',
          message: `the body is larger than ${max} bytes`,
          limit: 'bodyBytesMax',
          max,
        },
      };
    }
    if (route.validate === undefined) return { value: undefined };
    const read = route.source === 'query' ? readQuery(call.query) : readBody(call.contentType, call.body.text);
    if ('failure' in read) return read;
    const outcome = route.validate(read.value);
    return outcome.ok ? { value: outcome.value } : { failure: outcome.failure };
  }

  async #list(params: ListParams): Promise<HttpAnswer | Failure> {
    return this.#read((reply) => this.#options.host.execute(undefined, { method: 'service.list', params }, reply));
  }

  async #query(params: ServiceFields, room: number): Promise<HttpAnswer | Failure> {
    // What would be refused when it is there is not even fetched.
    const read = { room, tooLarge: refuseUnreadAnswer(this.#options.config.httpAnswerBytesMax) };
    return this.#read(
      (reply) => this.#options.host.execute(undefined, { method: 'service.query', params }, reply),
      read,
    );
  }

  async #read(...args: Parameters<typeof waitForReply>): Promise<HttpAnswer | Failure> {
    const reply = await waitForReply(...args);
    return typeof reply === 'string' ? answerJson(reply) : reply;
  }

  /** SE4: a registration that lives by a lease. A new lease whose first registration is refused is not granted. */
  async #register(
    { lease, ttlMs, instance, ...service }: LeaseRegisterBody,
    address: string,
  ): Promise<HttpAnswer | Failure> {
    const session = lease === undefined ? this.#grant(ttlMs, address) : this.#findLease(lease);
    if ('code' in session) return session;
    const call = encodeRegister({ ...service, instance });
    const reply = await waitForReply((to) => {
      this.#options.host.execute(session, call, to);
    });
    if (typeof reply !== 'string') {
      if (session.state.kind === 'ended') return leaseEnded;
      if (session.registrations.size === 0) this.#options.host.sessions.end(session);
      return reply;
    }
    const { state } = session;
    if (state.kind !== 'leased') return leaseEnded;
    this.#options.host.sessions.renewLease(session);
    // The host worded this reply itself.
    const registered = JSON.parse(reply) as RegisterResult;
    const result: LeaseRegisterResult = { lease: state.lease, ttlMs: state.ttlMs, ...registered };
    return answerJson(JSON.stringify(result));
  }

  async #deregister({ lease, id, ...service }: LeaseDeregisterQuery): Promise<HttpAnswer | Failure> {
    const session = this.#findLease(lease);
    if ('code' in session) return session;
    const answer = await this.#read((reply) => {
      this.#options.host.execute(session, { method: 'instance.deregister', params: { ...service, id } }, reply);
    });
    if (session.registrations.size === 0) this.#options.host.sessions.end(session);
    return answer;
  }

  async #withLease(
    lease: string,
    act: (session: Session) => Promise<Failure | undefined> | void,
  ): Promise<HttpAnswer | Failure> {
    const session = this.#findLease(lease);
    if ('code' in session) return session;
    if (session.state.kind !== 'leased') throw new Error('a lease led to a session that has none');
    const result: LeaseResult = { lease, ttlMs: session.state.ttlMs };
    return (await act(session)) ?? answerJson(JSON.stringify(result));
  }

  #grant(ttlMs: number | undefined, address: string): Session | Failure {
    const { leaseTtlDefaultMs, leaseTtlMinMs, leaseTtlMaxMs, leasesMax } = this.#options.config;
    const granted = Math.min(leaseTtlMaxMs, Math.max(leaseTtlMinMs, ttlMs ?? leaseTtlDefaultMs));
    const session = this.#options.host.sessions.grantLease(granted, address);
    return (
      session ?? { code: 'limit_exceeded', message: `${leasesMax} leases are held`, limit: 'leasesMax', max: leasesMax }
    );
  }

  #findLease(lease: string): Session | Failure {
    return this.#options.host.sessions.findLease(lease) ?? { code: 'not_found', message: 'there is no such lease' };
  }

  async #describePartitions(): Promise<HttpAnswer> {
    return answerJson(JSON.stringify(await this.#options.administration.describePartitions()));
  }

  async #describeGuard(): Promise<HttpAnswer> {
    return answerJson(JSON.stringify(await this.#options.administration.describeGuard()));
  }

  /** Whether clients may come: what lets them in must not wait for them to be back. */
  #checkStarted(): HttpAnswer {
    const { waitingFor } = this.#options.administration;
    const { isDraining } = this.#options.host;
    const isStarted = waitingFor.length === 0 && !isDraining;
    const status = isStarted ? 'started' : isDraining ? 'draining' : 'starting';
    return answerJson(JSON.stringify({ status, waitingFor }), isStarted ? 200 : 503);
  }

  /** Whether lists may be read: not while they may lack some who are still coming back (PU5). */
  #checkReady(): HttpAnswer {
    const { waitingFor } = this.#options.administration;
    const { isDraining, isWarming } = this.#options.host;
    const isStarted = waitingFor.length === 0;
    const status = isDraining ? 'draining' : !isStarted ? 'starting' : isWarming ? 'warming' : 'ready';
    return answerJson(JSON.stringify({ status, waitingFor }), status === 'ready' ? 200 : 503);
  }
}

function listMethods(routes: ReadonlyMap<string, Route>): string {
  return [...routes.keys()].flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])).join(', ');
}

function readQuery(query: string): { readonly value: unknown } | { readonly failure: Failure } {
  if (!isWellEncoded(query))
    return { failure: { code: 'parse_error', message: 'the query is not percent-encoded UTF-8' } };
  const fields: [string, unknown][] = [];
  const seen = new Set<string>();
  for (const [name, text] of new URLSearchParams(query)) {
    if (seen.has(name)) {
      return {
        failure: {
          code: 'invalid_params',
          message: 'a query parameter is given twice',
          field: `/${name.slice(0, 64)}`,
        },
      };
    }
    seen.add(name);
    fields.push([name, name === 'limit' && /^\d{1,9}$/.test(text) ? Number(text) : text]);
  }
  return { value: Object.fromEntries(fields) };
}

/** URLSearchParams takes anything, and replaces what it cannot decode. */
function isWellEncoded(query: string): boolean {
  try {
    decodeURIComponent(query);
    return true;
  } catch {
    return false;
  }
}

function readBody(contentType: string, body: string): { readonly value: unknown } | { readonly failure: Failure } {
  // Also what keeps a page of another Origin from posting a plain form here.
  if (!/^application\/json\s*(;|$)/i.test(contentType)) {
    return { failure: { code: 'invalid_request', message: 'the body must be application/json' } };
  }
  const failure = refuseLength(body);
  if (failure !== undefined) return { failure };
  try {
    return { value: JSON.parse(body) };
  } catch {
    return { failure: { code: 'parse_error', message: 'the body is not JSON' } };
  }
}
