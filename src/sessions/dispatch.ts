import type { AccessCheck } from '../access/access-check.ts';
import { methodNeeds } from '../access/method-needs.ts';
import { needService } from '../access/policy.ts';
import type { Need } from '../access/policy.ts';
import type { HostAudit } from '../audit/host-audit.ts';
import type { ServerConfig } from '../config/config.ts';
import type { Actor } from '../protocol/actor.ts';
import type { Failure } from '../protocol/errors.ts';
import { encodeFilter } from '../protocol/instance-filter.ts';
import { serviceKey } from '../protocol/service-key.ts';
import { chooseVariant } from '../push/variant.ts';
import type { Router } from '../routing/router.ts';
import type { Counters } from '../runtime/counters.ts';
import type { Reply } from './answers.ts';
import { BatchAnswers } from './batch-answers.ts';
import { CallLane } from './call-lane.ts';
import type { CallKind } from './call-lane.ts';
import { CheckRules } from './check-rules.ts';
import type { ClaimNotices } from './claim-notices.ts';
import type { DrainState } from './drain-state.ts';
import type { Encoding } from './encoding.ts';
import type { HostMeter } from './host-meter.ts';
import type { IntakeLines } from './intake-lines.ts';
import { Intake } from './intake.ts';
import type { KeyCalls, KeyCaller } from './key-calls.ts';
import { nameInLane } from './key-requests.ts';
import type { KeyWatches } from './key-watches.ts';
import type { Opening } from './opening.ts';
import type { PersistentRequests } from './persistent-requests.ts';
import type { Reads } from './reads.ts';
import type { Registrar } from './registrar.ts';
import { readFrame } from './requests.ts';
import type { Call, Frame, Incoming, RegisterCall } from './requests.ts';
import type { SessionOutbox } from './session-outbox.ts';
import { SessionReply } from './session-reply.ts';
import type { ReplyHost } from './session-reply.ts';
import type { Session } from './session.ts';
import type { StandingOrders } from './standing-orders.ts';
import type { Subscriptions } from './subscriptions.ts';

export interface DispatchOptions {
  readonly config: ServerConfig;
  readonly encoding: Encoding;
  readonly router: Router;
  readonly counters: Counters;
  readonly meter: HostMeter;
  readonly outbox: SessionOutbox;
  /** Undefined: nothing is noted. */
  readonly audit: HostAudit | undefined;
  readonly opening: Opening;
  readonly registrar: Registrar;
  readonly persistent: PersistentRequests;
  readonly subscriptions: Subscriptions;
  readonly reads: Reads;
  readonly keys: KeyCalls;
  readonly keyWatches: KeyWatches;
  readonly notices: ClaimNotices;
  /** What has come and has not been carried out. */
  readonly lines: IntakeLines;
  readonly drain: DrainState;
  readonly orders: StandingOrders;
  readonly access: Pick<AccessCheck, 'refuse'>;
  /** 0 to 1. */
  readonly random: () => number;
  readonly schedule: (task: () => void) => void;
}

/** The longest wait before coming back to a full queue, in shortest ones. */
const busySpread = 4;
/** Of `fanOutSliceBytes`: up to there an answer is small, and fetched without asking whether there is room for it. */
const smallAnswersShare = 16;

/** From a frame to whatever carries out its calls: reads it, refuses what there is no room for, keeps calls in their order, and takes their answers. */
export class Dispatch implements ReplyHost {
  readonly #options: DispatchOptions;
  readonly #config: ServerConfig;
  readonly #intake: Intake;
  readonly #checkRules: CheckRules;
  readonly meter: HostMeter;
  readonly encoding: Encoding;

