import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

import fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';

import { anonymous, unauthorized } from '../../access/access-check.ts';
import type { Grant, Principal } from '../../access/access-check.ts';
import { operationNeeds } from '../../access/operation-needs.ts';
import type { OperationInput as NeedsInput } from '../../access/operation-needs.ts';
import type { ServerConfig } from '../../config/config.ts';
import type { Actor } from '../../protocol/actor.ts';
import type { Failure } from '../../protocol/errors.ts';
import type { OperationId } from '../../protocol/http-operations.ts';
import { protocolLimits } from '../../protocol/limits.ts';
import type { Counters } from '../../runtime/counters.ts';
import { refuseDraining } from '../../sessions/dispatch.ts';
import type { SessionCore } from '../../sessions/session-core.ts';
import { pointTo } from '../../sessions/validation.ts';
import { headFailures, headRefusals } from '../../transport/head-refusals.ts';
import { answerFailure, refuseUnreadAnswer } from '../../transport/http-answer.ts';
import { createHttpServer } from '../../transport/tls-door.ts';
import type { TlsDoor } from '../../transport/tls-door.ts';
import type { HttpAnswer } from '../../transport/transport.ts';
import { sendAnswer } from './answer-sending.ts';
import { consolePath } from './console-files.ts';
import type { ConsoleFiles, FileAnswer } from './console-files.ts';
import { Exchanges } from './exchanges.ts';
import type { HttpCaller, StreamAnswer } from './http-caller.ts';
import type { Operation } from './operations.ts';
import { PacedReads } from './paced-reads.ts';
import { readAddress, RequestAdmission } from './request-admission.ts';
import type { HeadRefusal } from './request-admission.ts';
import { readTarget, takeAuthority } from './request-head.ts';
import { readBody, readQuery } from './request-reading.ts';
import type { Read } from './request-reading.ts';
import { createRoutes, hasHead, listMethods } from './routes.ts';
import type { PathParameters, Route } from './routes.ts';
import { UnreadAnswers } from './unread-answers.ts';

export interface HttpServerOptions {
  readonly config: ServerConfig;
  readonly core: SessionCore;
  readonly counters: Counters;
  readonly operations: Readonly<Record<OperationId, Operation>>;
  readonly consoleFiles: ConsoleFiles;
  /** Undefined: connections are in the clear. */
  readonly tls: TlsDoor | undefined;
  /** Where sessions are opened; undefined: not yet. */
  readonly readSessionPort: () => Promise<number | undefined>;
}

/** A service's name, each of its bytes percent-encoded. */
const pathSegmentCharsMax = 3 * protocolLimits.serviceBytesMax;

const noSuchPath: Failure = { code: 'not_found', message: 'there is no such path' };

/** How often it is looked for requests that take too long, in milliseconds. */
const checkTimeoutsMs = 1000;
/** How long a browser may remember what a page of another Origin may do, in seconds. */
const preflightSeconds = 600;

