import type { ServerConfig } from '../config/config.ts';
import type { Failure } from '../protocol/errors.ts';
import type { ResumedSession } from '../protocol/types.ts';
import type { Router } from '../routing/router.ts';
import { toPartition } from '../workers/messages.ts';
import type { HostClock } from './host-clock.ts';
import type { Registrar } from './registrar.ts';
import { sessionEnded } from './registrar.ts';
import type { DetachOutcome, TransferEvent, SessionSlice, TakeoverOutcome } from './session-transfer.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';
import type { StandingOrders } from './standing-orders.ts';

export interface ResumptionOptions {
  readonly sessions: Sessions;
  readonly registrar: Registrar;
  readonly router: Router;
  readonly config: Pick<ServerConfig, 'slotWaitTimeoutMs' | 'restoreSliceRegistrations' | 'fanOutSliceBytes'>;
  readonly orders: Pick<StandingOrders, 'present'>;
  /** Undefined: there is no other host. */
  readonly tellMain: ((event: TransferEvent) => void) | undefined;
  /** On the clock that stands while the process does. */
  readonly clock: Pick<HostClock, 'runningMs'>;
}

/** Answers a client's request to take over a session. */
export interface TakeoverReply {
  /** Undefined: the session is not there, and the client begins a new one. */
  succeed(resumed: ResumedSession | undefined): void;
  /** Nothing was done. */
  fail(failure: Failure): void;
}

/** A `session.open` that waits for the session it wants. */
interface Waiting {
  readonly session: Session;
  readonly secret: string;
  readonly reply: TakeoverReply;
  deadlineMs: number;
}

/** A session that is to go to another host, and waits until nothing is in flight for it. */
interface Detaching {
  readonly session: Session;
  readonly done: (outcome: DetachOutcome) => void;
  readonly deadlineMs: number;
}

/**
 * SE8: clients that come back take their sessions over, here or from another host. A session on its way is on one host only at any time, or else on the
 * main thread; while hosts send their registrations to a rebuilt partition, none is in transit (see `SessionTransfers`), so no registration is missed.
 */
export class Resumption {
  readonly #options: ResumptionOptions;
  readonly #waiting: Map<Session, Waiting> = new Map();
  /** Takeover requests that the main thread has not answered, by number. */
  readonly #takeovers: Map<number, Waiting> = new Map();
  readonly #detaching: Map<number, Detaching> = new Map();
  /** While it is not known yet what sessions of the life before hold: those that come back for one. */
  #recalling: (() => void)[] | undefined;
  #calls = 0;

  constructor(options: ResumptionOptions) {
    this.#options = options;
  }

  /** What sessions of the life before hold is being recalled: until {@link endRecall} nobody takes one over. */
  beginRecall(): void {
    this.#recalling ??= [];
  }

