import type { ServerConfig } from '../config/config.ts';
import type { CloseReason, Failure } from '../protocol/errors.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import type { PartitionLink, Unasked } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import type { AdmissionRate } from '../runtime/admission-rate.ts';
import type { Counters } from '../runtime/counters.ts';
import { textCodec } from '../runtime/text-codec.ts';
import type { Socket } from '../transport/transport.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { Reply } from './answers.ts';
import type { WatchedAudience } from './audiences.ts';
import { ClaimNotices } from './claim-notices.ts';
import { Departures } from './departures.ts';
import { Dispatch } from './dispatch.ts';
import type { Encoding } from './encoding.ts';
import { HostJobs } from './host-jobs.ts';
import { HostLosses } from './host-losses.ts';
import { HostMeter } from './host-meter.ts';
import { jsonRpc } from './json-rpc.ts';
import type { LeaseNews } from './lease-record.ts';
import type { Held, LossReport } from './loss-messages.ts';
import { Opening } from './opening.ts';
import { Reads } from './reads.ts';
import { Registrar } from './registrar.ts';
import type { Call } from './requests.ts';
import { Resumption } from './resumption.ts';
import { SessionJournal } from './session-journal.ts';
import type { SessionEvent } from './session-journal.ts';
import { HostLog } from './session-log.ts';
import { SessionOutbox } from './session-outbox.ts';
import type { SessionRecord, TransferEvent } from './session-transfer.ts';
import type { Session } from './session.ts';
import { Sessions } from './sessions.ts';
import { Subscriptions } from './subscriptions.ts';
import type { WarmUp } from './warm-up.ts';

export interface SessionCoreOptions {
  /** Partitions address hosts by number. */
  readonly host: number;
  readonly config: ServerConfig;
  readonly router: Router;
  readonly counters: Counters;
  readonly admissionRate: AdmissionRate;
  readonly warmUp: WarmUp;
  readonly createName: () => string;
  /** What its sessions are sent; JSON-RPC if it is not said. */
  readonly encoding?: Encoding | undefined;
  /** 0 to 1. */
  readonly random: () => number;
  readonly schedule: (task: () => void) => void;
  readonly nowMs: number;
  /** Wall clock at the start, in µs. */
  readonly startedAtMicros: number;
  /** Names this registry and its history. */
  readonly registry: string;
  /** Whether the log wants to know who comes and goes. */
  readonly isVerbose: boolean;
  readonly onSession: (event: SessionEvent) => void;
  /** Tells the main thread of sessions that go on at another host; undefined: there is no other. */
  readonly tellMain?: ((event: TransferEvent) => void) | undefined;
  /** To the guard of the whole registry, wherever it is. */
  readonly reportLosses: (report: LossReport) => void;
  /** Sessions that a thread of the same number, which has ended, had begun. */
  readonly sessionsBefore?: number | undefined;
  /** A lease was granted, or has ended. */
  readonly onLease?: ((news: LeaseNews) => void) | undefined;
}

/** Holds sessions: reads what they ask, sends it to the owners of the slots, and hands back answers and pushes. */
export class SessionCore {
  readonly #options: SessionCoreOptions;
  readonly #router: Router;
  readonly #encoding: Encoding;
  readonly #counters: Counters;
  readonly sessions: Sessions;
  readonly #log: HostLog = new HostLog(textCodec);
  readonly losses: HostLosses;
  readonly meter: HostMeter = new HostMeter();
  readonly #journal: SessionJournal;
  readonly #registrar: Registrar;
  readonly #subscriptions: Subscriptions;
  readonly #claims: ClaimNotices;
  readonly resumption: Resumption;
  readonly #departures: Departures;
  readonly #outbox: SessionOutbox;
  /** Notices to many sessions, and work too large for one turn. */
  readonly #jobs: HostJobs;
  readonly #opening: Opening;
  readonly #dispatch: Dispatch;
  #isDraining = false;
  /** How often a guard has let something go, so that verdicts of before may be outdated. */
  #rechecks = 0;
  #isWarm = false;
  #nowMs: number;
  /** The throttled handshakes of all threads when they were last looked at. */
  #throttledSeen: number;

