import type { Failure } from '../protocol/errors.ts';
import { protocolLimits } from '../protocol/limits.ts';
import type { SubscribeMode } from '../protocol/types.ts';
import type { Audience, HostPush } from '../push/fan-out.ts';
import { emptyDifference } from '../push/push-encoding.ts';
import type { Variant } from '../push/variant.ts';
import { readRefusal } from '../routing/partition-link.ts';
import type { Answer, PartitionLink } from '../routing/partition-link.ts';
import type { Router } from '../routing/router.ts';
import type { Counters } from '../runtime/counters.ts';
import { fromPartition, toPartition } from '../workers/messages.ts';
import type { FromPartition } from '../workers/messages.ts';
import { unlimitedRoom } from './answers.ts';
import type { ReadTicket, Reply, Result } from './answers.ts';
import { Audiences } from './audiences.ts';
import type { WatchedAudience } from './audiences.ts';
import type { Encoding } from './encoding.ts';
import type { HostClock } from './host-clock.ts';
import type { HostMeter } from './host-meter.ts';
import { PushDelivery } from './push-delivery.ts';
import { Refills } from './refills.ts';
import type { Held } from './refills.ts';
import { refuseBound } from './registrar.ts';
import { Resyncs } from './resyncs.ts';
import type { Session } from './session.ts';
import { Subscription } from './session.ts';
import { ShownVersions } from './shown-versions.ts';
import type { StandingOrders } from './standing-orders.ts';
import { Starting } from './starting.ts';
import type { WarmUp } from './warm-up.ts';

/** Sessions that begin to catch up in one turn. */
const thawedPerTurn = 100;

type PushRecord = Extract<FromPartition, [typeof fromPartition.push, ...unknown[]]>;

/** A subscription that has been asked for and awaits its answer. */
interface Beginning {
  readonly subscription: Subscription;
  readonly audience: Audience<Subscription>;
  readonly held: Held;
  readonly reply: Reply;
}

export interface SubscriptionsOptions {
  readonly router: Router;
  readonly encoding: Encoding;
  readonly counters: Counters;
  readonly sliceMembers: number;
  readonly sliceBytes: number;
  readonly subscriptionsMax: number;
  readonly threadSubscriptionsMax: number;
  readonly watchedServicesMax: number;
  readonly watchedNameBytesMax: number;
  readonly meter: HostMeter;
  readonly orders: Pick<StandingOrders, 'isFrozen'>;
  /** Sends the answers of this turn: a push must not overtake the answer that began its subscription. */
  readonly flush: () => void;
  readonly warmUp: Pick<WarmUp, 'isOver' | 'noteEarlier'>;
  readonly clock: Pick<HostClock, 'wallMicros'>;
  /** Runs the next slice of a long fan-out in a later turn. */
  readonly schedule: (task: () => void) => void;
  /** A push was dropped: the backlog is full, or the session is behind with reading. */
  readonly onDropped: (session: Session) => void;
}

