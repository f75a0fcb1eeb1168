import type { ServerConfig } from '../config/config.ts';
import type { KeptSession } from '../journal/session-records.ts';
import type { Counters } from '../runtime/counters.ts';
import { TimerWheel } from '../runtime/timer-wheel.ts';
import { persistentOwner } from '../store/persistent-owner.ts';
import type { Socket } from '../transport/transport.ts';
import { AdmissionThrottle } from './admission-throttle.ts';
import type { Connections } from './connections.ts';
import type { Departures } from './departures.ts';
import type { DrainState } from './drain-state.ts';
import { HeldSessions } from './held-sessions.ts';
import { tickMs } from './host-clock.ts';
import type { HostClock } from './host-clock.ts';
import type { HostLosses } from './host-losses.ts';
import type { KeyHolding } from './key-holding.ts';
import type { LeaseNews, LeaseRecord } from './lease-record.ts';
import { SessionFactory } from './session-factory.ts';
import type { SessionFactoryOptions } from './session-factory.ts';
import { nextState } from './session-lifecycle.ts';
import type { LifecycleEvent, SessionState } from './session-lifecycle.ts';
import { createSecret, isSameSecret, readSecretNumber } from './session-secret.ts';
import type { SessionSlice, TransferEvent } from './session-transfer.ts';
import type { Session, SessionIdentity } from './session.ts';

export interface SessionsOptions extends SessionFactoryOptions {
  readonly config: Pick<
    ServerConfig,
    | 'disconnectGraceMs'
    | 'heartbeatTimeoutMs'
    | 'leasesMax'
    | 'lossHoldMaxMs'
    | 'sessionUnconsumedBytesMax'
    | 'slowConsumerBytesMax'
  >;
  readonly counters: Counters;
  readonly clock: HostClock;
  /** Hears which sessions are missing, and asks of those whose grace has run out what may be removed; {@link Sessions.settle} follows, perhaps later. */
  readonly losses: Pick<HostLosses, 'noteMissing' | 'noteBack' | 'noteEnded' | 'ask'>;
  /** What a connection had that another takes over ends there. */
  readonly connections: Pick<Connections, 'cutOff'>;
  /** Withdraws what sessions registered that have ended. */
  readonly departures: Pick<Departures, 'end' | 'isBusy'>;
  /** Hears which sessions that may hold keys have ended. */
  readonly holding: Pick<KeyHolding, 'end'>;
  readonly drain: DrainState;
  /** Tells the main thread of sessions that continue at another host; undefined: there is no other. */
  readonly tellMain?: ((event: TransferEvent) => void) | undefined;
  /** A lease was granted (called before its caller gets the answer), or has ended. */
  readonly onLease?: ((news: LeaseNews) => void) | undefined;
  /** A session that had registered something has ended. */
  readonly onGone?: ((session: number) => void) | undefined;
  /** A session has ended for good while the registry stops: what it held, which stays until then, goes when the next life begins. */
  readonly onLeft?: ((session: Session) => void) | undefined;
  /** Runs a task in a later turn. */
  readonly schedule: (task: () => void) => void;
}

/** Sessions whose time has come that are looked at in one turn: each may be pinged, or closed. */
const duePerTurn = 500;

/** While admission is throttled, how often broken sessions whose grace is over are looked at again, in ms. */
const throttleRecheckMs = 500;

/** Its multiples, without their whole parts, lie as evenly as can be, however many there are. */
const goldenRatio = 0.618_033_988_749_895;

