import type { CloseReason, Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import { hashRegistration } from '../protocol/registration-digest.ts';
import { parseServiceKey, serviceKey } from '../protocol/service-key.ts';
import type {
  ListParams,
  ListResult,
  RegistrationsParams,
  RegistrationsResult,
  ServiceSummary,
  SessionOpenParams,
  SessionOpenResult,
  SubscribeMode,
} from '../protocol/types.ts';
import { encodeFilter } from '../push/instance-filter.ts';
import { chooseVariant } from '../push/variant.ts';
import { compareBytes } from '../slots/byte-order.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import { textCodec } from '../workers/text-codec.ts';
import { AnswerPacer } from './answer-pacer.ts';
import { BatchAnswers, unlimitedRoom, wordError, wordNotification, wordResults } from './answers.ts';
import type { ReadTicket, Reply } from './answers.ts';
import type { Arrivals } from './arrivals.ts';
import { CallLane } from './call-lane.ts';
import type { CallKind } from './call-lane.ts';
import type { ServerConfig } from './config.ts';
import type { Counters } from './counters.ts';
import { HostMeter } from './host-meter.ts';
import { LossGuard } from './loss-guard.ts';
import type { GuardDescription, GuardEvent } from './loss-guard.ts';
import { readRefusal } from './partition-link.ts';
import type { Answer, PartitionLink, Unasked } from './partition-link.ts';
import { Registrar } from './registrar.ts';
import { readFrame } from './requests.ts';
import type { Call, Incoming } from './requests.ts';
import type { Router } from './router.ts';
import { HostLog } from './session-log.ts';
import type { SessionLog } from './session-log.ts';
import { SessionReply } from './session-reply.ts';
import type { Session, Socket } from './session.ts';
import { Sessions } from './sessions.ts';
import { Subscriptions } from './subscriptions.ts';
import type { WatchedAudience } from './subscriptions.ts';

export interface SessionHostOptions {
  /** Partitions address hosts by number. */
  readonly host: number;
  readonly config: ServerConfig;
  readonly router: Router;
  readonly counters: Counters;
  readonly arrivals: Arrivals;
  readonly createName: () => string;
  /** 0 to 1. */
  readonly random: () => number;
  readonly schedule: (task: () => void) => void;
  readonly nowMs: number;
  /** Wall clock at the start, in µs. */
  readonly bornMicros: number;
  /** Names this registry and its history. */
  readonly registry: string;
  readonly onGuard: (event: GuardEvent) => void;
}

/** The longest wait before coming back to a full queue, in shortest ones. */
const busySpread = 4;
/** Of `fanOutSliceBytes`: up to there an answer is small, and fetched without asking whether there is room for it. */
const smallAnswersShare = 16;

/** Holds sessions: reads what they ask, sends it to the owners of the slots, and hands back answers and pushes. */
export class SessionHost {
  readonly #options: SessionHostOptions;
  readonly #router: Router;
  readonly #counters: Counters;
  readonly sessions: Sessions;
  readonly #log: HostLog = new HostLog(textCodec);
  readonly guard: LossGuard;
  readonly meter: HostMeter = new HostMeter();
  readonly #registrar: Registrar;
  readonly #subscriptions: Subscriptions;
  readonly #pacer: AnswerPacer;
  /** Sessions with frames to be sent at the end of this turn. */
  #unsent: Session[] = [];
  #isDraining = false;
  #warmAtMs: number;
  /** Of the guard: how often it has let go. */
  #releasesSeen = 0;
  /** Of arrivals: how often somebody was kept out. */
  #crowdsSeen: number;

  constructor(options: SessionHostOptions) {
    const { config, router, counters } = options;
    this.#options = options;
    this.#router = router;
    this.#counters = counters;
    this.#crowdsSeen = options.arrivals.crowds;
    this.sessions = new Sessions({
      host: options.host,
      log: this.#log,
      config,
      counters,
      createName: options.createName,
      nowMs: options.nowMs,
      onBreak: (session, nowMs) => {
        this.guard.noteMissing(session.number, session.registrations.services(), nowMs);
      },
      onExpire: (session, nowMs) => this.#expire(session, nowMs),
      onEnd: (session) => {
        // PU5: a registry that stops says goodbye; it does not tell anybody that everybody has gone.
        if (!this.#isDraining) this.#registrar.withdrawAll(session);
      },
    });
    this.guard = new LossGuard(config, (event) => {
      counters.count(event.kind === 'tripped' ? 'loss_guard_tripped' : 'loss_guard_cleared');
      options.onGuard(event);
    });
    this.#registrar = new Registrar({
      router,
      guard: this.guard,
      log: this.#log,
      config,
      findSession: (number) => this.sessions.find(number),
    });
    this.#subscriptions = new Subscriptions({
      router,
      counters,
      sliceMembers: config.fanOutSliceMembers,
      sliceBytes: config.fanOutSliceBytes,
      subscriptionsMax: config.subscriptionsMax,
      meter: this.meter,
      flush: () => {
        this.flush();
      },
      bornMicros: options.bornMicros,
      schedule: options.schedule,
      onDropped: (session) => {
        this.sessions.judgeConsumption(session);
      },
    });
    this.#pacer = new AnswerPacer({
      sliceBytes: config.fanOutSliceBytes,
      schedule: options.schedule,
      send: (session) => {
        if (session.flush() === 'dropped' || session.hasLostAnswer) this.#close(session, 'slow_consumer');
        else this.sessions.judgeConsumption(session);
        session.lane?.poke();
      },
    });
    this.#warmAtMs = options.nowMs + config.warmUpMs;
    if (config.warmUpMs === 0) this.#warmUp();
  }

  /** Moves the host's clock on. */
  tick(nowMs: number): void {
    if (nowMs >= this.#warmAtMs) this.#warmUp();
    this.#noteArrivals();
    this.#subscriptions.tick(nowMs);
    this.sessions.tick(nowMs);
    this.guard.advance(this.sessions.clockMs);
    if (this.guard.releases !== this.#releasesSeen) {
      this.#releasesSeen = this.guard.releases;
      this.sessions.recheckHeld();
    }
    this.flush();
  }

  #warmUp(): void {
    this.#warmAtMs = Number.POSITIVE_INFINITY;
    this.#subscriptions.warmUp();
  }

  /** What threads tell each other about connections that are being made. */
  #noteArrivals(): void {
    const { arrivals } = this.#options;
    arrivals.shareRequests(this.requestsInFlight);
    const { crowds } = arrivals;
    if (crowds !== this.#crowdsSeen) this.sessions.noteCrowd();
    this.#crowdsSeen = crowds;
  }

  /** Requests under way to all partitions. */
  get requestsInFlight(): number {
    return this.#router.requestsInFlight;
  }

  /** Frames worded for pushes so far (PU3). */
  get framesEncoded(): number {
    return this.#subscriptions.framesEncoded;
  }

  /** Pushes handed to sockets so far, and subscriptions that there are. */
  get framesSent(): Readonly<Record<SubscribeMode, number>> {
    return this.#subscriptions.framesSent;
  }

  get subscriptionCounts(): Readonly<Record<SubscribeMode, number>> {
    return this.#subscriptions.counts;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  connect(socket: Socket): Session {
    return this.sessions.connect(socket);
  }

  /** A text frame came. Whatever it holds, the session gets an answer or an error, and the host goes on (WP3). */
  receive(session: Session, text: string): void {
    this.sessions.hear(session);
    const frame = readFrame(text, this.#options.config.batchEntriesMax);
    switch (frame.kind) {
      case 'single':
        this.#take(session, frame.incoming, undefined);
        break;
      case 'batch': {
        const answers = new BatchAnswers(this.#options.config.batchAnswerCharactersMax, (answer) => {
          this.send(session, answer);
        });
        for (const incoming of frame.entries) this.#take(session, incoming, answers);
        answers.close();
        break;
      }
      case 'unreadable':
        this.countRefusal(frame.failure);
        this.send(session, wordError(null, frame.failure));
        break;
      default:
        frame satisfies never;
    }
    this.flush();
  }

  hear(session: Session): void {
    this.sessions.hear(session);
  }

  /** A pong came; it brings back the mark of the ping that it answers. */
  ponged(session: Session, mark: string): void {
    this.sessions.hear(session);
    if (this.sessions.acknowledge(session, mark)) this.#subscriptions.catchUp(session);
    session.lane?.poke();
    this.flush();
  }

  /** The socket's backlog is empty again. */
  drained(session: Session): void {
    // A mark that found no room, or has not been sent since.
    if (session.consumption.isBehind && session.consumption.isUnmarked) session.ping();
    if (!session.consumption.isBehind) this.#subscriptions.catchUp(session);
  }

  /** The socket has closed. Only an orderly close by the client removes at once (SE2). */
  disconnected(session: Session, isClean: boolean): void {
    this.#subscriptions.unsubscribeAll(session);
    this.sessions.slow.forget(session);
    session.lane?.close();
    session.outgoing = [];
    if (isClean) this.sessions.end(session);
    else this.sessions.break(session);
  }

  /** Carries out a call for a session, or, for reads over HTTP, for nobody. */
  execute(session: Session | undefined, call: Call, reply: Reply): void {
    switch (call.method) {
      case 'service.query': {
        const { params } = call;
        this.#query(serviceKey(params), encodeFilter(params), reply);
        return;
      }
      case 'service.list':
        this.#list(call.params, reply);
        return;
      default:
    }
    if (session === undefined) throw new Error(`${call.method} needs a session`);
    switch (call.method) {
      case 'session.open':
        this.#open(session, call.params, reply);
        return;
      case 'session.registrations':
        reply.succeed(wordResults.registrations(pageRegistrations(session.registrations, call.params)));
        return;
      case 'instance.register':
        this.#registrar.register(session, call.key, call.instance, reply);
        return;
      case 'instance.deregister':
        this.#registrar.deregister(session, serviceKey(call.params), call.params.id, reply);
        return;
      case 'service.subscribe': {
        const { params } = call;
        this.#subscriptions.subscribe(
          session,
          serviceKey(params),
          chooseVariant(params.mode ?? 'delta', params),
          params.version ?? 0,
          reply,
        );
        return;
      }
      case 'service.unsubscribe':
        this.#subscriptions.unsubscribe(session, serviceKey(call.params));
        reply.succeed(wordResults.nothing);
        return;
      default:
        call satisfies never;
    }
  }

  /** A partition said something unasked. */
  takeUnasked(record: Unasked, link: PartitionLink): void {
    if (record[0] === fromPartition.push) this.#subscriptions.push(record, link.partition);
    else this.#release(record);
  }

  /** The audiences of services that `isLost` accepts. */
  watched(isLost: (key: string) => boolean): WatchedAudience[] {
    return this.#subscriptions.watched(isLost);
  }

  /** Sends what has gathered in this turn, one write to the kernel for each session; much of it, in turns. */
  flush(): void {
    const unsent = this.#unsent;
    if (unsent.length === 0) return;
    this.#unsent = [];
    this.#pacer.flush(unsent);
  }

  /** The registry is stopping: from now on nobody's leaving is told to others, and everybody is asked to come back later. */
  drain(reason: string): void {
    this.#isDraining = true;
    this.sendAway(reason, 1, this.#options.config.reconnectSpreadMs);
  }

  /** Asks a share of the sessions, 0 to 1, to connect anew, each after a time of its own, `spreadMs` at most. Returns how many. */
  sendAway(reason: string, share: number, spreadMs: number): number {
    const { random } = this.#options;
    const leavers = this.sessions.connected().filter(() => share >= 1 || random() < share);
    for (const session of leavers) {
      const reconnectAfterMs = Math.round(random() * spreadMs);
      this.send(session, wordNotification('session.goaway', { reason, reconnectAfterMs }));
    }
    this.flush();
    return leavers.length;
  }

  closeAll(): void {
    for (const session of this.sessions.connected()) this.#close(session, 'going_away');
  }

  #release(record: Parameters<Registrar['release']>[0]): void {
    const loser = this.#registrar.release(record);
    if (loser !== undefined) this.sessions.endEmptied(loser);
  }

  /** A broken session's grace has run out: what no guard holds back goes. Returns whether something is held. */
  #expire(session: Session, nowMs: number): boolean {
    // PU5: what is held back stays so while the registry stops.
    if (this.#isDraining) return session.state.kind === 'held';
    this.#registrar.withdrawLost(session, (key) => this.guard.isHeld(session.number, key, nowMs));
    return session.registrations.size > 0;
  }

  /** What guards hold back, and how much. */
  describeGuard(): GuardDescription & { readonly heldSessions: number; readonly heldInstances: number } {
    const { heldCount, heldRegistrationCount } = this.sessions;
    return { ...this.guard.describe(), heldSessions: heldCount, heldInstances: heldRegistrationCount };
  }

  #close(session: Session, reason: CloseReason): void {
    this.#counters.countClose(reason);
    session.socket?.end(reason);
  }

  #take(session: Session, incoming: Incoming, batch: BatchAnswers | undefined): void {
    const reply = new SessionReply(
      this,
      session,
      incoming.id,
      batch,
      incoming.kind === 'call' ? incoming.call.method : undefined,
    );
    if (incoming.kind === 'invalid') {
      reply.fail(incoming.failure);
      return;
    }
    const refusal = this.#refusal(session, incoming.call);
    if (refusal !== undefined) reply.fail(refusal);
    else this.#submit(session, incoming.call, reply);
  }

  /** Carries out a call, after those of its session that it must not overtake. */
  #submit(session: Session, call: Call, reply: Reply): void {
    const { lane } = session;
    if (lane === undefined || lane.isIdle) {
      this.execute(session, call, reply);
      return;
    }
    lane.submit({
      ...describeCall(call),
      run: () => {
        this.execute(session, call, reply);
      },
      refuse: (failure) => {
        reply.fail(failure);
      },
    });
  }

  laneOf(session: Session): CallLane {
    const { fanOutSliceBytes, slowConsumerBytesMax } = this.#options.config;
    session.lane ??= new CallLane({
      smallCharacters: Math.ceil(fanOutSliceBytes / smallAnswersShare),
      owedBytesMax: Math.ceil(slowConsumerBytesMax / 2),
      readOwedBytes: () => session.consumption.unconsumedBytes + session.unsentBytes,
    });
    return session.lane;
  }

  #refusal(session: Session, call: Call): Failure | undefined {
    const { config } = this.#options;
    if (this.#isDraining) return refuseDraining(config.reconnectSpreadMs);
    if (config.openRequired && session.opened === undefined && call.method !== 'session.open') {
      return { code: 'not_open', message: 'session.open must come first' };
    }
    if (session.requestsInFlight > config.requestsInFlightMax) {
      const message = `${config.requestsInFlightMax} requests of this session are under way`;
      return {
        code: 'busy',
        message,
        limit: 'requestsInFlightMax',
        max: config.requestsInFlightMax,
        retryAfterMs: 100,
      };
    }
    // It has this request under way, too.
    if (session.requestsInFlight > config.sessionShareRequests && this.#router.isCrowded) {
      return {
        code: 'busy',
        message: 'the registry has much to do, and this session much of it',
        limit: 'sessionShareRequests',
        max: config.sessionShareRequests,
        retryAfterMs: 200,
      };
    }
    return undefined;
  }

  countRefusal(failure: Failure): void {
    this.#counters.countRefusal(failure.code, failure.limit);
  }

  /** Who meets a full queue together shall not come back together. */
  spread(failure: Failure): Failure {
    const { code, limit, retryAfterMs } = failure;
    if (code !== 'busy' || limit === undefined || retryAfterMs === undefined) return failure;
    return { ...failure, retryAfterMs: Math.round(retryAfterMs * (1 + this.#options.random() * (busySpread - 1))) };
  }

  /** Sends a frame at the end of this turn. */
  send(session: Session, frame: string): void {
    if (session.state.kind !== 'connected') return;
    if (session.outgoing.push(frame) === 1) this.#unsent.push(session);
  }

  #open(session: Session, params: SessionOpenParams, reply: Reply): void {
    if (session.opened !== undefined) {
      reply.fail({ code: 'invalid_request', message: 'the session is open already' });
      return;
    }
    session.opened = params;
    const { config } = this.#options;
    const { frameBytesMax, batchEntriesMax, requestsInFlightMax, registrationsMax, subscriptionsMax } = config;
    const result: SessionOpenResult = {
      session: session.name,
      heartbeatMs: this.sessions.heartbeatMs,
      limits: { frameBytesMax, batchEntriesMax, requestsInFlightMax, registrationsMax, subscriptionsMax },
      secret: session.secret,
      registry: this.#options.registry,
      warming: this.#warmAtMs < Number.POSITIVE_INFINITY,
    };
    reply.succeed(wordResults.opened(result));
  }

  /** `ticket`: of a read that has been sent before, and needs more room. */
  #query(key: string, filter: string, reply: Reply, ticket?: ReadTicket): void {
    const refuse = (failure: Failure): void => {
      reply.fail(failure);
      ticket?.end();
    };
    if (this.#router.isShut(key)) {
      this.#router.gate.wait(
        key,
        () => {
          this.#query(key, filter, reply, ticket);
        },
        refuse,
      );
      return;
    }
    const read = ticket ?? reply.openRead?.('query', key);
    const asked = this.#router.ask({
      key,
      build: (request) => [toPartition.query, request, key, filter, read?.room ?? unlimitedRoom],
      settle: (answer) => {
        if (answer[0] === fromPartition.oversize && read !== undefined) {
          read.enlarge(
            answer[2],
            () => {
              this.#query(key, filter, reply, read);
            },
            (failure) => {
              reply.fail(failure);
              read.end();
            },
          );
          return;
        }
        if (answer[0] === fromPartition.state) reply.succeed(wordResults.state(answer[2], answer[4]));
        else reply.fail(readRefusal(answer));
        read?.end();
      },
    });
    if (typeof asked === 'number') return;
    reply.fail(asked);
    read?.end();
  }

  #list(params: ListParams, reply: Reply): void {
    // A slot on its way would be listed by neither owner.
    if (!this.#router.gate.isOpen) {
      this.#router.gate.waitForAll(
        () => {
          this.#list(params, reply);
        },
        (failure) => {
          reply.fail(failure);
        },
      );
      return;
    }
    const { namespace, prefix, limit, cursor } = params;
    const size = limit ?? protocolLimits.listLimitDefault;
    const after = cursor === undefined ? '' : Buffer.from(cursor, 'base64url').toString();
    const answers: Answer[] = [];
    const partitions = this.#router.links().length;
    const read = reply.openRead?.('list', '');
    const failure = this.#router.askAll({
      key: '',
      // One more than asked for tells whether there is a next page.
      build: (request) => [toPartition.list, request, namespace ?? '', prefix ?? '', after, size + 1],
      settle: (answer) => {
        if (answers.push(answer) < partitions) return;
        const refused = answers.find(([kind]) => kind === fromPartition.refused);
        if (refused === undefined) reply.succeed(wordResults.listed(mergePages(answers, size)));
        else reply.fail(readRefusal(refused));
        read?.end();
      },
    });
    if (failure === undefined) return;
    reply.fail(failure);
    read?.end();
  }
}

