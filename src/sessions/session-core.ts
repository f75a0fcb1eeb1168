import { anonymous } from '../access/access-check.ts';
import type { AccessCheck, AccessTables, Grant } from '../access/access-check.ts';
import type { StorePort } from '../durable/commits.ts';
import type { KeptSession } from '../journal/session-records.ts';
import type { Actor } from '../protocol/actor.ts';
import type { CloseReason, ErrorCode, Failure } from '../protocol/errors.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import type { PartitionLink, Unasked } from '../routing/partition-link.ts';
import type { ShownCredentials, Socket } from '../transport/transport.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { Reply } from './answers.ts';
import type { WatchedAudience } from './audiences.ts';
import type { HostMeter } from './host-meter.ts';
import type { KeyWatchFigures } from './key-watches.ts';
import type { LeaseRecord } from './lease-record.ts';
import type { GuardOrders } from './loss-messages.ts';
import { PersistentSession } from './persistent-session.ts';
import type { Call } from './requests.ts';
import type { Resumption } from './resumption.ts';
import { createSessionParts } from './session-parts.ts';
import type { SessionParts, SessionPartsOptions } from './session-parts.ts';
import type { SessionRecord } from './session-transfer.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { Orders } from './standing-orders.ts';

const nothingShown: ShownCredentials = { authorization: '', certificate: undefined };
/** How long whoever may do nothing has to show credentials, in milliseconds. */
const strangerMs = 10_000;

/** Holds sessions: reads what they ask, sends it to the owners of the slots, and hands back answers and pushes. */
export class SessionCore {
  readonly sessions: Sessions;
  readonly meter: HostMeter;
  readonly resumption: Resumption;
  readonly #options: SessionPartsOptions;
  readonly #parts: SessionParts;
  #isWarm = false;
  #nextReviewMs = 0;
  #hasNotedHolders = false;
  /** Sessions of the life before that ended while it stopped. */
  readonly #ended: Session[] = [];
  /** The throttled handshakes of all threads when they were last looked at. */
  #throttledSeen: number;

  constructor(options: SessionPartsOptions) {
    this.#options = options;
    this.#throttledSeen = options.admissionRate.throttledCount;
    this.#parts = createSessionParts(options);
    this.sessions = this.#parts.sessions;
    this.meter = this.#parts.meter;
    this.resumption = this.#parts.resumption;
  }

  /** Who callers are, and what they may do. */
  get access(): AccessCheck {
    return this.#options.access;
  }

  /** Moves the host's clock on. */
  tick(nowMs: number): void {
    const { clock, subscriptions, sessions, slow, resumption, journal, keys, keyWatches, losses } = this.#parts;
    this.#noteArrivals();
    this.access.tick(nowMs);
    this.#reviewExpired(nowMs);
    clock.tick(nowMs);
    this.#noteWarmUp();
    subscriptions.tick(nowMs);
    sessions.tick();
    slow.tick();
    resumption.tick();
    journal.tick(clock.runningMs);
    keys.tick();
    keyWatches.tick(nowMs);
    losses.flush();
    this.#options.audit?.tick();
    this.flush();
  }

  #noteWarmUp(): void {
    const { warmUp, number } = this.#options;
    warmUp.shareHeld(number, this.sessions.registrationCount);
    if (!warmUp.isOver) this.#isWarm = false;
    else if (!this.#isWarm) {
      this.#isWarm = true;
      this.#parts.subscriptions.warmUp();
    }
    if (this.areHoldersKnown && !this.#hasNotedHolders) this.#parts.holding.noteEveryoneBack();
    this.#hasNotedHolders = this.areHoldersKnown;
    if (this.#isWarm && this.sessions.unconfirmedCount > 0 && !this.resumption.isRecalling) {
      this.sessions.giveUpUnconfirmed();
    }
  }

  /** Holds the sessions and leases of the life before again; what they hold is still to be recalled, until {@link endRecall}. */
  beginRecall(earlier: readonly KeptSession[]): void {
    this.resumption.beginRecall();
    for (const { ttlMs, mayHold = false, hasEnded = false, ...session } of earlier) {
      const { secret: lease, ...rest } = session;
      if (hasEnded) this.#ended.push(this.sessions.restoreSession({ ...session, mayHold }));
      else if (ttlMs === undefined) this.sessions.restoreSession({ ...session, mayHold });
      // What was written last may not have been noted.
      else this.#restoreLease({ ...rest, lease, ttlMs, mayHold: true });
    }
  }