/** All sessions of a host and their lives: connected, leased, broken, held back, ended. */
export class Sessions {
  readonly #options: SessionsOptions;
  readonly #byNumber: Map<number, Session> = new Map();
  readonly #byLease: Map<string, Session> = new Map();
  readonly #wheel: TimerWheel<Session>;
  readonly #factory: SessionFactory;
  readonly heartbeatMs: number;
  readonly #clock: HostClock;
  readonly #throttle: AdmissionThrottle;
  readonly #held: HeldSessions = new HeldSessions();
  /** Of the life before, and neither back nor given up. */
  readonly #unconfirmed: Set<Session> = new Set();
  /** Those among them that are known to have tried to hold keys. */
  readonly #knownHolders: WeakSet<Session> = new WeakSet();
  #connected = 0;
  #isDueScheduled = false;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#factory = new SessionFactory(options);
    this.#clock = options.clock;
    this.#throttle = new AdmissionThrottle(options.clock, options.config.lossHoldMaxMs);
    this.#wheel = new TimerWheel(tickMs, options.clock.runningMs);
    // Two pings may go unanswered before the third deadline.
    this.heartbeatMs = Math.max(tickMs, Math.floor(options.config.heartbeatTimeoutMs / 3));
  }

  /** What the host's clock says, in milliseconds. */
  get clockMs(): number {
    return this.#clock.runningMs;
  }

  /** Of the session that came last to this host. */
  get lastArrival(): number {
    return this.#factory.lastArrival;
  }

  get connectedCount(): number {
    return this.#connected;
  }

  /** Sessions whose removal a guard holds back. */
  get heldCount(): number {
    return this.#held.size;
  }

  get heldRegistrationCount(): number {
    return this.#options.log.heldCount;
  }

  get leaseCount(): number {
    return this.#byLease.size;
  }

  /** Of sessions and leases. */
  get registrationCount(): number {
    return this.#options.log.table.count - this.persistentCount;
  }

  /** Persistent instances; only the main thread's host has some. */
  get persistentCount(): number {
    return this.find(persistentOwner)?.registrations.size ?? 0;
  }

  /** Every session that holds anything, whatever its state. May be iterated while sessions come and go. */
  all(): IterableIterator<Session> {
    return this.#byNumber.values();
  }

  find(number: number): Session | undefined {
    return this.#byNumber.get(number);
  }

  findLease(lease: string): Session | undefined {
    return this.#byLease.get(lease);
  }

  connect(socket: Socket): Session {
    const session = this.#add(this.#factory.beginIdentity(true), { kind: 'connected', socket }, socket.address);
    this.#connected += 1;
    // Those that connect together are not pinged together: within half a heartbeat their turns are spread evenly.
    const place = (this.#factory.begunCount * goldenRatio) % 1;
    this.#schedule(session, this.#clock.runningMs + Math.ceil((this.heartbeatMs * (1 + place)) / 2));
    this.#options.counters.count('session_opened');
    return session;
  }

  /** Grants a lease to a caller at an address, or returns undefined when there are `leasesMax` already. */
  grantLease(ttlMs: number, address: string): Session | undefined {
    if (this.#byLease.size >= this.#options.config.leasesMax) return undefined;
    const identity = this.#factory.beginIdentity(false);
    const { number, name, secret: lease, mayHold } = identity;
    const record = { number, name, lease, ttlMs, mayHold, address };
    const session = this.#addLease(identity, record);
    this.#options.onLease?.({ kind: 'granted', record });
    return session;
  }

  /** The session of no caller that has what is persistent. A host has one at most. */
  openPersistent(): Session {
    const identity = {
      number: persistentOwner,
      name: 'persistent',
      secret: '',
      isConnection: false,
      hasTravelled: false,
    };
    return this.#add(this.#factory.restoreIdentity(identity), { kind: 'persistent' }, '');
  }

  /** A lease that the previous thread had granted, or the previous life of the process: its time starts again, and lasts for `graceMs` at least. */
  restoreLease(record: LeaseRecord, graceMs = 0): void {
    const { number, name, lease, mayHold } = record;
    const identity = { number, name, secret: lease, isConnection: false, hasTravelled: false, mayHold };
    this.#addLease(this.#factory.restoreIdentity(identity), record, graceMs);
  }

  /** A session of the life before: it waits for somebody to take it over until {@link giveUpUnconfirmed}. */
  restoreSession({ number, name, secret, address, app, mayHold = false, holder }: Omit<KeptSession, 'ttlMs'>): Session {
    const identity = this.#factory.restoreIdentity({
      number,
      name,
      secret,
      isConnection: true,
      hasTravelled: false,
      app,
      // What was written last may not have been noted.
      mayHold: true,
      holder,
    });
    const session = this.#add(identity, { kind: 'unconfirmed' }, address);
    this.#unconfirmed.add(session);
    if (mayHold) this.#knownHolders.add(session);
    return session;
  }

  /** A claim is of a session of which nothing else is known: nobody can take it over, but whoever registers the same again does not find it gone. */
  adopt(number: number): Session {
    const [name, secret] = [this.#options.createName(), this.#options.createName()];
    return this.restoreSession({ number, name, secret: createSecret(number, secret), address: '' });
  }

  /** Sessions of the life before whose clients have not come back. */
  get unconfirmedCount(): number {
    return this.#unconfirmed.size;
  }

  /** May be iterated while sessions come and go. */
  unconfirmed(): IterableIterator<Session> {
    return this.#unconfirmed.values();
  }

  /** Those of the life before have had their time: from now on what has not come back counts as lost, and those that have nothing, and are not known to hold keys either, end. */
  giveUpUnconfirmed(): void {
    for (const session of this.#unconfirmed) {
      if (session.registrations.size > 0 || this.#knownHolders.has(session)) this.#keepForGrace(session, 'landed');
      else this.end(session);
    }
  }

  #addLease(identity: SessionIdentity, { lease, ttlMs, address }: LeaseRecord, graceMs = 0): Session {
    const expiresAtMs = this.#clock.runningMs + tickMs + Math.max(ttlMs, graceMs);
    const session = this.#add(identity, { kind: 'leased', lease, ttlMs, expiresAtMs }, address);
    this.#byLease.set(lease, session);
    this.#schedule(session, expiresAtMs);
    return session;
  }

  renewLease(session: Session): void {
    if (session.state.kind === 'leased')
      session.state.expiresAtMs = this.#clock.runningMs + tickMs + session.state.ttlMs;
  }

  /** Something came from the peer. */
  onActivity(session: Session): void {
    if (session.heardAtMs !== this.#clock.runningMs) session.readBytes = 0;
    session.heardAtMs = this.#clock.runningMs;
  }

  /** LI2: a client whose handshake was refused must not count as gone. */
  noteThrottled(): void {
    this.#throttle.note();
  }

  /** The client has closed the connection in order (SE2): what it registered goes at once, or, if the registry is stopping, with the start of the next life. */
  leave(session: Session): void {
    const isLeaving = session.state.kind === 'connected';
    this.end(session);
    if (isLeaving) this.#noteLeft(session);
  }

  #noteLeft(session: Session): void {
    if (this.#options.drain.isDraining) this.#options.onLeft?.(session);
  }

  /** The session is over: what it registered goes. */
  end(session: Session): void {
    if (this.#advance(session, { kind: 'ended' }) === undefined) return;
    session.identity.isOver = true;
    // Else it would be kept until its deadline, a lease for as long as it might have lived.
    this.#wheel.cancel(session, session.wheelPlace);
    // PU5: a registry that stops sends goaway; it does not push that everybody has gone.
    if (this.#options.drain.isDraining) this.#forget(session);
    else {
      this.#options.holding.end(session.identity);
      this.#options.departures.end(session, () => {
        // The stop may have come before its turn.
        this.#noteLeft(session);
        this.#forget(session);
      });
    }
  }

  /** Nothing is left of an ended session. */
  #forget({ number, identity }: Session): void {
    const { losses, tellMain, onGone, drain } = this.#options;
    this.#byNumber.delete(number);
    losses.noteEnded(number);
    if (!drain.isDraining) onGone?.(number);
    if (identity.hasTravelled) tellMain?.({ kind: 'gone', session: number });
  }

  /** The connection broke (SE2): what it registered stays for the grace, in case the client comes back and registers again. */
  break(session: Session): void {
    if (session.state.kind !== 'connected') return;
    this.#options.counters.count('session_broken');
    if (session.registrations.size === 0 && !session.identity.mayHold) {
      this.end(session);
      return;
    }
    this.#keepForGrace(session, 'broke');
  }

  #keepForGrace(session: Session, kind: 'broke' | 'landed'): void {
    // The clock stands since the last tick; a tick more, and the grace is never cut short.
    const removeAtMs = this.#clock.runningMs + tickMs + this.#options.config.disconnectGraceMs;
    if (this.#advance(session, { kind, removeAtMs }) === undefined) return;
    const { number, registrations } = session;
    this.#options.losses.noteMissing(number, () => registrations.services());
    this.#schedule(session, removeAtMs);
  }

  /** The session that a secret belongs to, if a connection here can take it over (SE8). */
  findResumable(secret: string): Session | undefined {
    const session = this.#byNumber.get(readSecretNumber(secret));
    if (session?.isConnection !== true || session.isGoing || !isSameSecret(session.secret, secret)) return undefined;
    const { kind } = session.state;
    return kind === 'connected' || kind === 'broken' || kind === 'unconfirmed' || kind === 'held' ? session : undefined;
  }

  /** SE8: a new connection takes over the whole of another session; whatever still arrives on that one's connection is ignored. */
  takeOver(session: Session, old: Session): void {
    // It has none of its own: what a connection has registered stands in the way.
    if (session.registrations !== old.registrations) this.#byNumber.delete(session.number);
    session.identity = old.identity;
    // In the order of arrival, by which pages of sessions are read.
    this.#byNumber.delete(session.number);
    this.#byNumber.set(session.number, session);
    this.#fence(old);
    if (session.state.kind === 'connected') this.#options.counters.count('session_resumed');
  }

  #fence(old: Session): void {
    this.#wheel.cancel(old, old.wheelPlace);
    // First, since the socket may say at once that it has closed.
    const before = this.#advance(old, { kind: 'takenOver' });
    this.#options.connections.cutOff(old, false);
    if (before?.kind === 'connected') {
      this.#options.counters.countClose('resumed_elsewhere');
      before.socket.end('resumed_elsewhere');
    } else {
      this.#options.losses.noteBack(old.number);
    }
  }

  /** A client has come back on another host: the session waits here, without a connection, until it is fetched. */
  detach(old: Session): Session {
    const session = this.#factory.create(old.identity, { kind: 'moving' }, old.address);
    this.takeOver(session, old);
    return session;
  }

  /** The session has left for another host, with all that it registered. */
  letGo(session: Session): void {
    this.#advance(session, { kind: 'takenOver' });
    this.#byNumber.delete(session.number);
  }

  /** A session is coming from another host; what it registered follows. */
  admit({ address, ...fields }: Omit<SessionSlice, 'registrations' | 'isLast' | 'orders'>): Session {
    const identity = this.#factory.restoreIdentity({ ...fields, isConnection: true, hasTravelled: true });
    const { number } = identity;
    const session = this.#factory.create(identity, { kind: 'moving' }, address);
    this.#byNumber.set(number, session);
    return session;
  }

  /** It stays on this host: as if its connection had just broken, until somebody takes it over. */
  land(session: Session): void {
    this.#keepForGrace(session, 'landed');
  }

  /**
   * What the session held is gone, because of what others did. If it was all: for one that is held nothing is left to wait for, and whoever renews a lease must
   * learn that it keeps nothing alive any more.
   */
  endEmptied(session: Session | undefined): void {
    const kind = session?.state.kind;
    if (session === undefined || session.registrations.size > 0) return;
    if (kind === 'held' || (kind === 'leased' && !session.identity.mayHold)) this.end(session);
  }

  /** What may be removed of a broken session is removed: the rest, if there is any, is held back. */
  settle(session: Session): void {
    const { kind } = session.state;
    if (kind !== 'broken' && kind !== 'held') return;
    if (session.registrations.size === 0) {
      this.end(session);
      return;
    }
    if (this.#advance(session, { kind: 'heldBack' }) === undefined) return;
    this.#options.counters.count('loss_held');
    this.#held.add(session);
  }

  /** Takes a session out of its state and into the next. Returns the one before; undefined: nothing changes by that. */
  #advance(session: Session, event: LifecycleEvent): SessionState | undefined {
    const before = session.state;
    const next = nextState(before, event);
    if (next === before) return undefined;
    session.state = next;
    switch (before.kind) {
      case 'connected':
        this.#connected -= 1;
        break;
      case 'leased':
        this.#byLease.delete(before.lease);
        this.#options.onLease?.({ kind: 'ended', number: session.number });
        break;
      case 'held':
        this.#held.remove(session);
        break;
      case 'unconfirmed':
        this.#unconfirmed.delete(session);
        break;
      case 'persistent':
      case 'broken':
      case 'moving':
      case 'resumed':
      case 'ended':
        break;
      default:
        before satisfies never;
    }
    return before;
  }

  /** Some of what is held back may go: every held session is looked at again, a bounded number in each tick. */
  recheckHeld(): void {
    this.#held.recheck();
  }

  /** The clock has moved on: acts on what has come due. */
  tick(): void {
    if (!this.#isDueScheduled) this.#checkDue();
    this.#checkHeld();
  }

  #add(identity: SessionIdentity, state: SessionState, address: string): Session {
    const session = this.#factory.create(identity, state, address);
    this.#byNumber.set(identity.number, session);
    return session;
  }

  /** Each session waits for one deadline at a time. */
  #schedule(session: Session, deadlineMs: number): void {
    this.#wheel.cancel(session, session.wheelPlace);
    session.wheelPlace = this.#wheel.schedule(session, deadlineMs);
  }

  /** However many have come due together, others have their turns in between. */
  #checkDue(): void {
    for (const session of this.#wheel.advance(this.#clock.runningMs, duePerTurn)) this.#check(session);
    this.#isDueScheduled = this.#wheel.isBehind;
    if (!this.#isDueScheduled) return;
    this.#options.schedule(() => {
      this.#checkDue();
    });
  }

  #check(session: Session): void {
    const { state } = session;
    switch (state.kind) {
      case 'connected':
        this.#checkHeartbeat(session, state.socket);
        return;
      case 'leased':
        if (this.#clock.runningMs < state.expiresAtMs) {
          this.#schedule(session, state.expiresAtMs);
          return;
        }
        this.#options.counters.count('lease_expired');
        this.end(session);
        return;
      case 'broken':
        if (this.#clock.runningMs < state.removeAtMs) this.#schedule(session, state.removeAtMs);
        else if (this.#throttle.isOn) this.#schedule(session, this.#clock.runningMs + throttleRecheckMs);
        else this.#expire(session);
        return;
      case 'unconfirmed':
      case 'persistent':
      case 'held':
      case 'moving':
      case 'resumed':
      case 'ended':
        return;
      default:
        state satisfies never;
    }
  }

  #expire(session: Session): void {
    // Others have taken over all that it held: nothing is left to judge.
    if (session.registrations.size === 0) this.end(session);
    else this.#judge(session);
  }

  #judge(session: Session): void {
    // PU5: what is held back stays so while the registry stops.
    if (!this.#options.drain.isDraining) this.#options.losses.ask(session.number);
  }

  #checkHeld(): void {
    if (this.#throttle.isOn || this.#options.departures.isBusy) return;
    for (const session of this.#held.takeDue()) {
      if (session.state.kind === 'held') this.#judge(session);
    }
  }

  /** SE3: a silent peer is pinged, and after `heartbeatTimeoutMs` taken for broken. */
  #checkHeartbeat(session: Session, socket: Socket): void {
    const deadlineMs = session.heardAtMs + this.#options.config.heartbeatTimeoutMs;
    if (this.#clock.runningMs >= deadlineMs) {
      // One that is behind with reading answers no ping, for the same reason.
      const reason = session.consumption.isBehind ? 'slow_consumer' : 'heartbeat_timeout';
      this.#options.counters.countClose(reason);
      socket.end(reason);
      return;
    }
    if (this.#clock.runningMs - session.heardAtMs >= this.heartbeatMs / 2 - tickMs) session.ping();
    this.#schedule(session, Math.min(this.#clock.runningMs + this.heartbeatMs, deadlineMs));
  }
}