/** The subscriptions of all sessions of this host: how they begin and end, and what each is sent. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #router: Router;
  /** Subscriptions that have begun. */
  readonly counts: Record<SubscribeMode, number> = { delta: 0, snapshot: 0 };
  readonly #audiences: Audiences;
  readonly #starting: Starting = new Starting();
  readonly #resyncs: Resyncs;
  readonly #delivery: PushDelivery;
  readonly #refills: Refills;
  readonly #shown: ShownVersions;

  constructor(options: SubscriptionsOptions) {
    const { router, onDropped } = options;
    this.#options = options;
    this.#router = router;
    this.#audiences = new Audiences(options);
    const audiences = this.#audiences;
    const resyncs = new Resyncs({ ...options, audiences });
    this.#resyncs = resyncs;
    this.#delivery = new PushDelivery({
      ...options,
      onMissed: (subscription, cause) => {
        // After a drop the socket says when it has drained; after a gap there is nothing to wait for.
        if (cause === 'gap') resyncs.begin(subscription);
        else onDropped(subscription.session);
      },
    });
    this.#shown = new ShownVersions(router, options.clock);
    const shown = this.#shown;
    this.#refills = new Refills({ router, audiences, delivery: this.#delivery, warmUp: options.warmUp, shown });
  }

  /** Subscriptions that continue with what they knew before the registry started. */
  get warmingCount(): number {
    return this.#refills.count;
  }

  /** Subscriptions to a service that have begun. */
  countSubscribers(key: string): number {
    return this.#audiences.countMembers(key);
  }

  get framesEncoded(): number {
    return this.#delivery.framesEncoded;
  }

  get framesSent(): Readonly<Record<SubscribeMode, number>> {
    return this.#delivery.framesSent;
  }

  /** Subscribes, or subscribes again with another variant or from another version. Answered by the owner of the service. */
  subscribe(session: Session, key: string, variant: Variant, held: Held, reply: Reply): void {
    const { subscriptions } = session;
    const { subscriptionsMax } = this.#options;
    if (!subscriptions.has(key)) {
      const failure =
        subscriptions.size + this.#starting.countOf(session) >= subscriptionsMax
          ? refuseBound('subscriptionsMax', subscriptionsMax, `the session has ${subscriptionsMax} subscriptions`)
          : this.#refuseAny();
      if (failure !== undefined) {
        reply.fail(failure);
        return;
      }
    }
    const since = this.#isOtherFilter(session, key, variant.filter) ? 0 : this.#boundVersion(held.version);
    // One text for all subscriptions of a service.
    const sharedKey = this.#audiences.find(key, variant.text)?.key ?? key;
    const subscription = new Subscription(session, sharedKey, variant);
    this.#starting.add(subscription);
    this.#ask(subscription, { ...held, version: since }, reply);
  }

  /** Each costs memory, however few services they are about. */
  #refuseAny(): Failure | undefined {
    const { threadSubscriptionsMax: max } = this.#options;
    const { delta, snapshot } = this.counts;
    if (delta + snapshot + this.#starting.count < max) return undefined;
    return refuseBound('threadSubscriptionsMax', max, 'sessions have too many subscriptions');
  }

  #boundVersion(version: number): number {
    if (version <= protocolLimits.heldVersionMax) return version;
    this.#options.counters.count('held_version_ignored');
    return 0;
  }

  /** Whether the session has subscribed the service with another filter: then what it holds is another list. */
  #isOtherFilter(session: Session, key: string, filter: string): boolean {
    const before = session.subscriptions.get(key);
    if (before !== undefined && before.variant.filter !== filter) return true;
    return this.#starting.hasOtherFilter(session, key, filter);
  }

  /** Moves the clock on. */
  tick(nowMs: number): void {
    this.#refills.tick();
    this.#resyncs.tick(nowMs);
  }

  /** Those who were here before the start are back, or have had their time. */
  warmUp(): void {
    this.#refills.release();
  }

  /** A partition that has just begun knows nothing of what clients have shown. */
  greet(link: PartitionLink): void {
    this.#shown.greet(link);
  }

  /** `ticket`: of a read that has been sent before, and needs more room. */
  #ask(subscription: Subscription, held: Held, reply: Reply, ticket?: ReadTicket): void {
    const { key, variant } = subscription;
    let read = ticket;
    let audience: Audience<Subscription> | undefined;
    const refuse = (failure: Failure): void => {
      this.#starting.remove(subscription);
      reply.fail(failure);
      read?.end();
    };
    this.#router.ask({
      key,
      reader: subscription.session,
      begin: () => {
        const failure = this.#audiences.judge(key, variant);
        if (failure !== undefined) {
          refuse(failure);
          return false;
        }
        audience = this.#audiences.obtain(key, variant);
        audience.pending += 1;
        read ??= reply.openRead?.('subscription', key);
        return true;
      },
      refuse,
      build: (request) => [
        toPartition.subscribe,
        request,
        key,
        variant.text,
        held.version,
        read?.room ?? unlimitedRoom,
      ],
      settle: (answer) => {
        if (audience === undefined) throw new Error(`a subscription to ${key} was answered before it was sent`);
        audience.pending -= 1;
        if (answer[0] === fromPartition.oversize && read !== undefined) {
          const again = (): void => {
            this.#ask(subscription, held, reply, read);
          };
          read.enlarge(answer[2], again, refuse);
        } else {
          this.#begin({ subscription, audience, held, reply }, answer);
          read?.end();
        }
        this.#audiences.dropIfEmpty(audience);
      },
    });
  }

  unsubscribe(session: Session, key: string): void {
    this.#starting.cancel(session, key);
    const subscription = session.subscriptions.get(key);
    if (subscription === undefined) return;
    session.subscriptions.delete(key);
    this.#leave(subscription);
  }

  /** The session's connection has gone. */
  unsubscribeAll(session: Session): void {
    this.#starting.cancelAll(session);
    this.#resyncs.forget(session);
    for (const subscription of session.subscriptions.values()) this.#leave(subscription);
    session.subscriptions.clear();
  }

  /** What subscribers of services that `isLost` accepts hold. */
  watched(isLost: (key: string) => boolean): WatchedAudience[] {
    return this.#audiences.watched(isLost);
  }

  /** The client has read what waited for it: whatever it missed meanwhile, it gets the latest state (PU4). */
  catchUp(session: Session): void {
    this.#resyncs.catchUp(session);
  }

  /** Something of services that `isLost` accepts is gone, and nobody knows what: whoever subscribes to them gets the latest state. */
  refresh(isLost: (key: string) => boolean): void {
    const sessions = new Set<Session>();
    for (const subscription of this.#audiences.members(isLost)) {
      subscription.advance('missed');
      sessions.add(subscription.session);
    }
    for (const session of sessions) this.#resyncs.catchUp(session);
  }

  /** Nothing was pushed of these services, and may be now: whoever has missed something gets the latest state. Of many sessions, in turns. */
  async thaw(isThawed: (key: string) => boolean, nextTurn: () => Promise<void>): Promise<void> {
    const sessions = new Set<Session>();
    for (const { session, phase } of this.#audiences.members(isThawed)) if (phase === 'stale') sessions.add(session);
    let begun = 0;
    for (const session of sessions) {
      this.#resyncs.catchUp(session);
      begun += 1;
      if (begun % thawedPerTurn === 0) await nextTurn();
    }
  }

  push(record: PushRecord, partition: number): void {
    const [, key, variant, from, to, count, changedAtMs, body] = record;
    const audience = this.#audiences.find(key, variant);
    if (audience === undefined) {
      this.#delivery.credit(partition, body.length);
      return;
    }
    this.#refills.hear(audience, { count, body });
    this.#delivery.send(audience, { partition, from, to, count, body, changedAtMs } satisfies HostPush);
  }

  #begin({ subscription, audience, held, reply }: Beginning, answer: Answer): void {
    const { session, key } = subscription;
    let isWarming = false;
    this.#starting.remove(subscription);
    switch (answer[0]) {
      case fromPartition.refused:
        // An older subscription to the service, if there is one, continues.
        reply.fail(readRefusal(answer));
        return;
      case fromPartition.state: {
        const [, , version, count, list] = answer;
        isWarming = this.#refills.mustWait(audience, held, { count, body: list });
        subscription.version = isWarming ? held.version : version;
        if (isWarming) reply.succeed(standBy(held.version, session));
        else {
          const isFilling =
            this.#refills.isFilling(audience, { count, body: list }, held.count) && session.understands('warming');
          reply.succeed({ kind: 'state', version, count, list, isWarming: isFilling });
        }
        break;
      }
      case fromPartition.resumed: {
        const [, , from, version, difference] = answer;
        subscription.version = version;
        reply.succeed({ kind: 'resumed', from, version, difference, isWarming: false });
        break;
      }
      default:
        throw new Error(`not an answer to a subscription: ${answer[0]}`);
    }
    // Unsubscribed or gone meanwhile: the answer still goes out, the membership does not begin.
    if (subscription.phase === 'over') return;
    // In a batch the answer goes out with the others; what is pushed meanwhile must not come first.
    const isInBatch = reply.defer?.(() => this.#noteBatchSent(subscription)) ?? false;
    if (isWarming) subscription.advance(isInBatch ? 'beganWarmingInBatch' : 'beganWarming');
    else subscription.advance(isInBatch ? 'beganInBatch' : 'began');
    const before = session.subscriptions.get(key);
    session.subscriptions.set(key, subscription);
    subscription.audience = audience;
    audience.add(subscription);
    this.counts[subscription.variant.mode] += 1;
    if (before !== undefined) this.#leave(before);
    if (isWarming) this.#refills.add(audience, held.count);
    else if (answer[0] === fromPartition.state) this.#refills.hear(audience, { count: answer[3], body: answer[4] });
  }

  #noteBatchSent(subscription: Subscription): void {
    subscription.advance('batchSent');
    // A push has passed it by meanwhile.
    if (subscription.phase === 'stale') this.#resyncs.begin(subscription);
  }

  #leave(subscription: Subscription): void {
    const { audience } = subscription;
    if (audience === undefined) return;
    this.#refills.remove(subscription, audience);
    subscription.advance('left');
    subscription.audience = undefined;
    audience.remove(subscription);
    this.counts[subscription.variant.mode] -= 1;
    this.#audiences.dropIfEmpty(audience);
  }
}

/** To one who was there before the registry started: what it holds stands for now, and the list comes when it is whole again. */
function standBy(version: number, session: Session): Result {
  const isWarming = session.understands('warming');
  return { kind: 'resumed', from: version, version, difference: emptyDifference, isWarming };
}
