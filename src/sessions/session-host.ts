import type { ServerConfig } from '../config/config.ts';
import { capabilityNames } from '../protocol/capabilities.ts';
import type { CloseReason, Failure } from '../protocol/errors.ts';
import { encodeFilter } from '../protocol/instance-filter.ts';
import { protocolLimits, protocolVersion, protocolVersionMin, protocolVersionUnsaid } from '../protocol/limits.ts';
import { hashRegistration } from '../protocol/registration-digest.ts';
import { parseServiceKey, serviceKey } from '../protocol/service-key.ts';
import type {
  ListParams,
  RegistrationsParams,
  RegistrationsResult,
  ResumedSession,
  SessionOpenParams,
  SessionOpenResult,
  SubscribeMode,
} from '../protocol/types.ts';
import { chooseVariant } from '../push/variant.ts';
import { readRefusal } from '../routing/partition-link.ts';
import type { Answer, PartitionLink, Unasked } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import type { Arrivals } from '../runtime/arrivals.ts';
import type { Counters } from '../runtime/counters.ts';
import { textCodec } from '../runtime/text-codec.ts';
import { WorkQueue } from '../runtime/work-queue.ts';
import { compareBytes } from '../store/byte-order.ts';
import type { Socket } from '../transport/transport.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import { AnswerPacer } from './answer-pacer.ts';
import { BatchAnswers, unlimitedRoom, wordError, wordNotification, wordResults } from './answers.ts';
import type { ReadTicket, Reply } from './answers.ts';
import { CallLane } from './call-lane.ts';
import type { CallKind } from './call-lane.ts';
import { ClaimNotices } from './claim-notices.ts';
import { Departures } from './departures.ts';
import { HostLosses } from './host-losses.ts';
import { HostMeter } from './host-meter.ts';
import { Intake } from './intake.ts';
import type { Held, LossReport } from './loss-messages.ts';
import { Registrar } from './registrar.ts';
import { readFrame } from './requests.ts';
import type { Call, Frame, Incoming } from './requests.ts';
import { Resumption } from './resumption.ts';
import { ServicePage } from './service-page.ts';
import { SessionJournal } from './session-journal.ts';
import type { SessionEvent } from './session-journal.ts';
import { HostLog } from './session-log.ts';
import type { SessionLog } from './session-log.ts';
import { SessionReply } from './session-reply.ts';
import type { ReplyHost } from './session-reply.ts';
import type { SessionRecord, TransferEvent } from './session-transfer.ts';
import type { Session } from './session.ts';
import { Sessions } from './sessions.ts';
import { Subscriptions } from './subscriptions.ts';
import type { WatchedAudience } from './subscriptions.ts';
import type { WarmUp } from './warm-up.ts';

export interface SessionHostOptions {
  /** Partitions address hosts by number. */
  readonly host: number;
  readonly config: ServerConfig;
  readonly router: Router;
  readonly counters: Counters;
  readonly arrivals: Arrivals;
  readonly warmUp: WarmUp;
  readonly createName: () => string;
  /** 0 to 1. */
  readonly random: () => number;
  readonly schedule: (task: () => void) => void;
  readonly nowMs: number;
  /** Wall clock at the start, in µs. */
  readonly bornMicros: number;
  /** Names this registry and its history. */
  readonly registry: string;
  /** Whether the log wants to know who comes and goes. */
  readonly isVerbose: boolean;
  readonly onSession: (event: SessionEvent) => void;
  /** Tells the main thread of sessions that go on at another host; undefined: there is no other. */
  readonly tellMain?: ((event: TransferEvent) => void) | undefined;
  /** To the guard of the whole registry, wherever it is. */
  readonly reportLosses: (report: LossReport) => void;
}

/** The longest wait before coming back to a full queue, in shortest ones. */
const busySpread = 4;
/** Of `fanOutSliceBytes`: up to there an answer is small, and fetched without asking whether there is room for it. */
const smallAnswersShare = 16;

/** To send a session a frame, or to close it, costs as much as so many steps of other work. */
const stepsToTell = 4;

