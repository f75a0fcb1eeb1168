import type { SubscribeMode } from '../protocol/types.ts';
import { Audience, FanOut, wordSnapshotPush } from '../push/fan-out.ts';
import type { HostPush } from '../push/fan-out.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { FromPartition } from '../workers/messages.ts';
import { wordResults } from './answers.ts';
import type { Reply } from './answers.ts';
import type { Counters } from './counters.ts';
import type { Answer, Router } from './router.ts';
import { Subscription } from './session.ts';
import type { Session } from './session.ts';

type PushRecord = Extract<FromPartition, [typeof fromPartition.push, ...unknown[]]>;

export interface SubscriptionsOptions {
  readonly router: Router;
  readonly counters: Counters;
  readonly sliceMembers: number;
  readonly subscriptionsMax: number;
  /** Sends the answers of this turn: a push must not overtake the answer that began its subscription. */
  readonly flush: () => void;
  /** Runs the next slice of a long fan-out in a later turn. */
  readonly schedule: (task: () => void) => void;
}

/** The subscriptions of all sessions of this host: who hears of what, who missed something, and the last hop of every push. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #router: Router;
  readonly #audiences: Record<SubscribeMode, Map<string, Audience<Subscription>>> = {
    delta: new Map(),
    snapshot: new Map(),
  };
  readonly #fanOut: FanOut<Subscription>;
  #isSliceScheduled = false;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
    this.#router = options.router;
    this.#fanOut = new FanOut<Subscription>({
      sliceMembers: options.sliceMembers,
      encode: (text) => Buffer.from(text),
      onMissed: (member, _audience, cause) => {
        options.counters.count('push_dropped');
        // After a drop the socket says when it has drained; after a gap there is nothing to wait for.
        if (cause === 'gap') this.#resync(member);
      },
      onDone: (push, audience) => {
        this.#router.tell(audience.key, [toPartition.credit, push.body.length]);
      },
    });
  }

  get framesEncoded(): number {
    return this.#fanOut.framesEncoded;
  }

  /** Subscribes, or subscribes anew in another mode or from another version. Answered by the owner of the service. */
  subscribe(session: Session, key: string, mode: SubscribeMode, since: number, reply: Reply): void {
    const { subscriptionsMax } = this.#options;
    if (!session.subscriptions.has(key) && session.subscriptions.size >= subscriptionsMax) {
      const message = `the session has ${subscriptionsMax} subscriptions`;
      reply.fail({ code: 'limit_exceeded', message, limit: 'subscriptionsMax', max: subscriptionsMax });
      return;
    }
    const subscription = new Subscription(session, key, mode);
    const audience = this.#obtainAudience(key, mode);
    const asked = this.#router.ask({
      key,
      build: (request) => [toPartition.subscribe, request, key, mode, since],
      settle: (answer) => {
        audience.pending -= 1;
        this.#begin(subscription, audience, answer, reply);
        this.#dropIfEmpty(audience);
      },
    });
    if (typeof asked === 'object') {
      this.#dropIfEmpty(audience);
      reply.fail(asked);
      return;
    }
    audience.pending += 1;
    this.unsubscribe(session, key);
    session.subscriptions.set(key, subscription);
  }

  unsubscribe(session: Session, key: string): void {
    const subscription = session.subscriptions.get(key);
    if (subscription === undefined) return;
    session.subscriptions.delete(key);
    this.#leave(subscription);
  }

  /** The session's connection has gone. */
  unsubscribeAll(session: Session): void {
    for (const subscription of session.subscriptions.values()) this.#leave(subscription);
    session.subscriptions.clear();
  }

  /** The client has read what waited for it: whatever it missed meanwhile, it gets the latest state (PU4). */
  catchUp(session: Session): void {
    for (const subscription of session.subscriptions.values()) {
      if (subscription.isStale) this.#resync(subscription);
    }
  }

  push(record: PushRecord): void {
    const [, key, variant, from, to, count, body] = record;
    const audience = this.#audiences[variant].get(key);
    if (audience === undefined) {
      this.#router.tell(key, [toPartition.credit, body.length]);
      return;
    }
    this.#fanOut.enqueue(audience, { from, to, count, body } satisfies HostPush);
    if (!this.#isSliceScheduled) this.#runSlice();
  }

  #runSlice(): void {
    this.#isSliceScheduled = false;
    this.#options.flush();
    this.#fanOut.runSlice();
    if (this.#fanOut.isIdle) return;
    this.#isSliceScheduled = true;
    this.#options.schedule(() => {
      this.#runSlice();
    });
  }

  #begin(subscription: Subscription, audience: Audience<Subscription>, answer: Answer, reply: Reply): void {
    const { session, key } = subscription;
    const isCurrent = session.subscriptions.get(key) === subscription;
    switch (answer[0]) {
      case fromPartition.state:
        subscription.version = answer[2];
        reply.succeed(wordResults.state(answer[2], answer[4]));
        break;
      case fromPartition.resumed:
        subscription.version = answer[3];
        reply.succeed(wordResults.resumed(answer[2], answer[3], answer[4]));
        break;
      default:
        throw new Error(`not an answer to a subscription: ${answer[0]}`);
    }
    // Unsubscribed, subscribed anew or gone meanwhile: the answer still goes out, the membership does not begin.
    if (!isCurrent) return;
    subscription.audience = audience;
    audience.add(subscription);
  }

  /** Fetches the latest state for one who missed a push, and sends it as a snapshot. */
  #resync(subscription: Subscription): void {
    const { session, key, mode } = subscription;
    if (subscription.isResyncing) return;
    subscription.isResyncing = true;
    const asked = this.#router.ask({
      key,
      build: (request) => [toPartition.subscribe, request, key, mode, 0],
      settle: (answer) => {
        if (answer[0] !== fromPartition.state) throw new Error(`not an answer to a resync: ${answer[0]}`);
        if (session.subscriptions.get(key) !== subscription) return;
        subscription.isResyncing = false;
        const [, , version, count, instances] = answer;
        this.#options.flush();
        if (subscription.deliver(wordSnapshotPush(key, count, version, instances)) !== 'sent') return;
        subscription.version = version;
        subscription.isStale = false;
        this.#options.counters.count('push_resynced');
      },
    });
    // The partition is busy: try again shortly; the subscription stays stale, and the client keeps what it has.
    if (typeof asked === 'object') {
      subscription.isResyncing = false;
      this.#options.schedule(() => {
        if (session.subscriptions.get(key) === subscription) this.#resync(subscription);
      });
    }
  }

  #leave(subscription: Subscription): void {
    const { audience } = subscription;
    if (audience === undefined) return;
    subscription.audience = undefined;
    audience.remove(subscription);
    this.#dropIfEmpty(audience);
  }

  #obtainAudience(key: string, mode: SubscribeMode): Audience<Subscription> {
    const audiences = this.#audiences[mode];
    let audience = audiences.get(key);
    if (audience === undefined) {
      audience = new Audience<Subscription>(key, mode);
      audiences.set(key, audience);
    }
    return audience;
  }

  #dropIfEmpty(audience: Audience<Subscription>): void {
    const { key, variant } = audience;
    if (!audience.isEmpty || this.#audiences[variant].get(key) !== audience) return;
    this.#audiences[variant].delete(key);
    this.#router.tell(key, [toPartition.loseInterest, key, variant]);
  }
}