export function refuseDraining(retryAfterMs: number): Failure {
  return { code: 'draining', message: 'the server is stopping', retryAfterMs };
}

/** What a call is to those that come after it. */
function describeCall(call: Call): { readonly kind: CallKind; readonly key: string } {
  switch (call.method) {
    case 'service.query':
      return { kind: 'query', key: serviceKey(call.params) };
    case 'service.subscribe':
      return { kind: 'subscription', key: serviceKey(call.params) };
    case 'service.list':
      return { kind: 'list', key: '' };
    case 'instance.register':
      return { kind: 'change', key: call.key };
    case 'instance.deregister':
      return { kind: 'change', key: serviceKey(call.params) };
    case 'service.unsubscribe':
    case 'session.open':
    case 'session.registrations':
      return { kind: 'other', key: '' };
    default:
      return call satisfies never;
  }
}

/** One page, in the order of keys and ids: O(n log n) in what the session has registered. */
function pageRegistrations(log: SessionLog, { limit, cursor }: RegistrationsParams): RegistrationsResult {
  const size = limit ?? protocolLimits.listLimitDefault;
  const after = cursor === undefined ? '' : Buffer.from(cursor, 'base64url').toString();
  const names = log
    .names()
    .map(({ key, id }) => ({ key, id, place: `${key}\n${id}` }))
    .filter(({ place }) => place > after)
    .sort((a, b) => (a.place < b.place ? -1 : 1));
  const page = names.slice(0, size);
  const registrations = page.map(({ key, id }) => ({
    ...parseServiceKey(key),
    id,
    hash: hashRegistration(key, log.get(key, id)?.fragment ?? ''),
  }));
  const last = page.at(-1);
  return names.length > size && last !== undefined
    ? { registrations, cursor: Buffer.from(last.place).toString('base64url') }
    : { registrations };
}

function mergePages(answers: readonly Answer[], size: number): ListResult {
  const entries: { key: string; summary: ServiceSummary }[] = [];
  for (const answer of answers) {
    if (answer[0] !== fromPartition.listed) throw new Error(`not an answer to a list: ${answer[0]}`);
    const page = answer[2];
    for (let i = 0; i < page.length; i += 2) {
      const key = String(page[i]);
      entries.push({ key, summary: { ...parseServiceKey(key), instances: Number(page[i + 1]) } });
    }
  }
  entries.sort((a, b) => compareBytes(a.key, b.key));
  const services = entries.slice(0, size).map(({ summary }) => summary);
  const last = entries[size - 1];
  return entries.length > size && last !== undefined
    ? { services, cursor: Buffer.from(last.key).toString('base64url') }
    : { services };
}