/** Holds sessions: reads what they ask, sends it to the owners of the slots, and hands back answers and pushes. */
export class SessionHost implements ReplyHost {
  readonly #options: SessionHostOptions;
  readonly #router: Router;
  readonly #counters: Counters;
  readonly sessions: Sessions;
  readonly #log: HostLog = new HostLog(textCodec);
  readonly losses: HostLosses;
  readonly meter: HostMeter = new HostMeter();
  readonly #journal: SessionJournal;
  readonly #registrar: Registrar;
  readonly #subscriptions: Subscriptions;
  readonly #pacer: AnswerPacer;
  readonly #claims: ClaimNotices;
  readonly resumption: Resumption;
  readonly #departures: Departures;
  readonly #intake: Intake;
  /** What is told to many sessions, or costs more than others pay for. */
  readonly #telling: WorkQueue;
  /** Sessions with frames to be sent at the end of this turn. */
  #unsent: Session[] = [];
  #isDraining = false;
  /** How often a guard has let something go, so that verdicts of before may be outdated. */
  #rechecks = 0;
  #isWarm = false;
  #nowMs: number;
  /** Of arrivals: how often somebody was kept out. */
  #crowdsSeen: number;

  constructor(options: SessionHostOptions) {
    const { config, router, counters } = options;
    this.#options = options;
    this.#router = router;
    this.#counters = counters;
    this.#crowdsSeen = options.arrivals.crowds;
    this.#journal = new SessionJournal(options.isVerbose, options.onSession);
    counters.watch({
      onBound: (bound, cause) => {
        this.#journal.noteBound(bound, cause, this.sessions.clockMs);
      },
      onRefusal: (code, cause) => {
        this.#journal.noteRefusal(code, cause, this.sessions.clockMs);
      },
    });
    this.sessions = new Sessions({
      host: options.host,
      log: this.#log,
      config,
      counters,
      createName: options.createName,
      nowMs: options.nowMs,
      schedule: options.schedule,
      isBusy: () => this.#departures.isBusy,
      onBreak: ({ number, registrations }) => {
        this.losses.noteMissing(number, () => registrations.services());
      },
      onExpire: (session) => {
        // PU5: what is held back stays so while the registry stops.
        if (!this.#isDraining) this.losses.ask(session.number);
      },
      onReturn: (session) => {
        this.losses.noteBack(session.number);
      },
      onFenced: (session) => {
        this.#cutOff(session);
      },
      onEnd: (session) => {
        // PU5: a registry that stops says goodbye; it does not tell anybody that everybody has gone.
        if (this.#isDraining) this.#forget(session);
        else this.#departures.end(session);
      },
    });
    const { schedule } = options;
    const { turnStepsMax: stepsPerTurn } = config;
    const onPutOff = (): void => {
      counters.countLimit('turnStepsMax');
    };
    this.#telling = new WorkQueue({ stepsPerTurn, schedule, onPutOff });
    this.#departures = new Departures({
      stepsPerTurn,
      schedule,
      onPutOff,
      gate: router.gate,
      withdraw: (session, name, cause) => {
        this.#registrar.withdraw(session, name, cause);
      },
      giveUp: (session, name) => {
        this.#registrar.giveUp(session, name);
      },
      isStopping: () => this.#isDraining,
      onGone: (session) => {
        this.#forget(session);
      },
      readVerdicts: () => this.#rechecks,
      onLost: (session, isOutdated) => {
        this.sessions.settle(session);
        // What was let go while it waited for a slot, it was not looked at for: it was not held yet.
        if (isOutdated) this.sessions.recheckHeld();
      },
    });
    this.#intake = new Intake({
      batchEntriesMax: config.batchEntriesMax,
      sliceBytes: config.frameSliceBytes,
      sessionBytesMax: config.sessionIntakeBytesMax,
      schedule,
      onOverrun: (session) => {
        this.#close(session, 'overrun');
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
        this.flush();
      },
    });
    this.losses = new HostLosses({
      host: options.host,
      seed: options.registry,
      report: options.reportLosses,
      onVerdict: (session, held) => {
        this.#carryOut(session, held);
      },
      onRecheck: () => {
        this.#rechecks += 1;
        this.sessions.recheckHeld();
      },
      schedule: options.schedule,
    });
    this.#registrar = new Registrar({
      router,
      losses: this.losses,
      log: this.#log,
      config,
      findSession: (number) => this.sessions.find(number),
      onClaim: (session, { key, id }) => {
        this.#claims.note(session, key, id);
      },
      onGivenUp: (number) => {
        const session = this.sessions.find(number);
        if (session !== undefined) this.sessions.endEmptied(session);
      },
    });
    this.#subscriptions = new Subscriptions({
      router,
      counters,
      sliceMembers: config.fanOutSliceMembers,
      sliceBytes: config.fanOutSliceBytes,
      subscriptionsMax: config.subscriptionsMax,
      threadSubscriptionsMax: config.threadSubscriptionsMax,
      watchedServicesMax: config.watchedServicesMax,
      watchedNameBytesMax: config.watchedNameBytesMax,
      meter: this.meter,
      flush: () => {
        this.flush();
      },
      warmUp: options.warmUp,
      readWallMicros: () => options.bornMicros + (this.#nowMs - options.nowMs) * 1000,
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
    this.#claims = new ClaimNotices({
      schedule: options.schedule,
      flush: () => {
        this.flush();
      },
    });
    this.#nowMs = options.nowMs;
    this.resumption = new Resumption({
      sessions: this.sessions,
      registrar: this.#registrar,
      router,
      config,
      tellMain: options.tellMain,
      succeed: (session, reply, resumed) => {
        this.#answerOpen(session, reply, resumed);
      },
      nowMs: options.nowMs,
    });
  }

  /** Moves the host's clock on. */
  tick(nowMs: number): void {
    this.#nowMs = nowMs;
    this.#noteArrivals();
    this.#noteWarmUp();
    this.#subscriptions.tick(nowMs);
    this.sessions.tick(nowMs);
    // On the clock that stands while the process does.
    this.resumption.tick(this.sessions.clockMs);
    this.#journal.tick(this.sessions.clockMs);
    this.losses.flush();
    this.flush();
  }

  #noteWarmUp(): void {
    const { warmUp } = this.#options;
    warmUp.shareHeld(this.#log.table.count);
    if (warmUp.isOver && !this.#isWarm) {
      this.#isWarm = true;
      this.#subscriptions.warmUp();
    }
  }

  /** A partition has begun a life: this host speaks to it from now on. */
  greet(link: PartitionLink): void {
    this.#subscriptions.greet(link);
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

  get subscriptionsWarming(): number {
    return this.#subscriptions.warmingCount;
  }

  get subscriptionCounts(): Readonly<Record<SubscribeMode, number>> {
    return this.#subscriptions.counts;
  }

  /** Whether those who were there before the start are still coming back. */
  get isWarming(): boolean {
    return !this.#options.warmUp.isOver;
  }

  get isDraining(): boolean {
    return this.#isDraining;
  }

  connect(socket: Socket): Session {
    const session = this.sessions.connect(socket);
    this.#journal.noteConnected(session);
    return session;
  }

  /** A text frame came. Whatever it holds, the session gets an answer or an error, and the host goes on (WP3). */
  receive(session: Session, text: string): void {
    // SE8: another connection has taken it over, and what still comes on this one counts no more.
    if (session.state.kind !== 'connected') return;
    this.sessions.hear(session);
    if (this.#intake.isFor(session, text)) this.#intake.add(session, text);
    else this.#carryOutFrame(session, readFrame(text, this.#options.config.batchEntriesMax));
    this.flush();
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
        this.countRefusal(frame.failure, session);
        this.send(session, wordError(null, frame.failure));
        break;
      default:
        frame satisfies never;
    }
  }

  #beginBatch(session: Session): BatchAnswers {
    const answers = new BatchAnswers(this.#options.config.batchAnswerCharactersMax, (answer) => {
      this.send(session, answer);
    });
    session.openBatches += 1;
    answers.defer(() => {
      session.openBatches -= 1;
      this.#claims.catchUp(session);
    });
    return answers;
  }

  hear(session: Session): void {
    this.sessions.hear(session);
  }

  /** A pong came; it brings back the mark of the ping that it answers. */
  ponged(session: Session, mark: string): void {
    this.sessions.hear(session);
    if (this.sessions.acknowledge(session, mark)) this.#catchUp(session);
    session.lane?.poke();
    this.flush();
  }

  /** The socket's backlog is empty again. */
  drained(session: Session): void {
    // A mark that found no room, or has not been sent since.
    if (session.consumption.isBehind && session.consumption.isUnmarked) session.ping();
    if (!session.consumption.isBehind) this.#catchUp(session);
  }

  #catchUp(session: Session): void {
    this.#claims.catchUp(session);
    this.#subscriptions.catchUp(session);
  }

  /** A page of an Origin that is not allowed has called from an address. */
  noteOriginRefused(origin: string, address: string): void {
    this.#journal.noteOriginRefused(origin, address, this.sessions.clockMs);
  }

  /** The socket has closed. Only an orderly close by the client removes at once (SE2). `reason`: this side closed it. */
  disconnected(session: Session, isClean: boolean, reason?: CloseReason): void {
    this.#journal.noteEnded(session, isClean, reason, this.sessions.clockMs);
    this.#cutOff(session);
    if (isClean) this.sessions.end(session);
    else this.sessions.break(session);
  }

  /** Nothing is told to this connection any more. */
  #cutOff(session: Session): void {
    this.#intake.forget(session);
    this.resumption.forget(session);
    this.#subscriptions.unsubscribeAll(session);
    this.#claims.forget(session);
    this.sessions.slow.forget(session);
    session.lane?.close();
    session.outgoing = [];
  }

  /** Carries out a call for a session, or, for reads over HTTP, for nobody. */
  execute(session: Session | undefined, call: Call, reply: Reply): void {
    switch (call.method) {
      case 'service.query': {
        const { params } = call;
        this.#query(session, serviceKey(params), encodeFilter(params), reply);
        return;
      }
      case 'service.list':
        this.#list(call.params, reply);
        return;
      default:
    }
    if (session === undefined) throw new Error(`${call.method} needs a session`);
    if (session.heldBack !== undefined && isAboutRegistrations(call)) {
      session.heldBack.push({
        run: () => {
          this.execute(session, call, reply);
        },
        refuse: (failure) => {
          reply.fail(failure);
        },
      });
      return;
    }
    switch (call.method) {
      case 'session.open':
        this.#open(session, call.params, reply);
        return;
      case 'session.registrations':
        this.#pageRegistrations(session, call.params, reply);
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
          { version: params.version ?? 0, count: params.count },
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

  /**
   * Ends a lease. Resolves when the owners have applied it, so that whoever asks from then on sees it, on whichever thread; or to why it cannot be ended now,
   * and then it lives on.
   */
  endLease(session: Session): Promise<Failure | undefined> {
    return new Promise((resolve) => {
      const keys = new Set(session.registrations.services());
      const end = (): void => {
        this.sessions.end(session);
        void this.#departures
          .whenGone(session)
          .then(() => this.#router.whenApplied(keys))
          .then(() => {
            resolve(undefined);
          });
      };
      const { gate } = this.#router;
      if (Array.from(keys).some((key) => gate.isShut(key))) gate.waitForAll(end, resolve);
      else end();
    });
  }

  /** A partition said something unasked. */
  takeUnasked(record: Unasked, link: PartitionLink): void {
    switch (record[0]) {
      case fromPartition.push:
        this.#subscriptions.push(record, link.partition);
        return;
      case fromPartition.bound:
        this.#counters.countLimit(record[1]);
        return;
      case fromPartition.claim:
        this.#takeSessionRecord(record);
        return;
      default:
        record satisfies never;
    }
  }

  /**
   * What a partition says of one session goes to the host where that session began. If the session is elsewhere by now, or has been, the main thread passes
   * it on.
   */
  #takeSessionRecord(record: SessionRecord): void {
    const [, number, key, id] = record;
    const session = this.sessions.find(number);
    const isAstray =
      session === undefined ||
      session.identity.hasTravelled ||
      (session.state.kind === 'moving' && !session.registrations.has(key, id));
    if (isAstray) this.#options.tellMain?.({ kind: 'astray', record });
    else this.#takeClaim(record);
  }

  /** What another host was told of a session that is here; if it is not, it has ended. */
  takeAstray(record: SessionRecord): void {
    this.#takeClaim(record);
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
    void this.sendAway(reason, 1, this.#options.config.reconnectSpreadMs);
  }

  /** Asks a share of the sessions, 0 to 1, to connect anew, each after a time of its own, `spreadMs` at most. Returns how many. */
  async sendAway(reason: string, share: number, spreadMs: number): Promise<number> {
    const { random } = this.#options;
    let leavers = 0;
    await this.#tellAll((session) => {
      if (!session.understands('goaway') || (share < 1 && random() >= share)) return;
      leavers += 1;
      const reconnectAfterMs = Math.round(random() * spreadMs);
      this.send(session, wordNotification('session.goaway', { reason, reconnectAfterMs }));
    });
    return leavers;
  }

  /** Resolves when all are closed. */
  closeAll(): Promise<void> {
    return this.#tellAll((session) => {
      this.#close(session, 'going_away');
    });
  }

  /** Does something with each session that is connected now; of many, in turns. Resolves when it is done with all. */
  async #tellAll(tell: (session: Session) => void): Promise<void> {
    const { connectedCount, lastArrival } = this.sessions;
    if (connectedCount === 0) return;
    const rest = this.sessions.all();
    await new Promise<void>((resolve) => {
      const job = {
        isDone: false,
        run: (steps: number): number => {
          let taken = 0;
          while (taken < steps) {
            const { value: session, done } = rest.next();
            // Who came later is not meant.
            job.isDone = done === true || session === undefined || session.arrival > lastArrival;
            if (job.isDone || session === undefined) break;
            taken += stepsToTell;
            if (session.state.kind === 'connected') tell(session);
          }
          this.flush();
          if (job.isDone) resolve();
          return taken;
        },
      };
      this.#telling.add(job);
    });
  }

  #takeClaim(record: Parameters<Registrar['takeClaim']>[0]): void {
    const session = this.#registrar.takeClaim(record);
    if (session === undefined) return;
    const [, , , , , state, limit] = record;
    if (state === 'dropped') this.#counters.countLimit(limit, session);
    this.sessions.endEmptied(session);
  }

  /** Nothing is left of a session. */
  #forget(session: Session): void {
    const { number, identity } = session;
    this.sessions.forget(session);
    this.losses.noteEnded(number);
    if (identity.hasTravelled) this.#options.tellMain?.({ kind: 'gone', session: number });
  }

  /** A broken session has been judged: what no guard holds back goes. */
  #carryOut(number: number, held: Held): void {
    const session = this.sessions.find(number);
    // PU5: a verdict from before a registry began to stop is void, too.
    if (session === undefined || this.#isDraining) return;
    const kept = new Set(held === 'all' || held === 'none' ? [] : held);
    this.#departures.lose(session, (key) => held === 'all' || kept.has(key));
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
    else {
      if (incoming.call.method !== 'session.open') session.hasAsked = true;
      this.#submit(session, incoming.call, reply);
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

  countRefusal(failure: Failure, session: Session): void {
    this.#counters.countRefusal(failure.code, failure.limit, session);
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
    const { resume, protocol = protocolVersionUnsaid } = params;
    if (protocol < protocolVersionMin) {
      reply.fail(refuseVersion(protocol));
      return;
    }
    if (resume === undefined) {
      session.opened = keepOpening(params);
      this.#answerOpen(session, reply, undefined);
      return;
    }
    if (session.hasAsked && resume !== session.secret) {
      reply.fail({ code: 'invalid_request', message: 'a session is taken over by the first request of a connection' });
      return;
    }
    session.opened = keepOpening(params);
    this.resumption.begin(session, resume, reply);
  }

  #answerOpen(session: Session, reply: Reply, resumed: ResumedSession | undefined): void {
    this.#journal.noteOpened(session);
    if (resumed !== undefined) {
      for (const { key, id } of session.registrations.doubtTold()) this.#claims.note(session, key, id);
    }
    const { config } = this.#options;
    const { frameBytesMax, batchEntriesMax, requestsInFlightMax, registrationsMax, subscriptionsMax } = config;
    const result: SessionOpenResult = {
      session: session.name,
      heartbeatMs: this.sessions.heartbeatMs,
      limits: { frameBytesMax, batchEntriesMax, requestsInFlightMax, registrationsMax, subscriptionsMax },
      ...(session.understands('resume') ? { secret: session.secret } : {}),
      registry: this.#options.registry,
      warming: this.isWarming,
      protocol: Math.min(session.opened?.protocol ?? protocolVersionUnsaid, protocolVersion),
      capabilities: capabilityNames,
      ...(resumed === undefined ? {} : { resumed }),
    };
    reply.succeed(wordResults.opened(result));
  }

  /** Of a session that has many, it costs as much as taking them away: one at a time. */
  #pageRegistrations({ registrations }: Session, params: RegistrationsParams, reply: Reply): void {
    const read = reply.openRead?.('registrations', '');
    this.#later(registrations.size, () => {
      reply.succeed(wordResults.registrations(pageRegistrations(registrations, params)));
      read?.end();
    });
  }

  /** Does what costs so many steps when its turn comes, which is now if there is time. */
  #later(steps: number, work: () => void): void {
    const job = {
      isDone: false,
      run: (): number => {
        job.isDone = true;
        work();
        this.flush();
        return steps;
      },
    };
    this.#telling.add(job);
  }

  /** `ticket`: of a read that has been sent before, and needs more room. */
  #query(
    reader: Session | undefined,
    key: string,
    filter: string,
    reply: Reply,
    ticket?: ReadTicket,
    number: number = this.#router.drawNumber(),
  ): void {
    if (this.#router.isShut(key)) {
      this.#router.gate.wait(
        key,
        () => {
          this.#query(reader, key, filter, reply, ticket, number);
        },
        (failure) => {
          reply.fail(failure);
          ticket?.end();
        },
      );
      return;
    }
    const read = ticket ?? reply.openRead?.('query', key);
    const asked = this.#router.ask(
      {
        key,
        reader,
        build: (request) => [toPartition.query, request, key, filter, read?.room ?? unlimitedRoom],
        settle: (answer) => {
          if (answer[0] === fromPartition.oversize && read !== undefined) {
            read.enlarge(
              answer[2],
              () => {
                this.#query(reader, key, filter, reply, read);
              },
              (failure) => {
                reply.fail(failure);
                read.end();
              },
            );
            return;
          }
          if (answer[0] === fromPartition.state) {
            const isFilling = this.isWarming && reader?.understands('warming') !== false;
            reply.succeed(wordResults.state(answer[2], answer[4], isFilling));
          } else {
            reply.fail(readRefusal(answer));
          }
          read?.end();
        },
      },
      number,
    );
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
    const page = new ServicePage(size);
    let refused: Answer | undefined;
    let awaited = this.#router.links().length;
    const read = reply.openRead?.('list', '');
    // Else a batch would have pages made for nothing.
    const failure =
      read?.refusal ??
      this.#router.askAll({
        key: '',
        // One more than asked for tells whether there is a next page.
        build: (request) => [toPartition.list, request, namespace ?? '', prefix ?? '', after, size + 1],
        settle: (answer) => {
          if (answer[0] === fromPartition.listed) page.add(answer[2]);
          else refused = answer;
          awaited -= 1;
          if (awaited > 0) return;
          // Wording many large pages is more than one turn has room for.
          this.#later(size, () => {
            if (refused === undefined) reply.succeed(wordResults.listed(page.read()));
            else reply.fail(readRefusal(refused));
            read?.end();
          });
        },
      });
    if (failure === undefined) return;
    reply.fail(failure);
    read?.end();
  }
}

/** What a session that is taken over has registered must be known first. */
function isAboutRegistrations({ method }: Call): boolean {
  return method === 'instance.register' || method === 'instance.deregister' || method === 'session.registrations';
}

/** What is kept of how a client opened its session: no credentials, and nothing that this version does not know. */
function keepOpening({ client, app, protocol, capabilities }: SessionOpenParams): SessionOpenParams {
  const known = capabilities === undefined ? undefined : capabilityNames.filter((name) => capabilities.includes(name));
  return {
    client,
    ...(app === undefined ? {} : { app }),
    ...(protocol === undefined ? {} : { protocol }),
    ...(known === undefined ? {} : { capabilities: known }),
  };
}

function refuseVersion(protocol: number): Failure {
  const message = `the client speaks version ${protocol} of the protocol; this server speaks ${protocolVersionMin} to ${protocolVersion}`;
  return { code: 'unsupported_version', message, field: '/protocol' };
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
    case 'session.registrations':
      return { kind: 'registrations', key: '' };
    case 'service.unsubscribe':
    case 'session.open':
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
    .filter(({ place }) => compareBytes(place, after) > 0)
    .sort((a, b) => compareBytes(a.place, b.place));
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