  constructor(options: SessionCoreOptions) {
    const { config, router, counters } = options;
    this.#options = options;
    this.#router = router;
    this.#encoding = options.encoding ?? jsonRpc;
    this.#counters = counters;
    this.#throttledSeen = options.admissionRate.throttledCount;
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
      sessionsBefore: options.sessionsBefore,
      onLease: options.onLease,
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
    this.#outbox = new SessionOutbox({
      sliceBytes: config.fanOutSliceBytes,
      schedule,
      send: (session) => {
        if (session.flush() === 'dropped' || session.hasLostAnswer) this.#close(session, 'slow_consumer');
        else this.sessions.judgeConsumption(session);
        session.lane?.poke();
      },
    });
    const flush = (): void => {
      this.#outbox.flush();
    };
    this.#jobs = new HostJobs({ stepsPerTurn, schedule, onPutOff }, flush);
    this.#departures = new Departures({
      stepsPerTurn,
      schedule,
      onPutOff,
      router,
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
      encoding: this.#encoding,
      counters,
      sliceMembers: config.fanOutSliceMembers,
      sliceBytes: config.fanOutSliceBytes,
      subscriptionsMax: config.subscriptionsMax,
      threadSubscriptionsMax: config.threadSubscriptionsMax,
      watchedServicesMax: config.watchedServicesMax,
      watchedNameBytesMax: config.watchedNameBytesMax,
      meter: this.meter,
      flush,
      warmUp: options.warmUp,
      readWallMicros: () => options.startedAtMicros + (this.#nowMs - options.nowMs) * 1000,
      schedule: options.schedule,
      onDropped: (session) => {
        this.sessions.judgeConsumption(session);
      },
    });
    this.#claims = new ClaimNotices({
      encoding: this.#encoding,
      schedule: options.schedule,
      flush,
    });
    this.#nowMs = options.nowMs;
    this.resumption = new Resumption({
      sessions: this.sessions,
      registrar: this.#registrar,
      router,
      config,
      tellMain: options.tellMain,
      succeed: (session, reply, resumed) => {
        this.#opening.answer(session, reply, resumed);
      },
      nowMs: options.nowMs,
    });
    const isWarming = (): boolean => this.isWarming;
    this.#opening = new Opening({
      config,
      registry: options.registry,
      sessions: this.sessions,
      resumption: this.resumption,
      journal: this.#journal,
      claims: this.#claims,
      isWarming,
    });
    this.#dispatch = new Dispatch({
      config,
      encoding: this.#encoding,
      router,
      counters,
      meter: this.meter,
      outbox: this.#outbox,
      opening: this.#opening,
      registrar: this.#registrar,
      subscriptions: this.#subscriptions,
      reads: new Reads({ router, jobs: this.#jobs, isWarming }),
      claims: this.#claims,
      isDraining: () => this.#isDraining,
      random: options.random,
      schedule,
      onOverrun: (session) => {
        this.#close(session, 'overrun');
      },
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
    const { warmUp, host } = this.#options;
    warmUp.shareHeld(host, this.#log.table.count);
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
    const { admissionRate } = this.#options;
    admissionRate.shareRequests(this.requestsInFlight);
    const { throttledCount } = admissionRate;
    if (throttledCount !== this.#throttledSeen) this.sessions.noteThrottled();
    this.#throttledSeen = throttledCount;
  }

  /** Requests under way to all partitions. */
  get requestsInFlight(): number {
    return this.#router.requestsInFlight;
  }

  /** Frames encoded for pushes so far (PU3). */
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
    this.sessions.onActivity(session);
    this.#dispatch.receive(session, text);
  }

  onActivity(session: Session): void {
    this.sessions.onActivity(session);
  }

  /** A pong came; it brings back the mark of the ping that it answers. */
  onPong(session: Session, mark: string): void {
    this.sessions.onActivity(session);
    if (this.sessions.acknowledge(session, mark)) this.#catchUp(session);
    session.lane?.poke();
    this.flush();
  }

  /** The socket's backlog is empty again. */
  onDrain(session: Session): void {
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

  /** Nothing more is sent to this connection. */
  #cutOff(session: Session): void {
    this.#dispatch.forget(session);
    this.resumption.forget(session);
    this.#subscriptions.unsubscribeAll(session);
    this.#claims.forget(session);
    this.sessions.slow.forget(session);
    session.lane?.close();
    session.outgoing = [];
  }

  /** Carries out a call for a session, or, for reads over HTTP, for nobody. */
  execute(session: Session | undefined, call: Call, reply: Reply): void {
    this.#dispatch.execute(session, call, reply);
  }

  /** A refusal as it is told: who meets a full queue together shall not come back together. */
  spread(failure: Failure): Failure {
    return this.#dispatch.spread(failure);
  }

  /** Sends what has gathered in this turn. */
  flush(): void {
    this.#outbox.flush();
  }

  /**
   * Ends a lease. Resolves when the owners have applied it, so that whoever asks from then on sees it, on whichever thread; or to why it cannot be ended now,
   * and then it lives on.
   */
  endLease(session: Session): Promise<Failure | undefined> {
    return new Promise((resolve) => {
      const keys = [...new Set(session.registrations.services())];
      const end = (): void => {
        this.sessions.end(session);
        void this.#departures
          .whenGone(session)
          .then(() => this.#router.whenApplied(keys))
          .then(() => {
            resolve(undefined);
          });
      };
      this.#router.whenThawed(keys, end, resolve);
    });
  }

  /** A partition said something unasked. */
  handleUnasked(record: Unasked, link: PartitionLink): void {
    switch (record[0]) {
      case fromPartition.push:
        this.#subscriptions.push(record, link.partition);
        return;
      case fromPartition.bound:
        this.#counters.countLimit(record[1]);
        return;
      case fromPartition.claim:
        this.#handleSessionRecord(record);
        return;
      default:
        record satisfies never;
    }
  }

  /**
   * What a partition says of one session goes to the host where that session began. If the session is elsewhere by now, or has been, the main thread passes
   * it on.
   */
  #handleSessionRecord(record: SessionRecord): void {
    const [, number, key, id] = record;
    const session = this.sessions.find(number);
    const isMisrouted =
      session === undefined ||
      session.identity.hasTravelled ||
      (session.state.kind === 'moving' && !session.registrations.has(key, id));
    if (isMisrouted) this.#options.tellMain?.({ kind: 'misrouted', record });
    else this.#handleClaim(record);
  }

  /**
   * What a partition holds for sessions of this host, whose thread is new: six fields a claim. What belongs to no session that is here is of one that was ending when
   * the thread before this one did, and goes.
   */
  takeBack(claims: readonly (string | number)[]): void {
    for (let i = 0; i < claims.length; i += 6) {
      const [number, key, id, fragment] = [Number(claims[i]), ...claims.slice(i + 1, i + 4).map(String)] as [
        number,
        string,
        string,
        string,
      ];
      const session = this.sessions.find(number);
      const [stamp, isHidden] = [Number(claims[i + 4]), claims[i + 5] === 1];
      if (session === undefined) this.#router.tell(key, [toPartition.withdraw, number, key, id]);
      else this.#registrar.takeBack(session, { key, id, fragment, stamp, isHidden });
    }
  }

  /** What another host was told of a session that is here; if it is not, it has ended. */
  handleMisrouted(record: SessionRecord): void {
    this.#handleClaim(record);
  }

  /** The audiences of services that `isLost` accepts. */
  watched(isLost: (key: string) => boolean): WatchedAudience[] {
    return this.#subscriptions.watched(isLost);
  }

  /** Something of services that `isLost` accepts is gone, and nobody knows what. */
  refresh(isLost: (key: string) => boolean): void {
    this.#subscriptions.refresh(isLost);
  }

  /** The registry is stopping: from now on nobody's leaving is told to others, and everybody is asked to come back later. */
  drain(reason: string): void {
    this.#isDraining = true;
    void this.requestReconnect(reason, 1, this.#options.config.reconnectSpreadMs);
  }

  /** Asks a share of the sessions, 0 to 1, to connect anew, each after a time of its own, `spreadMs` at most. Returns how many. */
  async requestReconnect(reason: string, share: number, spreadMs: number): Promise<number> {
    const { random } = this.#options;
    let leavers = 0;
    await this.#jobs.forEachConnected(this.sessions, (session) => {
      if (!session.understands('goaway') || (share < 1 && random() >= share)) return;
      leavers += 1;
      const reconnectAfterMs = Math.round(random() * spreadMs);
      this.#outbox.send(session, this.#encoding.encodeNotice({ kind: 'goaway', reason, reconnectAfterMs }));
    });
    return leavers;
  }

  /** Resolves when all are closed. */
  closeAll(): Promise<void> {
    return this.#jobs.forEachConnected(this.sessions, (session) => {
      this.#close(session, 'going_away');
    });
  }

  #handleClaim(record: Parameters<Registrar['handleClaim']>[0]): void {
    const session = this.#registrar.handleClaim(record);
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
}