  constructor(options: DispatchOptions) {
    const { config, counters, schedule, outbox, lines } = options;
    this.#options = options;
    this.#config = config;
    this.#checkRules = new CheckRules(config);
    this.meter = options.meter;
    this.encoding = options.encoding;
    this.#intake = new Intake({
      lines,
      batchEntriesMax: config.batchEntriesMax,
      sliceBytes: config.frameSliceBytes,
      sessionBytesMax: config.sessionIntakeBytesMax,
      schedule,
      onOverrun: (session) => {
        counters.countClose('overrun');
        session.socket?.end('overrun');
      },
      onPutOff: (session) => {
        counters.countLimit('frameSliceBytes', session);
      },
      carryOut: (session, frame) => {
        this.#carryOutFrame(session, frame);
      },
      beginBatch: (session) => this.#beginBatch(session),
      take: (session, incoming, batch) => {
        this.#take(session, incoming, batch);
      },
      flush: () => {
        outbox.flush();
      },
    });
  }

  /** A text frame came. Whatever it holds, the session gets an answer or an error, and the host continues (WP3). */
  receive(session: Session, text: string): void {
    if (this.#intake.isFor(session, text)) this.#intake.add(session, text);
    else this.#carryOutFrame(session, readFrame(text, this.#config.batchEntriesMax));
    this.#options.outbox.flush();
  }

  #carryOutFrame(session: Session, frame: Frame): void {
    switch (frame.kind) {
      case 'single':
        this.#take(session, frame.incoming, undefined);
        break;
      case 'batch': {
        const answers = this.#beginBatch(session);
        for (const incoming of frame.entries) this.#take(session, incoming, answers);
        answers.close();
        break;
      }
      case 'unreadable':
        this.countRefusal(frame.failure, session, undefined);
        this.send(session, this.encoding.encodeRefusal(null, frame.failure));
        break;
      default:
        frame satisfies never;
    }
  }

  #beginBatch(session: Session): BatchAnswers {
    const answers = new BatchAnswers(this.#config.batchAnswerCharactersMax, (parts) => {
      this.send(session, this.encoding.joinBatch(parts));
    });
    session.openBatches += 1;
    answers.defer(() => {
      session.openBatches -= 1;
      this.#options.notices.catchUp(session);
    });
    return answers;
  }

  /** Carries out a call for a session, or, over HTTP, for nobody who has one. `actor`: who asks; by default whose session it is. */
  execute(session: Session | undefined, call: Call, reply: Reply, actor?: Actor): void {
    const refusal = this.#options.orders.refuse(call, session);
    if (refusal !== undefined) {
      reply.fail(refusal);
      return;
    }
    switch (call.method) {
      case 'service.query': {
        const { params } = call;
        this.#options.reads.query(session, serviceKey(params), encodeFilter(params), reply);
        return;
      }
      case 'service.list':
        this.#options.reads.list(call.params, reply);
        return;
      case 'kv.get':
        this.#options.keys.get(call.params.key, reply);
        return;
      case 'kv.put':
        this.#options.keys.put(describeKeyCaller(session, actor), call.params, reply);
        return;
      case 'kv.delete':
        this.#options.keys.delete(describeKeyCaller(session, actor), call.params, reply);
        return;
      case 'kv.list':
        this.#options.keys.list(call.params, reply);
        return;
      case 'kv.transact':
        this.#options.keys.transact(describeKeyCaller(session, actor), call.params, reply);
        return;
      default:
    }
    if (session === undefined) throw new Error(`${call.method} needs a session`);
    if (session.heldBack !== undefined && isAboutRegistrations(call)) {
      session.heldBack.push({
        run: () => {
          this.execute(session, call, reply, actor);
        },
        refuse: (failure) => {
          reply.fail(failure);
        },
      });
      return;
    }
    switch (call.method) {
      case 'session.open':
        this.#options.opening.open(session, call.params, reply);
        return;
      case 'session.registrations':
        this.#options.reads.registrations(session, call.params, reply);
        return;
      case 'instance.register':
        if (this.#refuseCheck(call, reply)) return;
        if (call.persistent === undefined) this.#options.registrar.register(session, call.key, call.instance, reply);
        else this.#options.persistent.register(this.laneOf(session), call.persistent, actor ?? session.actor, reply);
        return;
      case 'instance.deregister':
        if (call.params.persistent === true) {
          this.#options.persistent.deregister(this.laneOf(session), call.params, actor ?? session.actor, reply);
          return;
        }
        this.#options.registrar.deregister(session, serviceKey(call.params), call.params.id, reply);
        return;
      case 'instance.health': {
        const { id, health } = call.params;
        this.#options.registrar.reportHealth(session, serviceKey(call.params), id, health, reply);
        return;
      }
      case 'service.subscribe': {
        const { params } = call;
        this.#options.subscriptions.subscribe(
          session,
          serviceKey(params),
          chooseVariant(params.mode ?? 'delta', params),
          { version: params.version ?? 0, count: params.count },
          reply,
        );
        return;
      }
      case 'service.unsubscribe':
        this.#options.subscriptions.unsubscribe(session, serviceKey(call.params));
        reply.succeed({ kind: 'done' });
        return;
      case 'kv.watch':
        this.#options.keyWatches.watch(session, call.params, reply);
        return;
      case 'kv.unwatch': {
        const failure = this.#options.keyWatches.unwatch(session, call.params);
        if (failure === undefined) reply.succeed({ kind: 'done' });
        else reply.fail(failure);
        return;
      }
      default:
        call satisfies never;
    }
  }

  #refuseCheck({ instance }: RegisterCall, reply: Reply): boolean {
    const refusal = this.#checkRules.refuse(instance.fragment);
    if (refusal !== undefined) reply.fail(refusal);
    return refusal !== undefined;
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
    const { call } = incoming;
    const { heldUntilKnown } = session;
    if (heldUntilKnown === undefined) this.#admit(session, call, reply);
    else if (session.requestsInFlight > this.#config.requestsInFlightMax) reply.fail(this.#refuseInFlight());
    else {
      heldUntilKnown.push(() => {
        this.#admit(session, call, reply);
      });
    }
  }

  #admit(session: Session, call: Call, reply: SessionReply): void {
    const refusal = this.#refusal(session, call);
    if (refusal !== undefined) reply.fail(refusal);
    else {
      if (call.method !== 'session.open') session.hasAsked = true;
      this.#submit(session, call, reply);
    }
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
      isLasting: isLasting(call),
      run: () => {
        this.execute(session, call, reply);
      },
      refuse: (failure) => {
        reply.fail(failure);
      },
    });
  }

  laneOf(session: Session): CallLane {
    const { fanOutSliceBytes, slowConsumerBytesMax } = this.#config;
    session.lane ??= new CallLane({
      smallCharacters: Math.ceil(fanOutSliceBytes / smallAnswersShare),
      owedBytesMax: Math.ceil(slowConsumerBytesMax / 2),
      readOwedBytes: () => session.consumption.unconsumedBytes + session.unsentBytes,
    });
    return session.lane;
  }

  #refusal(session: Session, call: Call): Failure | undefined {
    const config = this.#config;
    if (this.#options.drain.isDraining) return refuseDraining(config.reconnectSpreadMs);
    if (config.openRequired && session.opened === undefined && call.method !== 'session.open') {
      return { code: 'not_open', message: 'session.open must come first' };
    }
    if (session.requestsInFlight > config.requestsInFlightMax) return this.#refuseInFlight();
    const denial = session.grant === undefined ? undefined : this.#options.access.refuse(session.grant, needsOf(call));
    if (denial !== undefined) return denial;
    // It has this request in flight, too.
    if (session.requestsInFlight > config.sessionShareRequests && this.#options.router.hasBusyPartition) {
      return {
        code: 'busy',
        message: 'the registry is overloaded, and this session has many requests in flight',
        limit: 'sessionShareRequests',
        max: config.sessionShareRequests,
        retryAfterMs: 200,
      };
    }
    return undefined;
  }

  #refuseInFlight(): Failure {
    const { requestsInFlightMax: max } = this.#config;
    const message = `${max} requests of this session are under way`;
    return { code: 'busy', message, limit: 'requestsInFlightMax', max, retryAfterMs: 100 };
  }

  countRefusal(failure: Failure, session: Session, method: string | undefined): void {
    this.#options.counters.countRefusal(failure.code, failure.limit, session);
    this.#options.audit?.noteRefusal(failure.code, session, method);
  }

  /** Who meets a full queue together shall not come back together. */
  spread(failure: Failure): Failure {
    const { code, limit, retryAfterMs } = failure;
    if (code !== 'busy' || limit === undefined || retryAfterMs === undefined) return failure;
    return { ...failure, retryAfterMs: Math.round(retryAfterMs * (1 + this.#options.random() * (busySpread - 1))) };
  }

  send(session: Session, frame: string): void {
    this.#options.outbox.send(session, frame);
  }
}

/** What a session that is taken over has registered must be known first; what is persistent is none of its own. */
function isAboutRegistrations(call: Call): boolean {
  return (
    call.method === 'session.registrations' ||
    call.method === 'instance.health' ||
    (isChange(call) && !isPersistent(call))
  );
}

type ChangeCall = Extract<Call, { readonly method: 'instance.register' | 'instance.deregister' }>;

function isChange(call: Call): call is ChangeCall {
  return call.method === 'instance.register' || call.method === 'instance.deregister';
}

function isPersistent(call: ChangeCall): boolean {
  return call.method === 'instance.register' ? call.persistent !== undefined : call.params.persistent === true;
}

/** What a session needs to be allowed for a call. */
function needsOf(call: Call): readonly Need[] {
  // Each method with its own params, which the compiler does not see.
  return call.method === 'instance.register'
    ? [needService('register', call.key)]
    : methodNeeds[call.method](call.params as never);
}

/** Without a session, whoever asks must be said. */
function describeKeyCaller(session: Session | undefined, actor: Actor | undefined): KeyCaller {
  const asking = actor ?? session?.actor;
  if (asking === undefined) throw new Error('keys are changed by nobody');
  return { session, actor: asking };
}

export function refuseDraining(retryAfterMs: number): Failure {
  return { code: 'draining', message: 'the server is stopping', retryAfterMs };
}

/** Whether it changes something that outlives the connection. */
function isLasting(call: Call): boolean {
  switch (call.method) {
    case 'instance.register':
    case 'instance.deregister':
    case 'instance.health':
    case 'kv.put':
    case 'kv.delete':
      return true;
    case 'kv.transact':
      return call.params.operations.some(({ op }) => op === 'put' || op === 'delete');
    case 'service.query':
    case 'service.subscribe':
    case 'service.unsubscribe':
    case 'service.list':
    case 'session.open':
    case 'session.registrations':
    case 'kv.get':
    case 'kv.list':
    case 'kv.watch':
    case 'kv.unwatch':
      return false;
    default:
      return call satisfies never;
  }
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
      return { kind: isPersistent(call) ? 'persistentChange' : 'change', key: call.key };
    case 'instance.deregister':
      return { kind: isPersistent(call) ? 'persistentChange' : 'change', key: serviceKey(call.params) };
    case 'instance.health':
      return { kind: 'change', key: serviceKey(call.params) };
    case 'session.registrations':
      return { kind: 'registrations', key: '' };
    case 'kv.get':
      return { kind: 'query', key: nameInLane(call.params.key) };
    case 'kv.put':
      return { kind: 'change', key: nameInLane(call.params.key) };
    case 'kv.delete':
      return { kind: 'change', key: nameInLane(call.params.key ?? '') };
    case 'kv.list':
      return { kind: 'keys', key: '' };
    case 'kv.transact':
      return { kind: call.params.operations.some(({ op }) => op === 'get') ? 'keys' : 'other', key: '' };
    case 'kv.watch':
      return { kind: 'query', key: nameInLane(call.params.key ?? call.params.prefix ?? '') };
    // Not ahead of the watch that it is to end.
    case 'kv.unwatch':
      return { kind: 'change', key: nameInLane(call.params.key ?? call.params.prefix ?? '') };
    case 'service.unsubscribe':
    case 'session.open':
      return { kind: 'other', key: '' };
    default:
      return call satisfies never;
  }
}