/**
 * The HTTP side, on Node's own parser: what came is checked here, whoever calls and whatever the operation, and every answer leaves here. Everything that waits
 * has a bound: connections, requests in flight, heads, bodies, answers that nobody reads.
 */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #fastify: FastifyInstance;
  readonly #server: Server;
  readonly #admission: RequestAdmission;
  readonly #unread: UnreadAnswers;
  readonly #reads: PacedReads;
  readonly #exchanges: Exchanges;
  /** Of requests whose callers are known. */
  readonly #grants: WeakMap<IncomingMessage, Grant> = new WeakMap();
  #hasStopped = false;

  constructor(options: HttpServerOptions) {
    const { config, core, counters } = options;
    this.#options = options;
    this.#admission = new RequestAdmission({
      config,
      onOriginRefused: (origin, address) => {
        core.noteOriginRefused(origin, address);
      },
    });
    this.#unread = new UnreadAnswers({
      bytesMax: config.httpAnswerBytesMax,
      stallTimeoutMs: config.slowConsumerTimeoutMs,
      timeoutMs: config.httpAnswerTimeoutMs,
      onCut: (address) => {
        counters.count('http_answer_cut', address);
      },
    });
    this.#reads = new PacedReads(config.httpAnswerBytesMax);
    this.#exchanges = new Exchanges({
      refuse: (error, address) => {
        const { status, failure } = headRefusals[headFailures[error] ?? 'malformed'];
        counters.countRefusal(failure.code, failure.limit, address);
        return answerFailure(failure, status);
      },
    });
    this.#server = createHttpServer(
      {
        maxHeaderSize: config.httpHeadBytesMax,
        headersTimeout: Math.min(config.httpHeadTimeoutMs, config.httpRequestTimeoutMs),
        requestTimeout: config.httpRequestTimeoutMs,
        keepAliveTimeout: config.httpIdleTimeoutMs,
        connectionsCheckingInterval: checkTimeoutsMs,
        // Refused here, in the words of all refusals.
        requireHostHeader: false,
        noDelay: true,
      },
      options.tls,
    );
    // A caller may shut its sending side right after the request, as `nc -N` and some proxies do.
    Object.assign(this.#server, { httpAllowHalfOpen: true });
    this.#server.maxConnections = config.httpConnectionsMax;
    // One more, so that what would be left out is seen.
    this.#server.maxHeadersCount = config.httpHeadersMax + 1;
    this.#server.on('drop', () => {
      counters.countLimit('httpConnectionsMax');
    });
    this.#server.on('connect', (_, socket) => {
      this.#exchanges.refuseTunnel(socket as Socket);
    });
    this.#fastify = this.#createFastify();
    for (const route of createRoutes(options.operations)) this.#serve(route);
    this.#serveConsole();
  }

  /** Resolves to the port; rejects if it cannot be had, or if {@link stopListening} was called before it was. */
  async listen({ host, port, isShared }: ListenOptions): Promise<number> {
    const fail = (error: unknown): never => {
      throw new Error(`cannot listen on ${host}:${port}: ${explainListening(error)}`);
    };
    await this.#fastify.ready();
    // Looked up here: Node would do it itself, and listen afterwards whatever had been said meanwhile. From an address on it listens before anything else comes.
    const { address } = await lookup(host).catch(fail);
    if (this.#hasStopped) return fail(new Error('the server is stopping'));
    this.#server.listen({ host: address, port, exclusive: true, ...(isShared ? { reusePort: true } : {}) });
    await once(this.#server, 'listening').catch(fail);
    const bound = this.#server.address();
    return typeof bound === 'object' && bound !== null ? bound.port : port;
  }

  /** Takes no more connections, from now on; those that are open stay until their requests are answered. */
  stopListening(): void {
    this.#hasStopped = true;
    if (this.#server.listening) this.#server.close();
    this.#server.closeIdleConnections();
  }

  close(): void {
    this.stopListening();
    this.#server.closeAllConnections();
    this.#options.tls?.close();
  }

  tick(nowMs: number): void {
    this.#unread.tick(nowMs);
  }

  #createFastify(): FastifyInstance {
    const { config } = this.#options;
    const app = fastify({
      logger: false,
      bodyLimit: config.bodyBytesMax,
      return503OnClosing: false,
      // A query is read, and refused, by the operation that it is for.
      routerOptions: {
        querystringParser: () => ({}),
        ignoreTrailingSlash: false,
        caseSensitive: true,
        maxParamLength: pathSegmentCharsMax,
      },
      frameworkErrors: (error, request, reply) => {
        this.#refuse(this.#explain(error), request, reply);
      },
      clientErrorHandler: (error, socket) => {
        this.#exchanges.refuse(error.code, socket);
      },
      serverFactory: (handle) => {
        const take = (request: IncomingMessage, response: ServerResponse): void => {
          this.#exchanges.begin(request, response, () => {
            takeAuthority(request);
            this.#admission.noteRequest(request, response);
            handle(request, response);
          });
        };
        this.#server.on('request', take);
        this.#server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
          this.#admission.noteStrange(request);
          take(request, response);
        });
        return this.#server;
      },
    });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
      done(null, body);
    });
    app.addHook('onRequest', (request, reply, done) => {
      const { raw } = request;
      const headRefusal = this.#admission.refuseHead(raw);
      if (headRefusal !== undefined) {
        this.#refuseHead(headRefusal, request, reply);
        return;
      }
      const refusal = this.#admission.admit(raw, reply.raw);
      if (refusal !== undefined) this.#refuse(refusal, request, reply);
      else if (request.method === 'OPTIONS') this.#answerOptions(request, reply);
      // Before its body is read, which some methods must have and others must not.
      else if (request.is404) this.#refuseUnserved(request, reply);
      else done();
    });
    app.setErrorHandler((error: Error & { readonly code?: string }, request, reply) => {
      this.#refuse(this.#explain(error), request, reply);
    });
    return app;
  }

  #serve(route: Route): void {
    const { operation } = route;
    const { method, path } = operation;
    this.#fastify.route({
      method,
      url: path.replace('{key}', '*').replaceAll(/\{(\w+)\}/g, ':$1'),
      exposeHeadRoute: hasHead(operation),
      handler: (request, reply) => {
        reply.hijack();
        this.#answer(route, request, reply).then(
          (answer) => {
            this.#send(answer, request, reply);
          },
          (error: unknown) => {
            // A bug: everything expected is an answer.
            queueMicrotask(() => {
              throw error;
            });
          },
        );
      },
    });
  }

  #serveConsole(): void {
    for (const url of [consolePath, `${consolePath}/*`]) {
      this.#fastify.route({
        method: 'GET',
        url,
        exposeHeadRoute: true,
        handler: (request, reply) => {
          reply.hijack();
          void this.#answerFile(request).then((answer) => {
            this.#send(answer, request, reply);
          });
        },
      });
    }
  }

  async #answerFile({ raw, headers }: FastifyRequest): Promise<FileAnswer | Failure> {
    const { consoleFiles, readSessionPort } = this.#options;
    const { path } = readTarget(raw);
    const { host = '', 'accept-encoding': accepted = '', 'if-none-match': ifNoneMatch = '' } = headers;
    const acceptEncoding = Array.isArray(accepted) ? accepted.join() : accepted;
    const caller = { host, acceptEncoding, ifNoneMatch };
    return consoleFiles.answer(path, caller, await readSessionPort()) ?? noSuchPath;
  }

  /** In this turn, if it is known at once who calls: a connection that breaks is not heard of later. */
  async #answer(
    route: Route,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<HttpAnswer | StreamAnswer | Failure> {
    const identified = this.#identify(route, request);
    if (!(identified instanceof Promise)) return await this.#answerFor(identified, route, request, reply);
    const grant = await identified;
    // The caller has gone while its credentials were checked.
    if (reply.raw.destroyed) return { status: 204, body: '', headers: {} };
    return await this.#answerFor(grant, route, request, reply);
  }

  async #answerFor(
    grant: Grant | Failure,
    route: Route,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<HttpAnswer | StreamAnswer | Failure> {
    if ('code' in grant) return grant;
    const { core, config } = this.#options;
    const { method } = route.operation;
    if (method !== 'GET' && core.isDraining) return refuseDraining(config.reconnectSpreadMs);
    const input = this.#readInput(route, request);
    if ('failure' in input) return input.failure;
    const outcome = route.validate(input.value);
    if (!outcome.ok) return outcome.failure;
    // A segment that is empty is none.
    const { '*': rest, ...segments } = request.params as PathParameters & { readonly '*'?: string };
    const named = rest === undefined ? segments : { ...segments, key: rest };
    if (Object.values(named).includes('')) return noSuchPath;
    const path = route.validatePath(named);
    if (!path.ok) return path.failure;
    const { lease = '', service = '', key = '' } = path.value;
    const denial = this.#refuseAccess(route, grant, { value: outcome.value, service, key });
    if (denial !== undefined) return denial;
    const { body } = request;
    const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
    const caller = this.#describeCaller(request, reply, grant, () => {
      const { access } = this.#options.core;
      return this.#refuseAccess(route, access.grantFor(grant.principal), { value: outcome.value, service, key });
    });
    return route.handle({ value: outcome.value, bytes, lease, service, key, caller });
  }

  /** Who calls, and why it is not answered whatever it asks for. */
  #identify({ id, operation }: Route, { raw, headers }: FastifyRequest): Grant | Failure | Promise<Grant | Failure> {
    const { access } = this.#options.core;
    if (!access.isOn) {
      const failure = operation.isLocal === true ? this.#admission.refuseAdministration(raw) : undefined;
      return failure ?? access.grantFor(anonymous);
    }
    if (operationNeeds[id] === undefined) return access.grantFor(anonymous);
    const shown = { authorization: headers.authorization ?? '', certificate: this.#options.tls?.clientOf(raw.socket) };
    const principal = access.authenticateShown(shown, readAddress(raw));
    return principal instanceof Promise
      ? principal.then((found) => this.#admitPrincipal(found, raw))
      : this.#admitPrincipal(principal, raw);
  }

  #admitPrincipal(principal: Principal | Failure, request: IncomingMessage): Grant | Failure {
    if ('code' in principal) return principal;
    const { access } = this.#options.core;
    const grant = access.grantFor(principal);
    this.#grants.set(request, grant);
    return access.refuseStranger(grant) ?? grant;
  }

  #refuseAccess({ id }: Route, grant: Grant, input: NeedsInput): Failure | undefined {
    const { access } = this.#options.core;
    const needs = access.isOn ? operationNeeds[id]?.(input) : undefined;
    if (needs === undefined) return undefined;
    return access.isValid(grant.principal) ? access.refuse(grant, needs) : unauthorized;
  }

  #describeCaller(
    { raw, headers }: FastifyRequest,
    reply: FastifyReply,
    grant: Grant,
    refuseLate: () => Failure | undefined,
  ): HttpCaller {
    const lastEventId = headers['last-event-id'];
    const actor = describeActor(raw, grant);
    return {
      address: actor.address,
      grant,
      refuseLate,
      actor,
      ifNoneMatch: headers['if-none-match'] ?? '',
      lastEventId: typeof lastEventId === 'string' ? lastEventId : '',
      pace: (read) =>
        this.#reads.run(() => {
          const { room } = this.#unread;
          // What reads lists is not even asked when there is no room for them.
          return room > 0 ? read(room) : Promise.resolve(refuseUnreadAnswer(this.#options.config.httpAnswerBytesMax));
        }),
      startWaiting: () => {
        if (!this.#admission.startWaiting(raw)) return;
        // It sends no more, and nobody else says whether it still listens.
        const leave = (): void => {
          raw.socket.destroy();
        };
        // It may have sent no more already, while it waited for its turn.
        if (raw.socket.readableEnded) leave();
        else {
          raw.socket.once('end', leave);
          reply.raw.once('close', () => raw.socket.off('end', leave));
        }
      },
      stopWaiting: () => {
        this.#admission.stopWaiting(raw, reply.raw);
      },
      onGone: (callback) => {
        // Not by the connection, on which others may follow.
        reply.raw.once('close', callback);
      },
    };
  }

  #readInput({ operation, queryTypes }: Route, request: FastifyRequest): Read {
    const { query } = readTarget(request.raw);
    if (operation.body === undefined) return readQuery(query, queryTypes);
    // Its parameters come in the body.
    if (query !== '') {
      const [name = ''] = query.split(/[=&]/, 1);
      return {
        failure: { code: 'invalid_params', message: 'this takes no query parameters', field: pointTo(name) },
      };
    }
    const { body } = request;
    return readBody(request.headers['content-type'] ?? '', Buffer.isBuffer(body) ? body : Buffer.alloc(0));
  }

  #refuseHead(refusal: HeadRefusal, request: FastifyRequest, reply: FastifyReply): void {
    const { status, failure, limit, isLast, headers } = refusal;
    this.#options.counters.countRefusal(failure.code, limit, readAddress(request.raw));
    reply.hijack();
    if (isLast) reply.raw.shouldKeepAlive = false;
    const answer = answerFailure(failure, status);
    this.#send({ ...answer, headers: { ...answer.headers, ...headers } }, request, reply);
  }

  #refuseUnserved(request: FastifyRequest, reply: FastifyReply): void {
    const methods = listMethodsAt(readTarget(request.raw).path);
    if (methods === undefined) this.#refuse(noSuchPath, request, reply);
    else {
      reply.raw.setHeader('Allow', methods);
      this.#refuse({ code: 'unknown_method', message: `${request.method} is not served here` }, request, reply);
    }
  }

  #answerOptions(request: FastifyRequest, reply: FastifyReply): void {
    const { path } = readTarget(request.raw);
    const methods = path === '*' ? 'GET, HEAD, PUT, POST, DELETE' : listMethodsAt(path);
    if (methods === undefined) {
      this.#refuse({ code: 'not_found', message: 'there is no such path' }, request, reply);
      return;
    }
    reply.hijack();
    const headers: Record<string, string> = { Allow: `${methods}, OPTIONS` };
    if (reply.raw.hasHeader('Access-Control-Allow-Origin')) {
      headers['Access-Control-Allow-Methods'] = methods;
      headers['Access-Control-Allow-Headers'] = 'Authorization, Content-Type, If-None-Match, Last-Event-ID';
      headers['Access-Control-Max-Age'] = String(preflightSeconds);
    }
    this.#send({ status: 204, body: '', headers }, request, reply);
  }

  #refuse(failure: Failure, request: FastifyRequest, reply: FastifyReply): void {
    reply.hijack();
    this.#send(failure, request, reply);
  }

  #send(answer: HttpAnswer | FileAnswer | StreamAnswer | Failure, request: FastifyRequest, reply: FastifyReply): void {
    const address = readAddress(request.raw);
    if ('begin' in answer) {
      if (!reply.raw.headersSent) reply.raw.writeHead(200, answer.headers);
      answer.begin(reply.raw);
      return;
    }
    sendAnswer(reply.raw, 'status' in answer ? answer : this.#word(answer, request), address, {
      unread: this.#unread,
      refuseUnread: () => this.#word(refuseUnreadAnswer(this.#options.config.httpAnswerBytesMax), request),
    });
  }

  #word(failure: Failure, request: FastifyRequest): HttpAnswer {
    const { counters, core } = this.#options;
    const actor = describeActor(request.raw, this.#grants.get(request.raw));
    counters.countRefusal(failure.code, failure.limit, actor.address);
    // Its path as it is declared: what comes in its places may be a lease.
    core.noteRefusal(failure.code, { actor }, `${request.method} ${request.routeOptions.url ?? ''}`);
    return answerFailure(core.spread(failure));
  }

  /** What fastify refuses by itself; everything else that is thrown is a bug, and ends the thread. */
  #explain(error: Error & { readonly code?: string; readonly statusCode?: number }): Failure {
    const max = this.#options.config.bodyBytesMax;
    switch (error.code) {
      case 'FST_ERR_CTP_BODY_TOO_LARGE':
        return { code: 'limit_exceeded', message: `the body is larger than ${max} bytes`, limit: 'bodyBytesMax', max };
      case 'FST_ERR_BAD_URL':
      case 'FST_ERR_MAX_PARAM_LENGTH':
        return { code: 'not_found', message: 'there is no such path' };
      case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
      case 'ECONNRESET':
        return { code: 'invalid_request', message: 'the body is incomplete' };
      case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
        return { code: 'invalid_request', message: 'the Content-Type names no type' };
      default:
        // Whatever else it finds wrong with a request: that must not end the thread.
        if (error.code?.startsWith('FST_') === true && (error.statusCode ?? 500) < 500) {
          return { code: 'invalid_request', message: error.message };
        }
        queueMicrotask(() => {
          throw error;
        });
        return { code: 'internal', message: 'the server failed' };
    }
  }
}

/** Methods that are served at a path, be it one of the console; undefined: there is nothing. */
function listMethodsAt(path: string): string | undefined {
  return path === consolePath || path.startsWith(`${consolePath}/`) ? 'GET, HEAD' : listMethods(path);
}

function describeActor(request: IncomingMessage, grant?: Grant): Actor {
  const actor = { principal: (grant?.principal ?? anonymous).name, address: readAddress(request) };
  const { 'x-request-id': id } = request.headers;
  // As the caller, or a proxy before it, calls its request.
  return typeof id === 'string' && /^[\x21-\x7e]{1,128}$/.test(id) ? { ...actor, request: id } : actor;
}

export interface ListenOptions {
  readonly host: string;
  readonly port: number;
  /** Other threads listen on the same port. */
  readonly isShared: boolean;
}

function explainListening(error: unknown): string {
  const { code, message } = error as Error & { readonly code?: string };
  return code === 'EADDRINUSE' || code === 'EADDRNOTAVAIL'
    ? "the port is in use, or the address is not this machine's"
    : message;
}