  #restoreLease(record: LeaseRecord): void {
    this.sessions.restoreLease(record, this.#options.config.warmUpMs);
    const session = this.sessions.find(record.number);
    if (session !== undefined) this.#parts.holding.vouch(session.identity);
  }

  /** Names of sessions that have ended, and hold keys until what they asked for is answered. */
  *endingHolders(): Generator<string, void, undefined> {
    for (const { holder } of this.#parts.holding.ending()) yield holder;
  }

  /** What they have registered has been recalled: once partitions know that they may still hold keys, clients may take them over. */
  async endRecall(): Promise<void> {
    await this.#parts.holding.vouchForEarlier(this.sessions.unconfirmed());
    this.resumption.endRecall();
    for (const session of this.#ended.splice(0)) this.sessions.end(session);
    this.flush();
  }

  /** A partition has begun a life: this host speaks to it from now on. */
  greet(link: PartitionLink): void {
    this.#parts.subscriptions.greet(link);
  }

  /** The store, or another life of its thread: it tells this host of keys that sessions watch. */
  connectStore(port: StorePort): void {
    this.#parts.keyWatches.connectStore(port);
  }

  /** What threads tell each other about connections that are being made. */
  #noteArrivals(): void {
    const { admissionRate } = this.#options;
    admissionRate.shareRequests(this.requestsInFlight);
    const { throttledCount } = admissionRate;
    if (throttledCount !== this.#throttledSeen) this.sessions.noteThrottled();
    this.#throttledSeen = throttledCount;
  }

  /** Requests in flight to all partitions. */
  get requestsInFlight(): number {
    return this.#options.router.requestsInFlight;
  }

  /** Frames encoded for pushes so far (PU3). */
  get framesEncoded(): number {
    return this.#parts.subscriptions.framesEncoded;
  }

  /** Pushes handed to sockets so far, and subscriptions that there are. */
  get framesSent(): Readonly<Record<SubscribeMode, number>> {
    return this.#parts.subscriptions.framesSent;
  }

  get keyWatchFigures(): KeyWatchFigures {
    const { count, changesSent, resyncsSent } = this.#parts.keyWatches;
    return { watches: count, changesSent, resyncsSent };
  }

  /** Subscriptions to a service that have begun. */
  countSubscribers(key: string): number {
    return this.#parts.subscriptions.countSubscribers(key);
  }

  get subscriptionsWarming(): number {
    return this.#parts.subscriptions.warmingCount;
  }

  get subscriptionCounts(): Readonly<Record<SubscribeMode, number>> {
    return this.#parts.subscriptions.counts;
  }

  /** Whether those who were there before the start are still coming back. */
  get isWarming(): boolean {
    return !this.#options.warmUp.isOver;
  }

  /** See `WarmUp`. */
  get areHoldersKnown(): boolean {
    return this.#options.warmUp.areHoldersKnown;
  }

  get isDraining(): boolean {
    return this.#parts.drain.isDraining;
  }

  /** The weight that a service is declared with, which instances get from now on that are registered without one; undefined: none. */
  setDefaultWeight(key: string, weight: number | undefined): void {
    this.#parts.weights.set(key, weight);
  }

  /** What operators have ordered, all of it: resolves when it is in effect for what this host holds. */
  setOrders(orders: Orders): Promise<void> {
    return this.#parts.orderChanges.carryOut(orders);
  }

  /** Whom the registry knows, and what they may do, all of it: sessions whose credentials are none any more, or allow something else, may do nothing from now on. Resolves when they are closed. */
  async setAccess(tables: AccessTables): Promise<void> {
    const { access } = this.#options;
    access.set(tables);
    if (!access.isOn) return;
    await this.#expelAll(({ principal, access: before }) => {
      const present = access.grantFor(principal);
      return access.isValid(principal) && present.access.text === before.text ? present : undefined;
    });
  }

