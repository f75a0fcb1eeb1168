import type { Router } from '../routing/router.ts';
import type { Counters } from '../runtime/counters.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { FromPartition } from '../workers/messages.ts';
import { unlimitedRoom } from './answers.ts';
import type { Audiences } from './audiences.ts';
import type { Encoding } from './encoding.ts';
import type { Session, Subscription } from './session.ts';
import type { StandingOrders } from './standing-orders.ts';

type State = Extract<FromPartition, [typeof fromPartition.state, ...unknown[]]>;

export interface ResyncsOptions {
  readonly router: Pick<Router, 'ask'>;
  readonly audiences: Audiences;
  readonly encoding: Encoding;
  readonly counters: Counters;
  readonly orders: Pick<StandingOrders, 'isFrozen'>;
  /** Sends the answers of this turn. */
  readonly flush: () => void;
  /** The state was dropped: the session is behind with reading again. */
  readonly onDropped: (session: Session) => void;
}

/** Subscriptions of one session whose latest state is asked for at a time. */
const underWayMax = 32;
/** How long to wait at least between tries to fetch what could not be fetched, in milliseconds. */
const retryMs = 200;

/** Fetches the latest state for subscriptions that missed a push, and sends it as a snapshot (PU4). */
export class Resyncs {
  readonly #options: ResyncsOptions;
  /** Sessions that get what they missed, and how far that has come among their subscriptions. */
  readonly #catchingUp: Map<Session, MapIterator<Subscription>> = new Map();
  /** What could not be fetched: tried again a little later. */
  #later: Subscription[] = [];
  #retryAtMs = 0;

  constructor(options: ResyncsOptions) {
    this.#options = options;
  }

  /** Moves the clock on. */
  tick(nowMs: number): void {
    if (this.#later.length === 0 || nowMs < this.#retryAtMs) return;
    this.#retryAtMs = nowMs + retryMs;
    for (const subscription of this.#later.splice(0)) {
      subscription.advance('failed');
      if (this.#isDue(subscription)) this.begin(subscription);
      else this.#beginNext(subscription.session);
    }
  }

  /** The client has read what waited for it: whatever it missed meanwhile, it gets the latest state. */
  catchUp(session: Session): void {
    this.#catchingUp.set(session, session.subscriptions.values());
    for (let asked = 0; asked < underWayMax; asked++) this.#beginNext(session);
  }

  /** The session's connection has gone. */
  forget(session: Session): void {
    this.#catchingUp.delete(session);
  }

  /** Not all at once: what would come back for thousands of subscriptions might again be more than the client reads. */
  #beginNext(session: Session): void {
    const rest = this.#catchingUp.get(session);
    if (rest === undefined) return;
    for (let next = rest.next(); next.done !== true; next = rest.next()) {
      if (!this.#isDue(next.value)) continue;
      this.begin(next.value);
      return;
    }
    this.#catchingUp.delete(session);
  }

  /** It has missed a push, and there is nothing to wait for. */
  begin(subscription: Subscription): void {
    const { session, key, variant, audience } = subscription;
    if (!this.#isDue(subscription) || audience === undefined) return;
    subscription.advance('asked');
    this.#options.router.ask({
      key,
      isPatient: true,
      begin: () => {
        if (subscription.phase === 'over') {
          this.#beginNext(session);
          return false;
        }
        audience.pending += 1;
        return true;
      },
      // The partition is busy, or refuses: the client keeps what it has, and is behind until a later try succeeds.
      refuse: () => {
        this.#later.push(subscription);
      },
      build: (request) => [toPartition.subscribe, request, key, variant.text, 0, unlimitedRoom],
      settle: (answer) => {
        // Until now the owner was to be interested: a life of it that has only just been asked has not heard who left before.
        audience.pending -= 1;
        this.#options.audiences.dropIfEmpty(audience);
        if (answer[0] !== fromPartition.state) this.#later.push(subscription);
        else if (subscription.phase === 'over') this.#beginNext(session);
        else this.#send(subscription, answer);
      },
    });
  }

  /** While an operator has frozen the pushes of a service, who has missed one goes on waiting. */
  #isDue({ phase, key }: Subscription): boolean {
    return phase === 'stale' && !this.#options.orders.isFrozen(key);
  }

  #send(subscription: Subscription, [, , version, count, list]: State): void {
    const { session, key } = subscription;
    const { encoding, counters, flush, onDropped } = this.#options;
    // It has received everything since.
    if (version <= subscription.version) {
      subscription.advance('refreshed');
      this.#beginNext(session);
      return;
    }
    if (this.#options.orders.isFrozen(key)) {
      subscription.advance('failed');
      this.#beginNext(session);
      return;
    }
    flush();
    const delivery = subscription.deliver(encoding.encodePush({ kind: 'snapshot', key, count, to: version, list }));
    if (delivery === 'sent') {
      subscription.version = version;
      subscription.advance('refreshed');
      counters.count('push_resynced');
      this.#beginNext(session);
      return;
    }
    subscription.advance('failed');
    // It is behind again; what is left is for the next time that it has read.
    this.#catchingUp.delete(session);
    if (delivery === 'dropped') onDropped(session);
  }
}