  endRecall(): void {
    const waiting = this.#recalling ?? [];
    this.#recalling = undefined;
    for (const each of this.#waiting.values()) each.deadlineMs = this.#deadlineMs();
    for (const run of waiting) run();
  }

  get isRecalling(): boolean {
    return this.#recalling !== undefined;
  }

  /** Answers once the session is taken over, or known not to be there. Until then what the new connection asks about registrations is held back. */
  begin(session: Session, secret: string, reply: TakeoverReply): void {
    session.heldBack = [];
    const waiting: Waiting = { session, secret, reply, deadlineMs: this.#deadlineMs() };
    this.#waiting.set(session, waiting);
    const proceed = (): void => {
      if (this.#waiting.get(session) === waiting) this.#proceed(waiting);
    };
    if (this.#recalling === undefined) proceed();
    else this.#recalling.push(proceed);
  }

  #proceed(waiting: Waiting): void {
    if (this.#takeOver(waiting)) return;
    const { secret } = waiting;
    const { tellMain } = this.#options;
    if (tellMain === undefined) {
      this.#succeed(waiting, false);
      return;
    }
    this.#calls += 1;
    this.#takeovers.set(this.#calls, waiting);
    tellMain({ kind: 'takeover', call: this.#calls, secret });
  }

  /** The main thread has done what it could. */
  handleOutcome(call: number, outcome: TakeoverOutcome): void {
    const waiting = this.#takeovers.get(call);
    this.#takeovers.delete(call);
    if (waiting === undefined || this.#waiting.get(waiting.session) !== waiting) return;
    if (outcome === 'busy') this.#fail(waiting, this.#busy());
    else if (!this.#takeOver(waiting)) this.#succeed(waiting, false);
  }

  /** The connection has ended, or another has taken its session over. */
  forget(session: Session): void {
    const waiting = this.#waiting.get(session);
    if (waiting !== undefined) this.#fail(waiting, sessionEnded);
  }

  tick(): void {
    if (this.#recalling !== undefined) return;
    const nowMs = this.#options.clock.runningMs;
    for (const waiting of this.#waiting.values()) {
      // They are in the order in which they came, and all wait equally long.
      if (waiting.deadlineMs > nowMs) break;
      this.#fail(waiting, this.#busy());
    }
    for (const detaching of this.#detaching.values()) {
      if (detaching.deadlineMs > nowMs) break;
      this.#giveUp(detaching);
    }
  }

  /** A session's requests in flight do not end in time: it stays here. */
  #giveUp(detaching: Detaching): void {
    const { session, done } = detaching;
    if (this.#detaching.get(session.number) !== detaching) return;
    this.#detaching.delete(session.number);
    this.#options.sessions.land(session);
    done('busy');
  }

  /** A client has come back on another host: cuts the session off its connection and waits until nothing is in flight for it. */
  detach(secret: string, done: (outcome: DetachOutcome) => void): void {
    if (this.#recalling !== undefined) {
      this.#recalling.push(() => {
        this.detach(secret, done);
      });
      return;
    }
    const { sessions } = this.#options;
    const old = sessions.findResumable(secret);
    if (old === undefined) {
      done('absent');
      return;
    }
    const session = sessions.detach(old);
    this.forget(old);
    const detaching = { session, done, deadlineMs: this.#deadlineMs() };
    const { number, identity } = session;
    this.#detaching.set(number, detaching);
    const finish = (): void => {
      if (this.#detaching.get(number) !== detaching) return;
      this.#detaching.delete(number);
      done('detached');
    };
    identity.whenSettled(() => {
      if (!identity.hasWithdrawn) finish();
      else {
        this.#whenApplied(finish, () => {
          this.#giveUp(detaching);
        });
      }
    });
  }

  /** The next part of a session that has been detached; with the last it is gone from here. Undefined: there is no such session. */
  takeSlice(number: number): SessionSlice | undefined {
    const { sessions, registrar, config } = this.#options;
    const session = sessions.find(number);
    if (session === undefined || session.state.kind !== 'moving') return undefined;
    const { name, secret, address, app, identity } = session;
    const { mayHold, holder } = identity;
    const registrations = registrar.takeOut(session, config.restoreSliceRegistrations, config.fanOutSliceBytes);
    const isLast = session.registrations.size === 0;
    if (isLast) sessions.letGo(session);
    const orders = this.#options.orders.present;
    return { number, name, secret, mayHold, holder, address, app, orders, registrations, isLast };
  }

  /** A part of a session that comes from another host. */
  bring({ registrations, isLast, orders, ...identity }: SessionSlice): void {
    const { sessions, registrar } = this.#options;
    const session = sessions.find(identity.number) ?? sessions.admit(identity);
    registrar.putIn(session, registrations, orders);
    if (isLast) sessions.land(session);
  }

  #takeOver(waiting: Waiting): boolean {
    const { session, secret } = waiting;
    const { sessions } = this.#options;
    const old = session.secret === secret ? session : sessions.findResumable(secret);
    if (old === undefined) return false;
    if (old !== session) {
      sessions.takeOver(session, old);
      // It may have been waiting for that session itself.
      this.forget(old);
    }
    // It can be no other session's any more.
    session.hasAsked = true;
    session.identity.whenSettled(() => {
      this.#succeed(waiting, true);
    });
    return true;
  }

  #succeed(waiting: Waiting, isResumed: boolean): void {
    const { session, reply } = waiting;
    if (this.#waiting.get(session) !== waiting) return;
    this.#waiting.delete(session);
    const { registrations } = session;
    const resumed = isResumed ? { registrations: registrations.size, digest: registrations.digest() } : undefined;
    const heldBack = session.heldBack ?? [];
    session.heldBack = undefined;
    reply.succeed(resumed);
    for (const { run } of heldBack) run();
  }

  /** Nothing was done; the client may try again, over this connection or another. */
  #fail({ session, reply }: Waiting, failure: Failure): void {
    this.#waiting.delete(session);
    session.opened = undefined;
    const heldBack = session.heldBack ?? [];
    session.heldBack = undefined;
    reply.fail(failure);
    for (const { refuse } of heldBack) refuse(failure);
  }

  /** What was withdrawn is answered by nobody: the next host must not tell a partition something that this overtakes. */
  #whenApplied(run: () => void, refuse: () => void): void {
    const { router } = this.#options;
    router.whenThawed(
      'all',
      () => {
        const links = router.links();
        let left = links.length;
        const noteApplied = (): void => {
          left -= 1;
          if (left === 0) run();
        };
        for (const link of links) {
          router.askLink(link, {
            key: '',
            build: (request) => [toPartition.fence, request],
            settle: noteApplied,
            // It has died, and with it what it was sent: its successor is rebuilt from the logs.
            abandon: noteApplied,
          });
        }
      },
      refuse,
    );
  }

  #deadlineMs(): number {
    return this.#options.clock.runningMs + this.#options.config.slotWaitTimeoutMs;
  }

  #busy(): Failure {
    const max = this.#options.config.slotWaitTimeoutMs;
    const message = 'what the session asked for before is still under way';
    return { code: 'busy', message, limit: 'slotWaitTimeoutMs', max, retryAfterMs: 500 };
  }
}