  #reviewExpired(nowMs: number): void {
    const { access, config } = this.#options;
    if (!access.isOn || nowMs < this.#nextReviewMs) return;
    this.#nextReviewMs = nowMs + config.revalidateMs;
    void this.#expelAll((grant, session) =>
      access.isValid(grant.principal) && !this.#isLateStranger(grant, session) ? grant : undefined,
    );
  }

  /** Whoever may do nothing must not take the places of others by just being there. */
  #isLateStranger(grant: Grant, { heldUntilKnown, createdAtMs }: Session): boolean {
    const isLate = this.sessions.clockMs - createdAtMs > strangerMs && heldUntilKnown === undefined;
    return isLate && this.access.refuseStranger(grant) !== undefined;
  }

  /** Whoever has no grant any more has lost it at once, and is closed when it is its turn: there may be very many, and others must not wait for that. */
  async #expelAll(review: (grant: Grant, session: Session) => Grant | undefined): Promise<void> {
    const nobody = this.access.grantFor(anonymous);
    const lost = new Set<Session>();
    for (const session of this.sessions.all()) {
      if (session.grant === undefined) continue;
      const present = review(session.grant, session);
      if (present === undefined) lost.add(session);
      session.grant = present ?? nobody;
    }
    if (lost.size === 0) return;
    await this.#parts.jobs.forEachConnected(this.sessions, (session) => {
      if (lost.has(session)) this.#expel(session);
    });
  }

  /** What it has registered stays for its grace period: its client may come back with other credentials. */
  #expel({ socket }: Session): void {
    if (socket === undefined) return;
    this.#options.counters.countClose('unauthorized');
    socket.end('unauthorized');
  }

  /** An instance of a session as partitions hold it. */
  markFor(session: Session, fragment: string): string {
    return this.#parts.registrar.markFor(session, fragment);
  }

  /** Whether subscribers may not have been told yet of what operators have ordered for a registration. */
  isOrderUnderWay(session: Session, fragment: string): boolean {
    return this.#parts.orderChanges.isUnderWay(session, fragment);
  }

  /** Takes an instance away from whoever has registered it; `visit` hears of each before. What is persistent stays. */
  removeInstance(key: string, id: string, visit: (owner: Session) => void): void {
    const owners = [...this.sessions.all()].filter(
      ({ isPersistent, registrations }) => !isPersistent && registrations.has(key, id),
    );
    for (const session of owners) {
      visit(session);
      this.#parts.registrar.withdraw(session, { key, id }, 'asked');
      this.sessions.endEmptied(session);
    }
  }

  /** What is persistent is registered by this; once, and on the main thread's host alone. */
  openPersistent(): PersistentSession {
    return new PersistentSession(this.sessions.openPersistent(), this.#parts.registrar);
  }

  /** `shown`: nothing, if the client may show its credentials later. */
  connect(socket: Socket, shown: ShownCredentials = nothingShown): Session {
    const session = this.sessions.connect(socket);
    this.#parts.journal.noteConnected(session);
    const { access } = this.#options;
    if (access.isOn) {
      this.#parts.opening.authenticateConnection(session, shown, () => {
        this.#expel(session);
      });
    }
    if (this.#options.orders.refuseCaller(session) !== undefined) {
      this.#options.counters.countClose('quarantined');
      this.noteRefusal('quarantined', session, 'connect');
      socket.end('quarantined');
    }
    return session;
  }

  /** A text frame came. Whatever it holds, the session gets an answer or an error, and the host continues (WP3). */
  receive(session: Session, text: string): void {
    // SE8: another connection has taken it over, and what still comes on this one counts no more.
    if (session.state.kind !== 'connected') return;
    this.sessions.onActivity(session);
    this.#parts.dispatch.receive(session, text);
  }

  onActivity(session: Session): void {
    this.sessions.onActivity(session);
  }

  /** A pong came; it brings back the mark of the ping that it answers. */
  onPong(session: Session, mark: string): void {
    this.sessions.onActivity(session);
    if (this.#parts.slow.acknowledge(session, mark)) this.#catchUp(session);
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
    this.#parts.notices.catchUp(session);
    this.#parts.subscriptions.catchUp(session);
    this.#parts.keyWatches.catchUp(session);
  }

  /** Somebody was refused at the door. `method`: what was asked for. */
  noteRefusal(code: ErrorCode, by: { readonly actor: Actor }, method: string): void {
    this.#options.audit?.noteRefusal(code, by, method);
  }

  /** A page of an Origin that is not allowed has called from an address. */
  noteOriginRefused(origin: string, address: string): void {
    this.#parts.journal.noteOriginRefused(origin, address, this.sessions.clockMs);
  }

  /**
   * The socket has closed. Only an orderly close by the client removes at once (SE2), behind what it had asked for before that: a release of a key, for example. `reason`: this side
   * closed it.
   */
  disconnected(session: Session, isClean: boolean, reason?: CloseReason): void {
    if (!isClean || reason !== undefined) this.#disconnect(session, isClean, reason);
    else {
      this.#parts.lines.whenEnded(session, () => {
        this.#disconnect(session, isClean, reason);
      });
    }
  }

  #disconnect(session: Session, isClean: boolean, reason: CloseReason | undefined): void {
    this.#parts.journal.noteEnded(session, isClean, reason, this.sessions.clockMs);
    this.resumption.forget(session);
    this.#parts.connections.cutOff(session, isClean);
    if (isClean) this.sessions.leave(session);
    else this.sessions.break(session);
  }

  /** Carries out a call for a session, or, over HTTP, for nobody who has one. `actor`: who asks; by default whose session it is. */
  execute(session: Session | undefined, call: Call, reply: Reply, actor?: Actor): void {
    this.#parts.dispatch.execute(session, call, reply, actor);
  }

  /** A refusal as it is sent: clients that meet a full queue together should not come back together. */
  spread(failure: Failure): Failure {
    return this.#parts.dispatch.spread(failure);
  }

  /** Sends what has gathered in this turn. */
  flush(): void {
    this.#parts.outbox.flush();
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
        void this.#parts.departures
          .whenGone(session)
          .then(() => this.#options.router.whenApplied(keys))
          .then(() => {
            resolve(undefined);
          });
      };
      this.#options.router.whenThawed(keys, end, resolve);
    });
  }

  /** A partition said something unasked. */
  handleUnasked(record: Unasked, link: PartitionLink): void {
    switch (record[0]) {
      case fromPartition.push:
        this.#parts.subscriptions.push(record, link.partition);
        return;
      case fromPartition.bound:
        this.#options.counters.countLimit(record[1]);
        return;
      case fromPartition.claim:
        this.#handleSessionRecord(record);
        return;
      case fromPartition.check:
      case fromPartition.heard:
        this.#options.onCheck?.(record);
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
    else this.#parts.claims.handle(record);
  }

  /**
   * What a partition holds for sessions of this host, whose thread, or process, is new: six fields a claim. What belongs to no session that is here is of one that was ending when
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
      // Of the life before it may be that nothing else of the session is known; of a thread that has died, the session was ending.
      const owner = session ?? (this.resumption.isRecalling ? this.sessions.adopt(number) : undefined);
      if (owner === undefined) this.#options.router.tell(key, [toPartition.withdraw, number, key, id]);
      else this.#parts.registrar.takeBack(owner, { key, id, fragment, stamp, isHidden });
    }
  }

  /** A message to another host about a session that is here; if it is not, it has ended. */
  handleMisrouted(record: SessionRecord): void {
    this.#parts.claims.handle(record);
  }

  /** The guard of the whole registry has decided something, or asks. */
  obeyGuard(orders: GuardOrders): void {
    this.#parts.verdicts.obey(orders);
  }

  /** The audiences of services that `isLost` accepts. */
  watched(isLost: (key: string) => boolean): WatchedAudience[] {
    return this.#parts.subscriptions.watched(isLost);
  }

  /** Something of services that `isLost` accepts is gone, and nobody knows what. */
  refresh(isLost: (key: string) => boolean): void {
    this.#parts.subscriptions.refresh(isLost);
  }

  /** The registry is stopping: from now on departures are not pushed, and everybody is asked to come back later. */
  drain(reason: string): void {
    this.#parts.drain.begin();
    void this.requestReconnect(reason, 1, this.#options.config.reconnectSpreadMs);
  }

  /** Asks a share of the sessions, 0 to 1, to reconnect, each after a time of its own, `spreadMs` at most. Returns how many. */
  async requestReconnect(reason: string, share: number, spreadMs: number): Promise<number> {
    const { random } = this.#options;
    const { jobs, outbox, encoding } = this.#parts;
    let leavers = 0;
    await jobs.forEachConnected(this.sessions, (session) => {
      if (!session.understands('goaway') || (share < 1 && random() >= share)) return;
      leavers += 1;
      const reconnectAfterMs = Math.round(random() * spreadMs);
      outbox.send(session, encoding.encodeNotice({ kind: 'goaway', reason, reconnectAfterMs }));
    });
    return leavers;
  }

  /** Resolves when all are closed. */
  closeAll(): Promise<void> {
    this.access.close();
    return this.#parts.jobs.forEachConnected(this.sessions, (session) => {
      this.#options.counters.countClose('going_away');
      session.socket?.end('going_away');
    });
  }
}
